#include "core/check/saved_hashes.h"

#include <charconv>
#include <string_view>

#include "core/base/name_table.h"
#include "core/format/tensor_hashes.h"

namespace hfload {

SavedHashes::SavedHashes(const Checkpoint& checkpoint, const RegularFile& file)
    : checkpoint_(checkpoint), entries_(checkpoint.tensors.size()) {
  const auto name_of = [&](uint32_t i) { return checkpoint.tensors[i].name.view(); };
  NameTable by_name(checkpoint.tensors.size());
  for (uint32_t i = 0; i < checkpoint.tensors.size(); ++i) by_name.insert(i, name_of);
  read_tensor_hashes(file, [&](std::string_view name, const SavedHash& saved) {
    const uint32_t i = by_name.find(name, name_of);
    if (i == NameTable::kNone) {
      strangers_.emplace_back(name);
      return;
    }
    const CheckpointTensor& tensor = checkpoint.tensors[i];
    Entry& entry = entries_[i];
    entry.is_there = true;
    entry.is_alike = tensor.dtype_name() == saved.dtype && tensor.shape == saved.shape;
    std::from_chars(saved.hash.data(), saved.hash.data() + saved.hash.size(), entry.hash, 16);
  });
}

HashDifferences SavedHashes::compare(const std::vector<std::optional<TensorStatistics>>& statistics) const {
  HashDifferences found;
  found.missing = strangers_;
  for (size_t i = 0; i < entries_.size(); ++i) {
    const Entry& entry = entries_[i];
    const bool is_read = statistics[i].has_value();
    const auto add_to = [&](std::vector<std::string>& names) {
      names.push_back(checkpoint_.tensors[i].name.str());
    };
    if (is_read && !entry.is_there) add_to(found.fresh);
    if (!is_read && entry.is_there) add_to(found.missing);
    if (is_read && entry.is_there && (!entry.is_alike || entry.hash != statistics[i]->hash))
      add_to(found.differing);
  }
  return found;
}

}  // namespace hfload
