#include "core/format/torch_file.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/format/json.h"
#include "core/format/torch_container.h"
#include "core/format/torch_state_dict.h"
#include "core/format/torch_storages.h"
#include "core/format/torch_tensor.h"

namespace hfload {
namespace {

class StateDictReader {
 public:
  StateDictReader(const ByteSource& source, std::string_view key)
      : container_(source),
        tree_(container_.tree()),
        key_(key),
        storages_(tree_),
        finder_(tree_),
        tensors_(tree_, storages_, finder_) {}

  TorchFile read() && {
    const PickleId root = tree_.root();
    if (tree_.kind(root) != PickleKind::dict) throw no_state_dict(root);
    file_.layout = container_.layout();
    file_.big_endian = container_.big_endian();
    storages_.claim(container_.layout());
    file_.storages = container_.locate(storages_.claims());
    storages_.forget_claims();
    const StateDict state_dict = finder_.find(key_);
    file_.notes = container_.notes();
    file_.notes.insert(file_.notes.end(), state_dict.notes.begin(), state_dict.notes.end());
    checked_.resize(tree_.size());
    read_dict(state_dict.dict, state_dict.reads_nested);
    require_distinct_joined_names();
    require_tensors();
    note_others();
    return std::move(file_);
  }

 private:
  static Error fault(ErrorCode code, std::string message, uint64_t offset) {
    return Error(code, std::move(message)).with_offset(offset);
  }
  Error no_state_dict(PickleId root) const {
    const bool tensor = finder_.is_tensor(root);
    return fault(ErrorCode::unsupported_format,
                 fmt::format("the file holds {}, not a dict of tensors",
                             tensor ? "one tensor" : describe(tree_.kind(root))),
                 tree_.offset(root))
        .with_hint("Load it with torch and save the model's state_dict().");
  }

  void require_distinct_names(PickleId dict) {
    if (checked_[dict]) return;
    checked_[dict] = true;
    const auto is_name = [&](PickleId key) { return tree_.kind(key) == PickleKind::string; };
    size_t count = 0;
    visit_entries(tree_, dict, [&](PickleId key, PickleId) { count += is_name(key) ? 1 : 0; });
    std::vector<PickleId> names;
    names.reserve(count);
    visit_entries(tree_, dict, [&](PickleId key, PickleId) {
      if (is_name(key)) names.push_back(key);
    });
    std::ranges::sort(names, {}, [&](PickleId key) { return std::pair(tree_.text(key), key); });
    const auto twice = std::ranges::adjacent_find(names, {}, [&](PickleId key) { return tree_.text(key); });
    if (twice == names.end()) return;
    throw fault(ErrorCode::duplicate_key, "the state dict has the same name twice",
                tree_.offset(*(twice + 1)))
        .with_tensor(std::string(tree_.text(*twice)));
  }

  /// Names that are joined may meet others that have dots themselves.
  void require_distinct_joined_names() const {
    if (!has_joined_names_) return;
    std::vector<std::string_view> names;
    names.reserve(file_.tensors.size() + file_.odd.size());
    for (const TorchTensor& tensor : file_.tensors) names.push_back(tensor.name);
    for (const TorchOddTensor& tensor : file_.odd) names.push_back(tensor.name);
    std::ranges::sort(names);
    const auto twice = std::ranges::adjacent_find(names);
    if (twice == names.end()) return;
    throw fault(ErrorCode::duplicate_key, "two dicts of the file give a tensor the same name",
                tree_.offset(tree_.root()))
        .with_tensor(std::string(*twice));
  }

  void require_tensors() const {
    const auto is_empty = [](const TorchTensor& tensor) { return tensor.bytes == 0; };
    if (file_.tensors.size() > 1 && std::ranges::all_of(file_.tensors, is_empty)) {
      throw fault(ErrorCode::unsupported_format, "every tensor in the file is empty",
                  tree_.offset(tree_.root()))
          .with_hint(
              "DeepSpeed ZeRO-3 leaves such files beside the weights. Join them in the folder that holds "
              "zero_to_fp32.py: python zero_to_fp32.py . OUT");
    }
    if (!file_.tensors.empty()) return;
    if (first_odd_) throw *first_odd_;
    bool is_optimizer = false;
    visit_entries(tree_, tree_.root(), [&](PickleId key, PickleId) {
      is_optimizer =
          is_optimizer || (tree_.kind(key) == PickleKind::string && tree_.text(key) == "param_groups");
    });
    throw fault(ErrorCode::unsupported_format, "the file holds no tensors that have names",
                tree_.offset(tree_.root()))
        .with_hint(is_optimizer ? "It is the state of an optimizer. Give the file that holds the model."
                                : "Give the file that holds the model's state_dict().");
  }

