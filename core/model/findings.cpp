#include "core/model/findings.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <unordered_map>

#include "core/base/checked.h"
#include "core/base/error.h"
#include "core/base/name_pattern.h"
#include "core/model/match_keys.h"

namespace hfload {
namespace {

std::string count_of_tensors(size_t count) {
  return count == 1 ? "1 tensor" : fmt::format("{} tensors", count);
}

/// Finds the patterns of `_keys_to_ignore_on_load_unexpected` in names.
class IgnoredKeys {
 public:
  explicit IgnoredKeys(const ModuleTree& tree)
      : patterns_(tree.ignore_unexpected.begin(), tree.ignore_unexpected.end()) {}

  bool match(std::string_view name) const {
    return std::ranges::any_of(patterns_, [&](const NamePattern& pattern) { return pattern.is_in(name); });
  }

 private:
  std::vector<NamePattern> patterns_;
};

/// Whether a tensor that the class does not know is a buffer which classes of older releases of transformers
/// saved. The name alone does not tell: there are parameters that are named `attention.bias`. Where a shard
/// is absent, the shape is not known, and the name has to do.
bool is_legacy_buffer(const CheckpointTensor& tensor) {
  enum class Kind : uint8_t { frequencies, mask, scalar, positions, table };
  struct LegacyBuffer {
    std::string_view ending;
    Kind kind;
  };
  constexpr LegacyBuffer kBuffers[] = {
      {"rotary_emb.inv_freq", Kind::frequencies},
      {"attn.bias", Kind::mask},
      {"attention.bias", Kind::mask},
      {"attn.masked_bias", Kind::scalar},
      {"attention.masked_bias", Kind::scalar},
      {"embeddings.position_ids", Kind::positions},
      {"embed_positions.weights", Kind::table},
  };
  const auto has_shape_of = [&](Kind kind) {
    const auto& shape = tensor.shape;
    switch (kind) {
      case Kind::frequencies:
        return shape.size() == 1;
      case Kind::mask:
        return shape.size() == 4 && shape[0] == 1 && shape[1] == 1 && shape[2] == shape[3];
      case Kind::scalar:
        return shape.empty() || (shape.size() == 1 && shape[0] == 1);
      case Kind::positions:
        return shape.size() == 2 && shape[0] == 1 && tensor.dtype == Dtype::i64;
      case Kind::table:
        return shape.size() == 2;
    }
    return false;
  };
  return std::ranges::any_of(kBuffers, [&](const LegacyBuffer& buffer) {
    return tensor.name.view().ends_with(buffer.ending) && (!tensor.described || has_shape_of(buffer.kind));
  });
}

/// `sentence` takes "2 tensors" and "are".
Finding finding_of_tensors(std::string_view code, std::string_view sentence, std::vector<std::string> names) {
  std::ranges::sort(names);
  const std::string message =
      fmt::format(fmt::runtime(sentence), count_of_tensors(names.size()), names.size() == 1 ? "is" : "are");
  return {code, message, std::move(names)};
}

/// Bytes of a checkpoint's tensors, and how many of them are booleans.
struct TotalBytes {
  uint64_t all = 0, booleans = 0;

