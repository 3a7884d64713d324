#include "core/model/findings.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <unordered_map>

#include "core/base/checked.h"
#include "core/base/error.h"
#include "core/model/match_keys.h"

namespace hfload {
namespace {

std::string count_of_tensors(size_t count) {
  return count == 1 ? "1 tensor" : fmt::format("{} tensors", count);
}

/// Buffers that classes of older releases of transformers saved and newer ones compute.
bool is_legacy_buffer(std::string_view name) {
  constexpr std::string_view kEndings[] = {"rotary_emb.inv_freq",    "attn.bias",
                                           "attn.masked_bias",       "attention.bias",
                                           "attention.masked_bias",  "embeddings.position_ids",
                                           "attn.attention.bias",    "attn.attention.masked_bias",
                                           "embed_positions.weights"};
  return std::ranges::any_of(kEndings, [&](std::string_view ending) { return name.ends_with(ending); });
}

Finding wrong_total_size(uint64_t claimed, std::string_view take, uint64_t total) {
  return {
      "wrong_total_size",
      fmt::format("the index gives a total_size of {} bytes, and the tensors {} {}", claimed, take, total),
      {}};
}

class Comparison {
 public:
  Comparison(const Shell& shell, const Checkpoint& checkpoint)
      : tree_(shell.tree), dtype_(shell.dtype), checkpoint_(checkpoint) {}

  std::vector<Finding> run() {
    if (checkpoint_.tensors.empty()) return {};
    if (!tree_.from_tensor_names) compare_names();
    compare_total();
    return std::move(findings_);
  }

 private:
  void compare_names() {
    try {
      keys_ = match_keys(tree_, checkpoint_);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::corrupted_state_dict) throw;
      findings_.push_back({"corrupted_state_dict", error.message(), {error.tensor()}});
      return;
    }
    std::vector<std::string> unexpected, legacy, tied;
    for (uint32_t i = 0; i < keys_.shell_names.size(); ++i) {
      const std::string_view saved = checkpoint_.tensors[i].name;
      const TensorId id = keys_.shell_names[i].empty() ? kNoId : index().find(keys_.shell_names[i]);
      const bool is_saved = id != kNoId && tree_.tensors[id].persistent;
      if (is_saved) {
        if (tree_.tensors[id].object != id) tied.emplace_back(saved);
      } else if (id != kNoId || is_legacy_buffer(saved)) {
        legacy.emplace_back(saved);
      } else {
        unexpected.emplace_back(saved);
      }
    }
    add("missing_keys", "{} of the model {} not in the checkpoint", keys_.missing_keys);
    add("unexpected_keys", "{} of the checkpoint {} not in the model", std::move(unexpected));
    const bool is_one = legacy.size() == 1;
    add("legacy_buffers",
        is_one ? "{} of the checkpoint {} a buffer that newer releases of the class compute"
               : "{} of the checkpoint {} buffers that newer releases of the class compute",
        std::move(legacy));
    add("tied_weights_saved", "{} of the checkpoint {} tied to another one and saved again", std::move(tied));
    std::vector<std::string> mismatched;
    for (const MismatchedKey& key : keys_.mismatched_keys) mismatched.push_back(key.name);
    add("mismatched_keys", "{} of the checkpoint {} of another shape than the model's",
        std::move(mismatched));
  }

  const TensorIndex& index() const {
    if (!index_) index_.emplace(tree_);
    return *index_;
  }

  void add(std::string_view code, std::string_view sentence, std::vector<std::string> names) {
    if (names.empty()) return;
    std::ranges::sort(names);
    const std::string message =
        fmt::format(fmt::runtime(sentence), count_of_tensors(names.size()), names.size() == 1 ? "is" : "are");
    findings_.push_back({code, message, std::move(names)});
  }

  /// Bytes of all tensors, by their headers or, where shards are absent, by the shell; nothing where neither
  /// knows.
  std::optional<uint64_t> total_bytes() const {
    if (checkpoint_.complete()) return checkpoint_.described_bytes();
    if (tree_.from_tensor_names || tree_.estimated_bytes) return std::nullopt;
    uint64_t total = 0;
    for (uint32_t i = 0; i < keys_.shell_names.size(); ++i) {
      uint64_t bytes = checkpoint_.tensors[i].bytes();
      if (!checkpoint_.tensors[i].described) {
        const TensorId id = keys_.shell_names[i].empty() ? kNoId : index().find(keys_.shell_names[i]);
        if (id == kNoId) return std::nullopt;
        bytes = shell_tensor_bytes(tree_.tensors[id]);
      }
      const auto sum = checked_add(total, bytes);
      if (!sum) return std::nullopt;
      total = *sum;
    }
    return total;
  }

  bool is_float32() const { return dtype_ == Dtype::f32; }

  /// What total_bytes would be with 16-bit weights in the place of float32, or the other way round.
  std::optional<uint64_t> other_width_total() const {
    uint64_t total = 0;
    for (const std::string_view name : keys_.shell_names) {
      const TensorId id = name.empty() ? kNoId : index().find(name);
      if (id == kNoId) return std::nullopt;
      const ShellTensor& t = tree_.tensors[id];
      uint64_t bytes = shell_tensor_bytes(t);
      if (t.dtype == dtype_ && !t.keeps_dtype) bytes = is_float32() ? bytes / 2 : bytes * 2;
      total += bytes;
    }
    return total;
  }

  void compare_total() {
    const auto total = total_bytes();
    const auto claimed = checkpoint_.index_total_size_bytes;
    if (!total || !claimed || *total == *claimed) return;
    if (!checkpoint_.complete() && other_width_total() == *claimed) {
      findings_.push_back(
          {"dtype_differs",
           fmt::format("the index gives a total_size of {} bytes, which is that of {} weights, and "
                       "config.json says {}",
                       *claimed, is_float32() ? "16-bit" : "float32", dtype_info(dtype_).torch_name),
           {}});
      return;
    }
    findings_.push_back(wrong_total_size(
        *claimed, checkpoint_.complete() ? "take" : "of this architecture and dtype would take", *total));
  }

  const ModuleTree& tree_;
  const Dtype dtype_;
  const Checkpoint& checkpoint_;
  mutable std::optional<TensorIndex> index_;  ///< made when it is asked for, as match_keys has one of its own
  KeyMatches keys_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> compare_with_checkpoint(const Shell& shell, const Checkpoint& checkpoint) {
  return Comparison(shell, checkpoint).run();
}

std::vector<Finding> compare_total_size(const Checkpoint& checkpoint) {
  const auto claimed = checkpoint.index_total_size_bytes;
  if (!claimed || checkpoint.tensors.empty() || !checkpoint.complete()) return {};
  const uint64_t total = checkpoint.described_bytes();
  if (total == *claimed) return {};
  return {wrong_total_size(*claimed, "take", total)};
}

}  // namespace hfload
