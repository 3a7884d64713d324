#include "core/save/tied.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string_view>

#include "core/base/error.h"
#include "core/base/name_hash.h"
#include "core/base/text_pool.h"
#include "core/model/match_keys.h"

namespace hfload {
namespace {

bool equal_elements(const TensorSource& source, uint32_t a, uint32_t b) {
  const SourceTensor first = source.tensor(a), second = source.tensor(b);
  if (first.dtype != second.dtype || !std::ranges::equal(first.shape, second.shape)) return false;
  if (first.same_elements && first.same_elements == second.same_elements) return true;
  constexpr uint64_t kPieceBytes = 1 << 20;
  std::vector<std::byte> left(std::min(kPieceBytes, first.bytes)), right(left.size());
  for (uint64_t at = 0; at < first.bytes; at += kPieceBytes) {
    const size_t bytes = std::min(kPieceBytes, first.bytes - at);
    source.read(a, at, std::span(left).first(bytes));
    source.read(b, at, std::span(right).first(bytes));
    if (std::memcmp(left.data(), right.data(), bytes) != 0) return false;
  }
  return true;
}

/// What a checkpoint's tensors are in the model.
struct Places {
  std::vector<uint32_t> order;   ///< of the state dict: indices of source tensors
  std::vector<TensorId> tensor;  ///< by source tensor; kNoId where the model has none
  KeyMatches keys;               ///< its shell_names are the model's, by source tensor; all or none
};

Places find_places(const Checkpoint& checkpoint, const ModuleTree* tree, std::vector<std::string>& warnings) {
  const size_t count = checkpoint.tensors.size();
  Places places{std::vector<uint32_t>(count), std::vector<TensorId>(count, kNoId), {}};
  std::iota(places.order.begin(), places.order.end(), 0U);
  if (tree == nullptr || tree->from_tensor_names) return places;
  try {
    places.keys = match_keys(*tree, checkpoint);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::corrupted_state_dict) throw;
    warnings.push_back(fmt::format("{}; the tensors stay in the order of their files", error.message()));
    return places;
  }
  const TensorIndex index(*tree);
  for (size_t i = 0; i < count; ++i) {
    const std::string_view name = places.keys.shell_names[i];
    if (!name.empty()) places.tensor[i] = index.find(name);
  }
  std::stable_sort(places.order.begin(), places.order.end(),
                   [&](uint32_t a, uint32_t b) { return places.tensor[a] < places.tensor[b]; });
  return places;
}

/// The checkpoint's name for a parameter of the model, after the example of another one: with the same prefix
/// taken off.
std::string_view checkpoint_name(std::string_view wanted, std::string_view model_name,
                                 std::string_view saved_name) {
  if (model_name.ends_with(saved_name)) {
    const std::string_view prefix = model_name.substr(0, model_name.size() - saved_name.size());
    if (wanted.starts_with(prefix)) return wanted.substr(prefix.size());
  }
  return wanted;
}

class TiedSelection {
 public:
  TiedSelection(const Checkpoint& checkpoint, const TensorSource& source, const ModuleTree* tree,
                ConvertPlan& plan)
      : source_(source), tree_(tree), plan_(plan), places_(find_places(checkpoint, tree, plan.warnings)) {}

  std::vector<Selected> select(TiedPolicy policy) {
    selected_.reserve(places_.order.size());
    for (const uint32_t tensor : places_.order)
      selected_.push_back({tensor, {}, source_.tensor(tensor).same_elements});
    policy == TiedPolicy::drop ? drop() : duplicate();
    return std::move(selected_);
  }

 private:
  /// Sharing that only the checkpoint knows of is no reason to drop a name: whoever loads the output would
  /// miss it.
  void drop() {
    constexpr uint32_t kNone = UINT32_MAX;
    std::vector<uint32_t> kept(tree_ == nullptr ? 0 : tree_->tensors.size(), kNone);  // by object: the source
    std::vector<std::string> unequal;
    std::erase_if(selected_, [&](const Selected& selected) {
      const TensorId id = places_.tensor[selected.source];
      if (id == kNoId) return false;
      uint32_t& first = kept[tree_->tensors[id].object];
      if (first == kNone) {
        first = selected.source;
        return false;
      }
      if (!equal_elements(source_, first, selected.source)) {
        unequal.emplace_back(selected.name(source_));
        return false;
      }
      plan_.dropped.emplace_back(selected.name(source_));
      return true;
    });
    for (const std::string& name : unequal) {
      plan_.warnings.push_back(
          fmt::format("the config ties {}, but the checkpoint holds other values for it than for the "
                      "parameter it is tied to: both are written",
                      name));
    }
  }

  void duplicate() {
    if (tree_ == nullptr || tree_->from_tensor_names) return;
    std::vector<Selected*> saved(tree_->tensors.size());  // by object
    NameSet names;
    for (Selected& selected : selected_) {
      names.insert(source_.tensor(selected.source).name);
      const TensorId id = places_.tensor[selected.source];
      if (id == kNoId) continue;
      Selected*& first = saved[tree_->tensors[id].object];
      if (first == nullptr) first = &selected;
    }
    std::vector<std::pair<TensorId, Selected>> added;
    for (TensorId id = 0; id < tree_->tensors.size(); ++id) {
      const ShellTensor& tensor = tree_->tensors[id];
      Selected* const found = saved[tensor.object];
      if (tensor.is_buffer || found == nullptr) continue;
      const uint32_t original = found->source;
      const std::string_view model_name = places_.keys.shell_names[original];
      const std::string own_name = tree_->tensor_name(tensor);
      if (own_name == model_name) continue;
      const std::string_view name = checkpoint_name(own_name, model_name, source_.tensor(original).name);
      if (names.contains(name)) continue;
      names.insert(added_names_.add(name));
      plan_.duplicated.emplace_back(name);
      // Numbers of the format's own shared elements are indices of tensors at most; these lie above.
      constexpr uint64_t kOfObjects = uint64_t{1} << 32;
      found->same_elements = kOfObjects + tensor.object;
      added.emplace_back(id, Selected{original, std::make_unique<std::string>(name), found->same_elements});
    }
    insert_in_order(std::move(added));
  }

  void insert_in_order(std::vector<std::pair<TensorId, Selected>> added) {
    std::vector<Selected> merged;
    size_t next = 0;
    for (Selected& selected : selected_) {
      const TensorId id = places_.tensor[selected.source];
      while (next < added.size() && added[next].first < id) merged.push_back(std::move(added[next++].second));
      merged.push_back(std::move(selected));
    }
    while (next < added.size()) merged.push_back(std::move(added[next++].second));
    selected_ = std::move(merged);
  }

  const TensorSource& source_;
  const ModuleTree* tree_;
  ConvertPlan& plan_;
  Places places_;
  std::vector<Selected> selected_;
  TextPool added_names_;
};

}  // namespace

std::vector<Selected> select_tensors(const Checkpoint& checkpoint, const TensorSource& source,
                                     const ModuleTree* tree, TiedPolicy policy, ConvertPlan& plan) {
  return TiedSelection(checkpoint, source, tree, plan).select(policy);
}

}  // namespace hfload
