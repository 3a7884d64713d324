#include "core/plan/module_sizes.h"

#include <algorithm>
#include <iterator>

namespace hfload {
namespace {

/// accelerate 1.x, `dtype_byte_size`: a boolean is a bit. Whole bytes otherwise.
double dtype_bytes(Dtype dtype) {
  return dtype == Dtype::boolean ? 0.125 : static_cast<double>(dtype_info(dtype).bits / 8);
}

double counted_bytes(const ShellTensor& t, std::optional<Dtype> dtype, Compat compat) {
  if (compat == Compat::v5) return static_cast<double>(tensor_bytes(t.created_dtype, t.shape).value_or(0));
  if (t.keeps_dtype) return static_cast<double>(shell_tensor_bytes(t));
  double element = dtype_bytes(t.dtype);
  if (dtype && dtype_info(t.dtype).is_float) element = std::min(element, dtype_bytes(*dtype));
  return static_cast<double>(element_count(t.shape).value_or(0)) * element;
}

}  // namespace

double ModuleSizes::buffers(const ModuleTree& tree, ModuleId module) const {
  const auto sum_before = [&](ModuleId end) {
    const auto next = std::ranges::lower_bound(buffer_sums, end, {}, &std::pair<ModuleId, double>::first);
    return next == buffer_sums.begin() ? 0 : std::prev(next)->second;
  };
  // No architecture shares a buffer inside one module, so each module seen by itself counts all below it.
  return sum_before(tree.end_of(module)) - sum_before(module);
}

ModuleSizes compute_module_sizes(const ModuleTree& tree, std::optional<Dtype> dtype) {
  ModuleSizes sizes;
  sizes.module_bytes.resize(tree.modules.size());
  sizes.tensor_bytes.resize(tree.tensors.size());
  for (TensorId i = 0; i < tree.tensors.size(); ++i) {
    const ShellTensor& t = tree.tensors[i];
    const double bytes = counted_bytes(t, dtype, tree.compat);
    const bool first_place = t.object == i;
    if (first_place) sizes.tensor_bytes[i] = bytes;
    if (t.is_buffer) sizes.buffer_sums.emplace_back(t.module, bytes);
    if (!first_place) continue;
    for (ModuleId m = t.module; m != kNoId; m = tree.names.parent(m)) sizes.module_bytes[m] += bytes;
  }
  std::ranges::stable_sort(sizes.buffer_sums, {}, &std::pair<ModuleId, double>::first);
  double sum = 0;
  for (auto& [module, bytes] : sizes.buffer_sums) bytes = sum += bytes;
  return sizes;
}

}  // namespace hfload
