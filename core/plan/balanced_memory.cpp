#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <unordered_set>

#include "core/base/error.h"
#include "core/plan/infer_device_map.h"

namespace hfload {
namespace {

/// Python's `//` on floats, which is exact where a rounded quotient would not be.
double floor_divide(double a, double b) { return std::floor((a - std::fmod(a, b)) / b + 0.5); }

/// The size of the first module of each no-split class, in the order in which accelerate meets them: by
/// tensor, parameters first, outer modules first. The largest of those.
double largest_first_block(const ModuleTree& tree, const ModuleSizes& sizes,
                           const std::vector<std::string>& no_split_modules) {
  const std::unordered_set<std::string_view> wanted(no_split_modules.begin(), no_split_modules.end());
  std::unordered_set<std::string_view> seen;
  double largest = 0;
  std::vector<ModuleId> path;
  for (const bool buffers : {false, true}) {
    for (TensorId i = 0; i < tree.tensors.size(); ++i) {
      const ShellTensor& t = tree.tensors[i];
      if (t.is_buffer != buffers || t.object != i) continue;
      path.clear();
      for (ModuleId m = t.module; m != 0; m = tree.modules[m].parent) path.push_back(m);
      for (auto it = path.rbegin(); it != path.rend(); ++it) {
        const std::string_view class_name = tree.modules[*it].class_name;
        if (wanted.contains(class_name) && seen.insert(class_name).second)
          largest = std::max(largest, sizes.module_bytes[*it]);
      }
      if (seen.size() == wanted.size()) return largest;
    }
  }
  return largest;
}

/// Mean size of the modules that own tensors and have no child that does.
double mean_of_leaves(const ModuleTree& tree, const ModuleSizes& sizes) {
  std::vector<bool> owns(tree.modules.size()), parent_of_owner(tree.modules.size());
  for (TensorId i = 0; i < tree.tensors.size(); ++i) {
    if (tree.tensors[i].object != i) continue;
    for (ModuleId m = tree.tensors[i].module; m != kNoId && !owns[m]; m = tree.modules[m].parent) {
      owns[m] = true;
      if (tree.modules[m].parent != kNoId) parent_of_owner[tree.modules[m].parent] = true;
    }
  }
  double sum = 0, count = 0;
  for (ModuleId m = 1; m < tree.modules.size(); ++m) {
    if (!owns[m] || parent_of_owner[m]) continue;
    sum += sizes.module_bytes[m];
    ++count;
  }
  return std::trunc(sum / std::max(count, 1.0));
}

DeviceMemory* find_gpu(MaxMemory& memory, uint32_t ordinal) {
  const auto it = std::ranges::find(memory, Device::gpu(ordinal), &DeviceMemory::device);
  return it == memory.end() ? nullptr : &*it;
}

}  // namespace

MaxMemory balanced_memory(const ModuleTree& tree, const ModuleSizes& sizes, MaxMemory memory,
                          const std::vector<std::string>& no_split_modules, bool low_zero, bool user_set) {
  std::vector<DeviceMemory*> gpus;
  for (DeviceMemory& m : memory) {
    if (m.device.is_gpu() && m.bytes > 0) gpus.push_back(&m);
  }
  if (gpus.empty()) return memory;
  if (gpus.size() == 1) {
    low_zero = false;
    if (!user_set) {
      const auto first =
          std::ranges::find_if(memory, [](const DeviceMemory& m) { return m.device.is_gpu(); });
      first->bytes *= 0.9;
    }
  }

  const auto n = static_cast<double>(gpus.size());
  double per_gpu = floor_divide(sizes.total(), low_zero ? n - 1 : n);
  per_gpu += std::trunc(
      1.25 * std::max(largest_first_block(tree, sizes, no_split_modules), mean_of_leaves(tree, sizes)));

  // The last GPU keeps its whole budget, in case the margin above is not enough.
  for (size_t i = 0; i + 1 < gpus.size(); ++i) {
    const bool spare_zero = low_zero && gpus[i]->device.ordinal == 0;
    if (!spare_zero) gpus[i]->bytes = std::min(per_gpu, gpus[i]->bytes);
  }
  if (low_zero) {
    double others = 0;
    for (uint32_t i = 1; i < gpus.size(); ++i) {
      const DeviceMemory* gpu = find_gpu(memory, i);
      if (gpu == nullptr || find_gpu(memory, 0) == nullptr) {
        throw Error(ErrorCode::invalid_device_map,
                    fmt::format("balanced_low_0 needs GPUs numbered 0 to {}", gpus.size() - 1))
            .with_hint("Renumber them in --max-memory, or use balanced.");
      }
      others += gpu->bytes;
    }
    DeviceMemory* zero = find_gpu(memory, 0);
    zero->bytes = std::min(std::max(0.0, sizes.total() - others), zero->bytes);
  }
  return memory;
}

DevicePlan plan_device_map(const ModuleTree& tree, const ModuleSizes& sizes, const MaxMemory& max_memory,
                           Strategy strategy, bool user_set, const PlanOptions& options) {
  if (strategy == Strategy::sequential) return infer_device_map(tree, sizes, max_memory, options);
  const bool low_zero = strategy == Strategy::balanced_low_0;
  return infer_device_map(
      tree, sizes, balanced_memory(tree, sizes, max_memory, options.no_split_modules, low_zero, user_set),
      options);
}

}  // namespace hfload
