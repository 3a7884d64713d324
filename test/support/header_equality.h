#pragma once

#include <algorithm>

#include "core/format/safetensors.h"

namespace hfload::test {

inline bool is_same(const TensorInfo& a, const TensorInfo& b) {
  return a.name == b.name && a.dtype == b.dtype && a.dtype_name() == b.dtype_name() && a.shape == b.shape &&
         a.begin == b.begin && a.end == b.end;
}

/// Whether two headers say the same, each finding its tensors by name.
inline bool is_same(const SafetensorsHeader& a, const SafetensorsHeader& b) {
  const auto finds_all = [](const SafetensorsHeader& header) {
    return std::ranges::all_of(header.tensors,
                               [&](const TensorInfo& t) { return header.find(t.name) == &t; });
  };
  return a.metadata == b.metadata && a.data_start == b.data_start && a.notes == b.notes &&
         std::ranges::equal(a.tensors, b.tensors,
                            [](const TensorInfo& x, const TensorInfo& y) { return is_same(x, y); }) &&
         finds_all(a) && finds_all(b);
}

}  // namespace hfload::test
