#include "core/check/lost_weights.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "core/base/file_holes.h"
#include "core/base/join.h"
#include "core/base/layer_numbers.h"

namespace hfload {
namespace {

constexpr std::string_view kDownloadAgain = "Download the file again, or convert it again from its source.";
/// Holes below this are left by copies that leave out zeros: of a few rows, and of padding.
constexpr uint64_t kHoleBytes = 64 << 10;

bool has_part(std::string_view name, std::span<const std::string_view> parts) {
  return std::ranges::any_of(parts, [&](std::string_view part) { return name.find(part) != name.npos; });
}

/// What accompanies weights, and is often one value alone: biases, which experts may have as a matrix, and
/// what belongs to quantised weights, as zero points of symmetric quantisation.
bool is_companion(std::string_view name) {
  constexpr std::string_view kParts[] = {"scale", "zero", "absmax"};
  return name.ends_with("bias") || has_part(name.substr(name.rfind('.') + 1), kParts);
}

/// The matrices of adapters (LoRA, LoHa, LoKr), of which one begins as zeros, and stays so where nothing is
/// trained.
bool is_of_adapter(std::string_view name) {
  constexpr std::string_view kParts[] = {"lora", "hada_", "lokr_", "adapter"};
  return has_part(name, kParts);
}

/// What tensors of one name and shape in several layers have in common. Of another shape are the layers of a
/// head, of which the last often begins as zeros.
std::string sibling_key(const CheckpointTensor& tensor) {
  return fmt::format("{} [{}]", fold_layer_numbers(tensor.name), join(tensor.shape, ","));
}

/// Tensors of one name in several layers.
struct Siblings {
  uint32_t count = 0;
  bool some_are_sound = false;  ///< neither of one value alone, nor with a hole
};

/// What is known of one shard.
struct ShardTally {
  uint64_t bytes = 0, constant_bytes = 0;  ///< of tensors of two and more elements
  uint32_t tensors = 0, constant_tensors = 0, constant_matrices = 0;

  /// Small files with a few constant tensors are written by hand.
  bool is_constant() const {
    constexpr uint64_t kLargeBytes = 1 << 20;
    constexpr uint32_t kManyMatrices = 4;
    const bool is_large = constant_bytes >= kLargeBytes || constant_matrices >= kManyMatrices;
    return is_large && constant_bytes >= bytes - bytes / 10;
  }
};

class Search {
 public:
  Search(const Checkpoint& checkpoint, const std::vector<std::optional<TensorStatistics>>& statistics)
      : checkpoint_(checkpoint), statistics_(statistics), has_hole_(checkpoint.tensors.size()) {}

  std::vector<Finding> run() {
    find_holes();
    tally_shards();
    find_siblings();
    for (uint32_t i = 0; i < checkpoint_.tensors.size(); ++i) {
      if (is_constant(i) || has_hole_[i]) classify(i);
    }
    report();
    return std::move(findings_);
  }

 private:
  /// Tensors stand by their shards.
  void find_holes() {
    constexpr size_t kMostHoles = 1 << 16;
    std::vector<FileHole> holes;
    uint32_t shard = UINT32_MAX;
    for (uint32_t i = 0; i < checkpoint_.tensors.size(); ++i) {
      const CheckpointTensor& tensor = checkpoint_.tensors[i];
      if (!tensor.described) continue;
      if (tensor.shard != shard) {
        shard = tensor.shard;
        holes = hfload::find_holes(reopen_shard(checkpoint_, shard), kHoleBytes, kMostHoles);
      }
      const uint64_t data = checkpoint_.shards[shard].data_start;
      has_hole_[i] = tensor.is_in_place()
                         ? has_hole(holes, data + tensor.begin, data + tensor.end, kHoleBytes)
                         : has_hole(holes, tensor.view->storage_begin, tensor.view->storage_end, kHoleBytes);
    }
  }

  bool is_matrix(uint32_t i) const {
    const CheckpointTensor& tensor = checkpoint_.tensors[i];
    return statistics_[i] && tensor.shape.size() >= 2 && tensor.shape[0] >= 2 && tensor.bytes() > 0;
  }

  bool is_constant(uint32_t i) const { return statistics_[i] && statistics_[i]->constant; }

  bool is_weight(uint32_t i) const { return is_matrix(i) && !is_companion(checkpoint_.tensors[i].name); }

  void tally_shards() {
    shards_.resize(checkpoint_.shards.size());
    for (uint32_t i = 0; i < checkpoint_.tensors.size(); ++i) {
      const CheckpointTensor& tensor = checkpoint_.tensors[i];
      if (!statistics_[i] || tensor.repeats_another() || element_count(tensor.shape) < 2) continue;
      ShardTally& tally = shards_[tensor.shard];
      tally.bytes += tensor.bytes();
      ++tally.tensors;
      if (!is_constant(i) || is_of_adapter(tensor.name)) continue;
      tally.constant_bytes += tensor.bytes();
      ++tally.constant_tensors;
      tally.constant_matrices += is_matrix(i);
    }
  }