  void add(uint64_t bytes, Dtype dtype) {
    all = checked_add(all, bytes).value_or(UINT64_MAX);
    if (dtype == Dtype::boolean) booleans += bytes;
  }
  /// Whether an index may give this total_size: releases of transformers that wrote it with accelerate's
  /// `dtype_byte_size` counted a boolean as an eighth of a byte.
  bool is_size(uint64_t total_size) const {
    const uint64_t in_bits = all - booleans + booleans / 8;
    return total_size == all || total_size == in_bits || (booleans % 8 != 0 && total_size == in_bits + 1);
  }
};

TotalBytes described_total(const Checkpoint& checkpoint) {
  TotalBytes total;
  for (const CheckpointTensor& t : checkpoint.tensors) {
    if (!t.repeats_another()) total.add(t.bytes(), t.dtype);
  }
  return total;
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

  ShellComparison run() {
    if (checkpoint_.tensors.empty()) return {};
    if (!tree_.from_tensor_names) compare_names();
    compare_total();
    return {std::move(findings_), std::move(copies_)};
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
    const IgnoredKeys ignored_keys(tree_);
    std::vector<std::string> unexpected, ignored, legacy, tied;
    for (uint32_t i = 0; i < keys_.shell_names.size(); ++i) {
      const std::string_view saved = checkpoint_.tensors[i].name, name = keys_.shell_names[i];
      const TensorId id = name.empty() ? kNoId : index().find(name);
      if (id != kNoId && tree_.tensors[id].persistent) continue;
      if (is_buffer_of_class(id, checkpoint_.tensors[i]) || is_legacy_buffer(checkpoint_.tensors[i])) {
        legacy.emplace_back(saved);
      } else if (ignored_keys.match(name.empty() ? saved : name)) {
        ignored.emplace_back(saved);
      } else {
        unexpected.emplace_back(saved);
      }
    }
    copies_ = find_saved_copies(tree_, checkpoint_, keys_);
    for (const SavedCopy& copy : copies_) tied.push_back(checkpoint_.tensors[copy.dropped].name.str());
    add("missing_keys", "{} of the model {} not in the checkpoint", keys_.missing_keys);
    add("unexpected_keys", "{} of the checkpoint {} not in the model", std::move(unexpected));
    add("ignored_keys", "{} of the checkpoint {} not in the model, and the class ignores such names",
        std::move(ignored));
    const bool is_one = legacy.size() == 1;
    add("legacy_buffers",
        is_one ? "{} of the checkpoint {} a buffer that newer releases of the class compute"
               : "{} of the checkpoint {} buffers that newer releases of the class compute",
        std::move(legacy));
    if (!tied.empty()) findings_.push_back(tied_weights_saved(std::move(tied)));
    std::vector<std::string> mismatched;
    for (const MismatchedKey& key : keys_.mismatched_keys) mismatched.push_back(key.name);
    add("mismatched_keys", "{} of the checkpoint {} of another shape than the model's",
        std::move(mismatched));
  }

  /// Whether a tensor is what the class has a buffer for that it does not save. Lengths may differ; a float
  /// tensor of another number of dimensions is a parameter of that name.
  bool is_buffer_of_class(TensorId id, const CheckpointTensor& tensor) const {
    if (id == kNoId) return false;
    const bool may_be_parameter = tensor.described && dtype_info(tensor.dtype).is_float;
    return !may_be_parameter || tensor.shape.size() == tree_.tensors[id].shape.size();
  }

  const TensorIndex& index() const {
    if (!index_) index_.emplace(tree_);
    return *index_;
  }

  void add(std::string_view code, std::string_view sentence, std::vector<std::string> names) {
    if (!names.empty()) findings_.push_back(finding_of_tensors(code, sentence, std::move(names)));
  }

  /// Bytes of all tensors, by their headers or, where shards are absent, by the shell; nothing where neither
  /// knows.
  std::optional<TotalBytes> total_bytes() const {
    if (checkpoint_.complete()) return described_total(checkpoint_);
    if (tree_.from_tensor_names || tree_.estimated_bytes) return std::nullopt;
    TotalBytes total;
    for (uint32_t i = 0; i < keys_.shell_names.size(); ++i) {
      const CheckpointTensor& tensor = checkpoint_.tensors[i];
      if (tensor.described) {
        total.add(tensor.bytes(), tensor.dtype);
        continue;
      }
      const TensorId id = find(keys_.shell_names[i]);
      if (id == kNoId) return std::nullopt;
      total.add(shell_tensor_bytes(tree_.tensors[id]), tree_.tensors[id].dtype);
    }
    return total;
  }

  bool is_float32() const { return dtype_ == Dtype::f32; }
  TensorId find(std::string_view name) const { return name.empty() ? kNoId : index().find(name); }

  /// What total_bytes would be with 16-bit weights in the place of float32, or the other way round.
  std::optional<TotalBytes> other_width_total() const {
    TotalBytes total;
    for (const std::string_view name : keys_.shell_names) {
      const TensorId id = find(name);
      if (id == kNoId) return std::nullopt;
      const ShellTensor& t = tree_.tensors[id];
      uint64_t bytes = shell_tensor_bytes(t);
      if (t.dtype == dtype_ && !t.keeps_dtype) bytes = is_float32() ? bytes / 2 : bytes * 2;
      total.add(bytes, t.dtype);
    }
    return total;
  }

  void compare_total() {
    const auto total = total_bytes();
    const auto claimed = checkpoint_.index_total_size_bytes;
    if (!total || !claimed || total->is_size(*claimed)) return;
    const auto other_width = checkpoint_.complete() ? std::nullopt : other_width_total();
    if (other_width && other_width->is_size(*claimed)) {
      findings_.push_back(
          {"dtype_differs",
           fmt::format("the index gives a total_size of {} bytes, which is that of {} weights, and "
                       "config.json says {}",
                       *claimed, is_float32() ? "16-bit" : "float32", dtype_info(dtype_).torch_name),
           {}});
      return;
    }
    findings_.push_back(wrong_total_size(
        *claimed, checkpoint_.complete() ? "take" : "of this architecture and dtype would take", total->all));
  }

  const ModuleTree& tree_;
  const Dtype dtype_;
  const Checkpoint& checkpoint_;
  mutable std::optional<TensorIndex> index_;  ///< made when it is asked for, as match_keys has one of its own
  KeyMatches keys_;
  std::vector<Finding> findings_;
  std::vector<SavedCopy> copies_;
};

}  // namespace

ShellComparison compare_with_checkpoint(const Shell& shell, const Checkpoint& checkpoint) {
  return Comparison(shell, checkpoint).run();
}

Finding tied_weights_saved(std::vector<std::string> names) {
  return finding_of_tensors("tied_weights_saved",
                            "{} of the checkpoint {} tied to another one and saved again", std::move(names));
}

std::vector<Finding> compare_total_size(const Checkpoint& checkpoint) {
  const auto claimed = checkpoint.index_total_size_bytes;
  if (!claimed || checkpoint.tensors.empty() || !checkpoint.complete()) return {};
  const TotalBytes total = described_total(checkpoint);
  if (total.is_size(*claimed)) return {};
  return {wrong_total_size(*claimed, "take", total.all)};
}

}  // namespace hfload
