#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/model/checkpoint.h"
#include "test/support/fixtures.h"

/// The headers of quantised checkpoints that test/oracle/make_quantized.py recorded.
namespace hfload::test {

inline std::vector<ConfigValue> quantized_cases() {
  return read_xz_jsonl_fixture("quantized/headers.jsonl.xz");
}

/// The checkpoint of a case: its tensors as their headers describe them, or by their names alone, as where
/// only the index is there.
inline Checkpoint quantized_checkpoint(const ConfigValue& quantized_case, bool described) {
  Checkpoint checkpoint;
  checkpoint.has_config = true;
  checkpoint.config = ModelConfig(at(quantized_case, "config"));
  checkpoint.index_total_size_bytes = uint_of(at(quantized_case, "total_size"));
  Shard& shard = checkpoint.shards.emplace_back();
  shard.file = "model.safetensors";
  shard.present = described;
  uint64_t end = 0;
  for (const ConfigValue& row : array_of(at(quantized_case, "tensors"))) {
    CheckpointTensor& t = checkpoint.tensors.emplace_back();
    t.name = string_of(array_of(row)[0]);
    if (!described) continue;
    t.described = true;
    t.dtype = dtype_from_safetensors_name(string_of(array_of(row)[1])).value();
    std::vector<uint64_t> shape;
    for (const ConfigValue& d : array_of(array_of(row)[2])) shape.push_back(uint_of(d));
    t.shape = shape;
    t.begin = end;
    t.end = end += tensor_bytes(t.dtype, t.shape).value();
  }
  return checkpoint;
}

}  // namespace hfload::test
