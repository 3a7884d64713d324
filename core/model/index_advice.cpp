#include "core/model/index_advice.h"

#include <fmt/core.h>

#include <algorithm>
#include <string_view>
#include <unordered_map>

#include "core/base/error.h"
#include "core/base/name_table.h"

namespace hfload {
namespace {

class Comparison {
  struct NameOf {
    const Checkpoint& checkpoint;
    std::string_view operator()(uint32_t tensor) const { return checkpoint.tensors[tensor].name; }
  };

 public:
  Comparison(Checkpoint& checkpoint, const ShardIndex& index, std::vector<Finding>* findings)
      : checkpoint_(checkpoint), index_(index), findings_(findings), by_name_(checkpoint.tensors.size()) {}

  void run() {
    drop_repeated_names();
    compare_names();
    report("tensor_not_in_shard", "{} of the index {} in no shard", lacking_);
    report("tensor_in_other_shard", "{} of the index {} in another shard than it says", moved_);
    report("unindexed_tensors", "{} of the shards {} not in the index", unindexed_);
    report("repeated_tensors", "{} {} in several shards: the last shard's is taken", repeated_);
  }

 private:
  void drop_repeated_names() {
    std::vector<CheckpointTensor>& tensors = checkpoint_.tensors;
    std::unordered_map<uint32_t, uint32_t> last_of;  // by the first tensor of a name that is repeated
    std::vector<bool> dropped(tensors.size());
    for (uint32_t i = 0; i < tensors.size(); ++i) {
      const uint32_t first = by_name_.find(tensors[i].name, NameOf{checkpoint_});
      if (first == NameTable::kNone) {
        by_name_.insert(i, tensors[i].name, NameOf{checkpoint_});
        continue;
      }
      uint32_t& last = last_of.try_emplace(first, first).first->second;
      const bool keeps_last = tensors[last].described && !tensors[i].described;
      if (tensors[last].described && tensors[i].described) repeated_.push_back(tensors[i].name.str());
      dropped[keeps_last ? i : last] = true;
      if (!keeps_last) last = i;
    }
    if (last_of.empty()) return;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < tensors.size(); ++i) {
      if (dropped[i]) {
        --checkpoint_.shards[tensors[i].shard].tensor_count;
      } else {
        if (kept != i) tensors[kept] = std::move(tensors[i]);
        ++kept;
      }
    }
    tensors.resize(kept);
    by_name_ = NameTable(kept);
    for (uint32_t i = 0; i < kept; ++i) by_name_.insert(i, tensors[i].name, NameOf{checkpoint_});
  }

  void compare_names() {
    std::vector<bool> indexed(checkpoint_.tensors.size());
    for (const WeightMapEntry& entry : index_.weight_map) {
      const uint32_t found = by_name_.find(entry.tensor, NameOf{checkpoint_});
      if (found == NameTable::kNone) {
        lacking_.push_back(entry.tensor.str());
        continue;
      }
      indexed[found] = true;
      if (checkpoint_.tensors[found].shard != entry.shard) moved_.push_back(entry.tensor.str());
    }
    for (uint32_t i = 0; i < indexed.size(); ++i) {
      if (indexed[i]) continue;
      checkpoint_.tensors[i].unindexed = true;
      unindexed_.push_back(checkpoint_.tensors[i].name.str());
    }
  }

  /// `sentence` takes "2 tensors" and "are".
  void report(std::string_view code, std::string_view sentence, std::vector<std::string>& names) {
    if (names.empty()) return;
    std::ranges::sort(names);
    const bool is_one = names.size() == 1;
    std::string message =
        fmt::format(fmt::runtime(sentence), is_one ? "1 tensor" : fmt::format("{} tensors", names.size()),
                    is_one ? "is" : "are");
    if (findings_ != nullptr) {
      findings_->push_back({code, std::move(message), std::move(names)});
    } else {
      const std::string& path = checkpoint_.location.weights_path;
      checkpoint_.warnings.push_back(
          fmt::format("{}: {}, '{}' for one", path.substr(path.rfind('/') + 1), message, names.front()));
    }
  }

  Checkpoint& checkpoint_;
  const ShardIndex& index_;
  std::vector<Finding>* findings_;
  NameTable by_name_;  ///< of the checkpoint's tensors
  std::vector<std::string> lacking_, moved_, unindexed_, repeated_;
};

}  // namespace

void compare_with_index(Checkpoint& checkpoint, const ShardIndex& index, std::vector<Finding>* findings) {
  Comparison(checkpoint, index, findings).run();
}

}  // namespace hfload
