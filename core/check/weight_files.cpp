#include "core/check/weight_files.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>

#include "core/base/directory.h"

namespace hfload {
namespace {

/// Of these any name is one of weights; of the others those that transformers, diffusers, PEFT and Meta give.
constexpr std::array<std::string_view, 5> kWeightExtensions = {".safetensors", ".gguf", ".h5", ".msgpack",
                                                               ".ot"};
constexpr std::array<std::string_view, 4> kPickleExtensions = {".bin", ".pt", ".pth", ".ckpt"};
constexpr std::array<std::string_view, 5> kPickleStems = {
    "adapter_model", "consolidated", "diffusion_pytorch_model", "model", "pytorch_model"};

/// What the name of a file of weights says: "model.fp16-00001-of-00002.safetensors".
struct WeightFileName {
  std::string stem;       ///< "model"
  std::string variant;    ///< "fp16"; empty for none
  std::string extension;  ///< ".safetensors"
  bool is_numbered = false;
  bool is_index = false;

  bool is_same_set(const WeightFileName& other) const {
    return std::tie(stem, variant, extension) == std::tie(other.stem, other.variant, other.extension);
  }
};

/// Takes "-00002-of-00003" out of a name where it stands at the end or before a dot.
bool remove_number(std::string& name) {
  constexpr std::string_view kDigits = "0123456789", kOf = "-of-";
  const size_t of = name.rfind(kOf);
  if (of == std::string::npos || of == 0) return false;
  const size_t before = name.find_last_not_of(kDigits, of - 1);
  const size_t after = std::min(name.find_first_not_of(kDigits, of + kOf.size()), name.size());
  if (before == std::string::npos || before + 1 == of || name[before] != '-') return false;
  if (after == of + kOf.size() || (after < name.size() && name[after] != '.')) return false;
  name.erase(before, after - before);
  return true;
}

/// Nothing for a name that is none of a file of weights or of an index. A variant stands before or after the
/// number of a shard, and before or after ".index" (transformers, `_add_variant`, and older releases).
std::optional<WeightFileName> parse_weight_file_name(std::string name) {
  if (name.starts_with('.')) return std::nullopt;
  WeightFileName parsed;
  constexpr std::string_view kIndex = ".index.", kJson = "json";
  const size_t index = name.rfind(kIndex);
  if (index != std::string::npos && name.ends_with(".json")) {
    parsed.is_index = true;
    const size_t variant = index + kIndex.size(), json = name.size() - kJson.size();
    if (variant < json) parsed.variant = name.substr(variant, json - 1 - variant);
    name.resize(index);
  }
  const size_t dot = name.rfind('.');
  if (dot == std::string::npos) return std::nullopt;
  parsed.extension = name.substr(dot);
  name.resize(dot);
  parsed.is_numbered = remove_number(name);
  const size_t second = name.find('.');
  parsed.stem = name.substr(0, second);
  if (second != std::string::npos) parsed.variant = name.substr(second + 1);
  const bool is_pickle = std::ranges::find(kPickleExtensions, parsed.extension) != kPickleExtensions.end() &&
                         std::ranges::find(kPickleStems, parsed.stem) != kPickleStems.end();
  const bool is_other = std::ranges::find(kWeightExtensions, parsed.extension) != kWeightExtensions.end();
  return is_pickle || is_other ? std::optional(std::move(parsed)) : std::nullopt;
}

std::string file_name(std::string_view path) { return std::string(path.substr(path.rfind('/') + 1)); }

std::string count_of_files(size_t count, std::string_view kind) {
  return fmt::format("{} {}{}", count, kind, count == 1 ? "" : "s");
}

class FileComparison {
 public:
  explicit FileComparison(const Checkpoint& checkpoint) : read_path_(checkpoint.location.weights_path) {
    for (const Shard& shard : checkpoint.shards) {
      read_.insert(shard.file);
      if (sets_.size() < kMostSets) add_set(file_name(shard.file));
    }
    add_set(file_name(read_path_));
    const auto read = parse_weight_file_name(file_name(read_path_));
    is_index_read_ = read && read->is_index;
  }

  void consider(const std::string& name) {
    if (read_.contains(name) || name == file_name(read_path_)) return;
    const auto parsed = parse_weight_file_name(name);
    if (!parsed) return;
    const bool is_of_set =
        std::ranges::any_of(sets_, [&](const WeightFileName& set) { return set.is_same_set(*parsed); });
    if (parsed->is_index) {
      if (is_of_set) index_ = name;
    } else if (is_of_set && parsed->is_numbered) {
      numbered_.push_back(name);
    } else {
      others_.push_back(name);
    }
  }

  std::vector<Finding> take() {
    if (!numbered_.empty()) is_index_read_ ? add_unindexed() : add_second_set();
    if (!others_.empty()) {
      const bool one = others_.size() == 1;
      findings_.push_back(
          {"other_weights",
           fmt::format("{} of other weights {} beside what was read, and {} not looked at",
                       count_of_files(others_.size(), "file"), one ? "lies" : "lie", one ? "was" : "were"),
           std::move(others_)});
    }
    return std::move(findings_);
  }

 private:
  static constexpr size_t kMostSets = 8;  ///< a checkpoint is of one or two

  void add_set(const std::string& name) {
    const auto parsed = parse_weight_file_name(name);
    const auto is_known = [&](const WeightFileName& set) { return set.is_same_set(*parsed); };
    if (parsed && std::ranges::none_of(sets_, is_known)) sets_.push_back(*parsed);
  }

  void add_unindexed() {
    const bool one = numbered_.size() == 1;
    findings_.push_back(
        {"unindexed_files",
         fmt::format("{} {} not in the index", count_of_files(numbered_.size(), "numbered weight file"),
                     one ? "is" : "are"),
         std::move(numbered_)});
  }

  void add_second_set() {
    const std::string shards = count_of_files(numbered_.size(), "shard");
    const std::string set = index_.empty() ? shards : fmt::format("{} with {}", index_, shards);
    if (!index_.empty()) numbered_.push_back(index_);
    std::ranges::sort(numbered_);
    findings_.push_back(
        {"two_sets_of_weights",
         fmt::format("{} was read, as transformers does, and beside it lies a second set of weights: {}",
                     file_name(read_path_), set),
         std::move(numbered_),
         "Other programs take the other set. Keep the one that is meant, and move the other away."});
  }

  std::string read_path_;
  std::set<std::string, std::less<>> read_;
  std::vector<WeightFileName> sets_;  ///< of what was read
  bool is_index_read_ = false;
  std::vector<std::string> numbered_, others_;
  std::string index_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> find_other_weights(const Checkpoint& checkpoint) {
  const ModelLocation& location = checkpoint.location;
  if (location.is_file || checkpoint.shards.empty()) return {};
  FileComparison comparison(checkpoint);
  for (const std::string& name : list_directory(location.directory.empty() ? "." : location.directory))
    comparison.consider(name);
  return comparison.take();
}

}  // namespace hfload
