#include "core/plan/infer_device_map.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <limits>
#include <optional>
#include <set>
#include <string_view>
#include <unordered_map>

#include "core/plan/offloaded_buffers.h"
#include "core/plan/tree_positions.h"

namespace hfload {
namespace {

constexpr double kUnlimited = std::numeric_limits<double>::infinity();

using Item = PlanItem;

/// What accelerate calls `tied_params` and `tied_modules`: the queue items that hold parameters tied to the
/// current item.
struct Ties {
  std::vector<std::string_view> parameters;
  std::vector<Item>
      items;  ///< one per parameter that some item of the queue holds; an item may stand there twice
  double extra_bytes = 0;  ///< beyond the current item's own
};

class Solver {
 public:
  Solver(const ModuleTree& tree, const ModuleSizes& sizes, const MaxMemory& max_memory,
         const PlanOptions& options)
      : tree_(tree), sizes_(sizes), options_(options), ties_(tree.tied_groups()), positions_(tree) {
    is_no_split_.resize(tree.modules.size());
    const std::set<std::string_view> no_split(options.no_split_modules.begin(),
                                              options.no_split_modules.end());
    for (ModuleId m = 0; m < tree.modules.size(); ++m)
      is_no_split_[m] = no_split.contains(tree.modules[m].class_name);
    // A cache is where its module is executed, so that module stays whole.
    if (!sizes.cache_bytes.empty()) {
      for (const LayerCache& cache : tree.layer_caches) is_no_split_[cache.module] = true;
    }
    for (const DeviceMemory& m : max_memory) {
      plan_.devices.push_back({m.device, m.device == Device::disk() ? kUnlimited : m.bytes, 0, 0, 0});
    }
    if (plan_.devices.empty() || plan_.devices.back().device != Device::disk()) {
      plan_.devices.push_back({Device::disk(), kUnlimited, 0, 0, 0});
    }
    counted_.resize(plan_.devices.size());
    buffers_.resize(plan_.devices.size());
  }

  DevicePlan run() {
    const Module& root = tree_.modules[0];
    for (const TensorId t : root.parameters) queue_.push_back({kNoId, t});
    for (const ModuleId m : root.children) queue_.push_back({m, kNoId});
    for (const TensorId t : tree_.buffers_of(0)) queue_.push_back({kNoId, t});
    recompute_largest_layer(true);
    while (!queue_.empty()) step();
    if (Usage& last = plan_.devices[current_]; is_main(last.device) && last.reserved_bytes == 0)
      last.reserved_bytes = largest_bytes_;
    if (!options_.offload_buffers) {
      if (auto warning = offloaded_buffers_warning(plan_.devices, buffers_, counted_))
        plan_.warnings.push_back(std::move(*warning));
    }
    plan_.device_map = clean_device_map(std::move(map_));
    return std::move(plan_);
  }

 private:
  using Usage = DeviceUsage;
  using Action = PlacementStep::Action;

  std::string name(const Item& item) const {
    return item.module != kNoId ? tree_.module_name(item.module) : tree_.tensor_name(item.tensor);
  }
  double bytes(const Item& item) const {
    if (item.module == kNoId) return sizes_.tensor_bytes[item.tensor];
    const Device device = plan_.devices[current_].device;
    const bool holds_caches = device.is_gpu() || (device == Device::cpu() && options_.caches_on_cpu);
    return holds_caches ? sizes_.module_bytes[item.module] : sizes_.weights(item.module);
  }
  /// What an offloaded layer brings along when it is executed; its cache is on the main device already.
  double moved_bytes(const Item& item) const {
    return item.module == kNoId ? sizes_.tensor_bytes[item.tensor] : sizes_.weights(item.module);
  }
  bool can_split(const Item& item) const {
    return item.module != kNoId && !tree_.modules[item.module].children.empty() && !is_no_split_[item.module];
  }

  bool is_v5() const { return tree_.compat == Compat::v5; }

  /// Room for the largest layer that may yet be offloaded is held back on the first GPU and on the CPU.
  bool is_main(Device device) const {
    if (device == Device::cpu()) return true;
    return device.is_gpu() && device == plan_.devices.front().device;
  }

  /// accelerate's `get_max_layer_size`: over all leaves and no-split modules of the queue, without tensors
  /// except in the first call.
  void recompute_largest_layer(bool with_tensors) {
    largest_bytes_ = 0;
    largest_.clear();
    std::vector<Item> stack;
    for (const Item& item : queue_) {
      if (item.module == kNoId && !with_tensors) continue;
      stack.push_back(item);
      while (!stack.empty()) {
        const Item top = stack.back();
        stack.pop_back();
        if (can_split(top)) {
          for (const ModuleId child : tree_.modules[top.module].children) stack.push_back({child, kNoId});
          continue;
        }
        const double size = moved_bytes(top);
        if (size > largest_bytes_) {
          largest_bytes_ = size;
          largest_.clear();
        }
        if (size == largest_bytes_) largest_.push_back(positions_.begin(top));
      }
    }
    std::ranges::sort(largest_, std::greater());
    largest_.erase(std::unique(largest_.begin(), largest_.end()), largest_.end());
  }

