#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <unordered_set>

#include "core/base/error.h"
#include "core/plan/infer_device_map.h"
#include "core/plan/tight.h"

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
      for (ModuleId m = t.module; m != 0; m = tree.names.parent(m)) path.push_back(m);
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
    for (ModuleId m = tree.tensors[i].module; m != kNoId && !owns[m]; m = tree.names.parent(m)) {
      owns[m] = true;
      if (tree.names.parent(m) != kNoId) parent_of_owner[tree.names.parent(m)] = true;
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

/// transformers 5.14 and later: the largest module of any no-split class, not the first of each.
double largest_block(const ModuleTree& tree, const ModuleSizes& sizes,
                     const std::vector<std::string>& no_split_modules) {
  double largest = 0;
  for (ModuleId m = 0; m < tree.modules.size(); ++m) {
    if (std::ranges::find(no_split_modules, tree.modules[m].class_name.view()) != no_split_modules.end())
      largest = std::max(largest, sizes.module_bytes[m]);
  }
  return largest;
}

/// transformers 5.23 (5.16 takes the mean): the largest sum of a module's own tensors, those of the model
/// itself left out.
double largest_leaf(const ModuleTree& tree, const ModuleSizes& sizes) {
  double largest = 0;
  for (ModuleId m = 1; m < tree.modules.size(); ++m) {
    double own = 0;
    tree.for_each_tensor_of(m, [&](TensorId t) { own += sizes.tensor_bytes[t]; });
    largest = std::max(largest, own);
  }
  return largest;
}

/// What balancing adds to an even share, so that whole layers fit.
double margin(const ModuleTree& tree, const ModuleSizes& sizes,
              const std::vector<std::string>& no_split_modules) {
  if (tree.compat == Compat::v5) {
    return std::trunc(1.25 *
                      std::max(largest_block(tree, sizes, no_split_modules), largest_leaf(tree, sizes)));
  }
  return std::trunc(
      1.25 * std::max(largest_first_block(tree, sizes, no_split_modules), mean_of_leaves(tree, sizes)));
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
  per_gpu += margin(tree, sizes, no_split_modules);

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
  MaxMemory memory = max_memory;
  if (tree.compat == Compat::v5 && !user_set) {
    for (DeviceMemory& m : memory) {
      if (m.device == Device::cpu()) m.bytes *= 0.9;
    }
  }
  if (strategy == Strategy::tight) return infer_tight_device_map(tree, sizes, memory, options);
  if (strategy != Strategy::sequential) {
    memory = balanced_memory(tree, sizes, std::move(memory), options.no_split_modules,
                             strategy == Strategy::balanced_low_0, user_set);
  }
  return infer_device_map(tree, sizes, memory, options);
}

}  // namespace hfload