  bool is_suspect(uint32_t i) const { return is_weight(i) && (is_constant(i) || has_hole_[i]); }

  /// Of suspects alone, as there are few.
  void find_siblings() {
    for (uint32_t i = 0; i < checkpoint_.tensors.size(); ++i) {
      if (is_suspect(i)) siblings_[sibling_key(checkpoint_.tensors[i])];
    }
    if (siblings_.empty()) return;
    for (uint32_t i = 0; i < checkpoint_.tensors.size(); ++i) {
      if (!is_weight(i)) continue;
      const auto found = siblings_.find(sibling_key(checkpoint_.tensors[i]));
      if (found == siblings_.end()) continue;
      ++found->second.count;
      if (!is_suspect(i)) found->second.some_are_sound = true;
    }
  }

  void classify(uint32_t i) {
    const CheckpointTensor& tensor = checkpoint_.tensors[i];
    if (is_constant(i) && shards_[tensor.shard].is_constant()) return;  // the shard is named as a whole
    if (!is_weight(i)) {
      if (has_hole_[i]) holes_.push_back(tensor.name.str());
      return;
    }
    const Siblings& siblings = siblings_.at(sibling_key(tensor));
    const bool is_adapter = is_of_adapter(tensor.name);
    // Zeros that are right by themselves are those of a few rows, or of every layer.
    const bool is_alone = siblings.count == 1 && is_constant(i) &&
                          (dtype_info(tensor.dtype).is_float || !statistics_[i]->decoded);
    if (siblings.some_are_sound && is_constant(i) && !is_adapter) {
      constant_.push_back(tensor.name.str());
    } else if (has_hole_[i] && (siblings.some_are_sound || is_alone) && !is_adapter) {
      unwritten_.push_back(tensor.name.str());
    } else {
      (is_constant(i) ? one_value_ : holes_).push_back(tensor.name.str());
    }
  }

  void report() {
    report_constant_files();
    add("constant_weights",
        {"1 tensor holds one value alone, and those of its name in other layers do not",
         "{} tensors hold one value alone each, and others of their names in other layers do not"},
        std::move(constant_),
        fmt::format("{} Weights that were set to one value on purpose look the same.", kDownloadAgain));
    add("unwritten_weights",
        {"1 tensor lies in a hole of its file, wholly or in part: its bytes were never written",
         "{} tensors lie in holes of their files, wholly or in part: their bytes were never written"},
        std::move(unwritten_), kDownloadAgain);
    add("constant_tensors",
        {"1 tensor holds one value alone, which may be right",
         "{} tensors hold one value alone each, which may be right"},
        std::move(one_value_));
    add("holes",
        {"a part of 1 tensor lies in a hole of its file and reads as zeros, which may be right",
         "parts of {} tensors lie in holes of their files and read as zeros, which may be right"},
        std::move(holes_));
  }

  void report_constant_files() {
    std::map<uint32_t, std::vector<std::string>> names;  // by shard
    for (uint32_t i = 0; i < checkpoint_.tensors.size(); ++i) {
      const CheckpointTensor& tensor = checkpoint_.tensors[i];
      const bool is_counted = is_constant(i) && element_count(tensor.shape) >= 2;
      if (is_counted && shards_[tensor.shard].is_constant()) names[tensor.shard].push_back(tensor.name.str());
    }
    for (auto& [shard, of_shard] : names) {
      std::ranges::sort(of_shard);
      const ShardTally& tally = shards_[shard];
      findings_.push_back({"constant_file",
                           fmt::format("{}: {} of {} tensors hold one value alone each",
                                       checkpoint_.shards[shard].file, tally.constant_tensors, tally.tensors),
                           std::move(of_shard), std::string(kDownloadAgain)});
    }
  }

  /// `sentences` are those for one tensor and for several.
  void add(std::string_view code, std::array<std::string_view, 2> sentences, std::vector<std::string> names,
           std::string_view hint = "") {
    if (names.empty()) return;
    std::ranges::sort(names);
    const std::string_view sentence = sentences[names.size() == 1 ? 0 : 1];
    findings_.push_back(
        {code, fmt::format(fmt::runtime(sentence), names.size()), std::move(names), std::string(hint)});
  }

  const Checkpoint& checkpoint_;
  const std::vector<std::optional<TensorStatistics>>& statistics_;
  std::vector<bool> has_hole_;                ///< by tensor
  std::vector<ShardTally> shards_;            ///< by shard
  std::map<std::string, Siblings> siblings_;  ///< by sibling_key
  std::vector<std::string> constant_, unwritten_, one_value_, holes_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> find_lost_weights(const Checkpoint& checkpoint,
                                       const std::vector<std::optional<TensorStatistics>>& statistics) {
  return Search(checkpoint, statistics).run();
}

}  // namespace hfload