  void forget_largest_layers_in(const Item& item) {
    const auto first = std::ranges::lower_bound(largest_, positions_.end(item) - 1, std::greater());
    const auto last = std::ranges::upper_bound(largest_, positions_.begin(item), std::greater());
    largest_.erase(first, last);
    if (largest_.empty()) recompute_largest_layer(false);
  }

  /// The test that accelerate makes: the dotted name occurs anywhere in the dotted parameter, not only at its
  /// start.
  static bool occurs_in(const std::string& dotted_name, const std::string& parameter) {
    return (parameter + ".").find(dotted_name) != std::string::npos;
  }

  Ties ties_of(const Item& item, const std::deque<Item>& queue) const {
    Ties ties;
    if (ties_.empty()) return ties;
    const std::string dotted = name(item) + ".";
    for (const std::vector<std::string>& group : ties_) {
      const auto inside = [&](const std::string& parameter) { return occurs_in(dotted, parameter); };
      if (std::ranges::none_of(group, inside) || std::ranges::all_of(group, inside)) continue;
      for (const std::string& parameter : group) {
        if (!inside(parameter)) ties.parameters.push_back(parameter);
      }
    }
    for (const std::string_view parameter : ties.parameters) {
      // Python fails where no queue item holds the parameter: it is placed already, or waits as a bare
      // parameter.
      const TensorId tensor = tensor_of(parameter);
      const uint64_t position = positions_.begin({kNoId, tensor});
      const auto holder = std::ranges::find_if(queue, [&](const Item& candidate) {
        return positions_.begin(candidate) <= position && position < positions_.end(candidate);
      });
      if (holder == queue.end()) continue;
      if (is_v5()) {
        if (std::ranges::find(ties.items, *holder) != ties.items.end()) continue;
        ties.items.push_back(*holder);
        ties.extra_bytes += bytes(*holder);
        continue;
      }
      ties.items.push_back(*holder);
      ties.extra_bytes += bytes(*holder) - sizes_.tensor_bytes[tensor];
      if (holder->tensor == tensor) ties.extra_bytes += sizes_.tensor_bytes[tensor];
    }
    return ties;
  }

  TensorId tensor_of(std::string_view parameter) const {
    if (!tensor_ids_) tensor_ids_.emplace(tree_);
    return tensor_ids_->find(parameter);
  }

  /// What a split puts in a module's place. Python leaves the direct buffers out and fails later when one of
  /// them is persistent, so those are placed like parameters here.
  std::vector<Item> parts_of(ModuleId module) const {
    const Module& m = tree_.modules[module];
    std::vector<Item> parts;
    for (const TensorId t : m.parameters) parts.push_back({kNoId, t});
    for (const TensorId t : tree_.buffers_of(module)) {
      if (tree_.tensors[t].persistent) parts.push_back({kNoId, t});
    }
    for (const ModuleId child : m.children) parts.push_back({child, kNoId});
    return parts;
  }

  void assign(const Item& item, Device device) {
    // Only what is tied to something can be placed a second time.
    if (!ties_.empty()) {
      const auto [it, inserted] = entry_of_.emplace(positions_.begin(item), map_.size());
      if (!inserted) {
        map_[it->second].device = device;
        return;
      }
    }
    map_.push_back({name(item), device});
  }

  void record(Action action, const Item& item, double module_bytes, double limit, double reserve) {
    if (!options_.with_steps) return;
    const Usage& usage = plan_.devices[current_];
    plan_.steps.push_back({action, name(item), usage.device, module_bytes, usage.used_bytes,
                           limit - counted_[current_], reserve,
                           reserve > 0 ? name(positions_.at(largest_.back())) : std::string()});
  }