  /// Reads the entries of a dict, to whose names `prefix_` is joined. Dicts nest at most kMaxPickleDepth
  /// levels.
  void read_dict(PickleId dict, bool reads_nested) {
    require_distinct_names(dict);
    visit_entries(tree_, dict, [&](PickleId key, PickleId value) {
      if (!reads_nested || tree_.kind(key) != PickleKind::string || !finder_.has_named_tensors(value))
        return read_entry(key, value);
      const size_t outer = prefix_.size();
      prefix_ += tree_.text(key);
      prefix_ += '.';
      has_joined_names_ = true;
      read_dict(value, true);
      prefix_.resize(outer);
    });
  }

  void read_entry(PickleId key, PickleId value) {
    const bool named = tree_.kind(key) == PickleKind::string;
    const bool is_tensor = finder_.is_tensor(value);
    if (!named || !is_tensor) {
      if (++file_.other_count > kMaxListedOthers) return;
      std::string name = json::shorten(
          prefix_ + (named ? std::string(tree_.text(key)) : fmt::format("({})", describe(tree_.kind(key)))));
      file_.others.push_back({std::move(name), is_tensor ? "a tensor" : describe(tree_.kind(value))});
      return;
    }
    TorchTensor tensor;
    tensor.name = prefix_;
    tensor.name += tree_.text(key);
    if (tensor.name.size() > kMaxPickleStringBytes)
      throw fault(ErrorCode::invalid_pickle, "the names of dicts in one another are longer than 64 KiB",
                  tree_.offset(key));
    TorchOddTensor odd;
    try {
      tensors_.read(value, tensor, odd);
    } catch (Error& error) {
      error.with_tensor(tensor.name);
      if (error.code() != ErrorCode::unsupported_format) throw;
      if (!first_odd_) first_odd_ = error;
      odd.name = tensor.name;
    }
    // Many names of one tensor are few bytes of a pickle.
    tensor_memory_ += kTensorMemoryBytes + tensor.name.size() + 16 * (tensor.shape.size() + odd.shape.size());
    if (tensor_memory_ > kMaxTensorMemoryBytes + 2 * container_.pickle_bytes()) {
      throw fault(ErrorCode::invalid_pickle,
                  "the state dict has more tensors than a pickle of its size may have", tree_.offset(key))
          .with_hint("It was not written by torch.save.");
    }
    if (odd.kind.empty()) {
      file_.tensors.push_back(std::move(tensor));
    } else {
      file_.odd.push_back(std::move(odd));
    }
  }

  void note_others() {
    if (file_.others.empty()) return;
    const TorchOther& first = file_.others.front();
    const uint64_t count = file_.other_count;
    file_.notes.push_back(fmt::format("{} that {} no tensor {} left out, '{}' ({}) for one",
                                      count == 1 ? "an entry" : fmt::format("{} entries", count),
                                      count == 1 ? "is" : "are", count == 1 ? "is" : "are",
                                      json::shorten(first.name), first.kind));
  }

  TorchContainer container_;
  const PickleTree& tree_;
  const std::string_view key_;
  TorchStorages storages_;
  StateDictFinder finder_;
  TorchTensorReader tensors_;
  TorchFile file_;
  std::string prefix_;  ///< of the names in the dict that is being read
  bool has_joined_names_ = false;
  std::vector<bool> checked_;  ///< dicts whose names are distinct, by value
  std::optional<Error> first_odd_;
  uint64_t tensor_memory_ = 0;
};

}  // namespace

TorchFile parse_torch_file(const ByteSource& source, std::string_view key) {
  return StateDictReader(source, key).read();
}

TorchFile read_torch_file(const RegularFile& file, std::string_view key) {
  try {
    TorchFile read = parse_torch_file(FileSource(file), key);
    require_unchanged(file);
    return read;
  } catch (Error& error) {
    if (error.path().empty()) error.with_path(file.path);
    throw;
  }
}

}  // namespace hfload