  void step() {
    const Item item = queue_.front();
    queue_.pop_front();
    forget_largest_layers_in(item);

    Usage& usage = plan_.devices[current_];
    const double reserve = is_main(usage.device) ? largest_bytes_ : 0;
    const double limit = usage.budget_bytes - reserve;
    const double own_bytes = bytes(item);
    const Ties ties = ties_of(item, queue_);
    const double with_ties = own_bytes + ties.extra_bytes;
    double& counted = counted_[current_];

    if (counted + with_ties <= limit) {
      record(Action::placed, item, with_ties, limit, reserve);
      counted += with_ties;
      usage.used_bytes += with_ties;
      ++usage.modules;
      assign(item, usage.device);
      for (const Item& tied : ties.items) {
        if (const auto it = std::ranges::find(queue_, tied); it != queue_.end()) {
          queue_.erase(it);
          ++usage.modules;
        }
        assign(tied, usage.device);
      }
      if (item.module != kNoId) buffers_[current_] += sizes_.buffers(tree_, item.module);
      return;
    }

    if (!ties.parameters.empty() && counted + own_bytes <= limit) {
      for (const Item& tied : ties.items) {
        if (!can_split(tied)) continue;
        record(Action::split_tied, tied, bytes(tied), limit, reserve);
        replace_in_queue(tied, parts_of(tied.module));
        queue_.push_front(item);
        recompute_largest_layer(false);
        return;
      }
    }

    // accelerate sends a module on, whole, that would fit but for what is tied to it.
    if ((is_v5() || counted + own_bytes >= limit) && can_split(item)) {
      record(Action::split, item, own_bytes, limit, reserve);
      const std::vector<Item> parts = parts_of(item.module);
      queue_.insert(queue_.begin(), parts.begin(), parts.end());
      recompute_largest_layer(false);
      return;
    }

    if (counted == 0 && options_.fallback_allocation && !is_v5() && usage.device != Device::disk()) {
      const double room = usage.budget_bytes - std::max(largest_bytes_, with_ties) - counted;
      if (take_fallback(item, room, limit, reserve)) return;
    }

    record(Action::next_device, item, with_ties, limit, reserve);
    usage.reserved_bytes = reserve;
    counted += reserve;
    ++current_;
    queue_.push_front(item);
  }

  void replace_in_queue(const Item& item, const std::vector<Item>& parts) {
    const auto it = std::ranges::find(queue_, item);
    const auto after = queue_.erase(it);
    queue_.insert(after, parts.begin(), parts.end());
  }

  /// accelerate's `fallback_allocate`: the first item, searched depth first in the queue, that fits in `room`
  /// bytes goes to the front, before the current one; its ancestors are split to expose it.
  bool take_fallback(const Item& current, double room, double limit, double reserve) {
    if (room < 0) return false;
    std::deque<Item> search = queue_;
    while (!search.empty()) {
      const Item candidate = search.front();
      search.pop_front();
      if (bytes(candidate) + ties_of(candidate, search).extra_bytes <= room) {
        expose(candidate);
        record(Action::fallback, candidate, bytes(candidate), limit, reserve);
        queue_.erase(std::ranges::find(queue_, candidate));
        queue_.push_front(current);
        queue_.push_front(candidate);
        return true;
      }
      if (!can_split(candidate)) continue;
      const std::vector<Item> parts = parts_of(candidate.module);
      search.insert(search.begin(), parts.begin(), parts.end());
    }
    return false;
  }

  void expose(const Item& target) {
    std::vector<ModuleId> ancestors;
    ModuleId m =
        target.module != kNoId ? tree_.names.parent(target.module) : tree_.tensors[target.tensor].module;
    for (; m != kNoId; m = tree_.names.parent(m)) ancestors.push_back(m);
    for (auto it = ancestors.rbegin(); it != ancestors.rend(); ++it) {
      const Item ancestor{*it, kNoId};
      if (std::ranges::find(queue_, ancestor) != queue_.end()) replace_in_queue(ancestor, parts_of(*it));
    }
  }

  const ModuleTree& tree_;
  const ModuleSizes& sizes_;
  const PlanOptions& options_;
  const std::vector<std::vector<std::string>> ties_;
  std::vector<bool> is_no_split_;
  const TreePositions positions_;
  mutable std::optional<TensorIndex> tensor_ids_;  ///< made when it is asked for

  std::deque<Item> queue_;
  double largest_bytes_ = 0;
  /// Positions of the layers of that size that are still in the queue, descending: the queue's first is the
  /// last.
  std::vector<uint64_t> largest_;
  size_t current_ = 0;           ///< into plan_.devices
  std::vector<double> counted_;  ///< by device: used, and reserved once the device was left
  std::vector<double> buffers_;  ///< by device: buffer bytes of the modules placed there
  DeviceMap map_;
  std::unordered_map<uint64_t, size_t> entry_of_;  ///< position of an item to its entry in map_
  DevicePlan plan_;
};

}  // namespace

DevicePlan infer_device_map(const ModuleTree& tree, const ModuleSizes& sizes, const MaxMemory& max_memory,
                            const PlanOptions& options) {
  return Solver(tree, sizes, max_memory, options).run();
}

}  // namespace hfload
