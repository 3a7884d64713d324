#include <fmt/format.h>

#include <list>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/save/tensor_source.h"

namespace hfload {
namespace {

std::string shard_path(const Checkpoint& checkpoint, const Shard& shard) {
  const std::string& directory = checkpoint.location.directory;
  return directory.empty() ? shard.file : fmt::format("{}/{}", directory, shard.file);
}

class SafetensorsSource final : public TensorSource {
 public:
  explicit SafetensorsSource(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {
    if (checkpoint.shards.empty()) {
      throw Error(ErrorCode::weights_not_found, "there are no weights to convert")
          .with_path(checkpoint.location.directory);
    }
    for (uint32_t i = 0; i < checkpoint.shards.size(); ++i) require_readable(i);
    tensors_.reserve(checkpoint.tensors.size());
    for (const CheckpointTensor& tensor : checkpoint.tensors) {
      if (tensor.dtype == Dtype::unknown) {
        throw Error(ErrorCode::unsupported_dtype,
                    fmt::format("the dtype {} is not known, and so cannot be written", tensor.dtype_name))
            .with_path(shard_path(checkpoint, checkpoint.shards[tensor.shard]))
            .with_tensor(tensor.name)
            .with_hint("Leave the tensor out with --exclude.");
      }
      tensors_.push_back({tensor.name, tensor.dtype, tensor.shape, tensor.bytes()});
    }
  }

  std::span<const SourceTensor> tensors() const override { return tensors_; }

  void read(uint32_t tensor, uint64_t offset, std::span<std::byte> into) const override {
    const FileRange range = range_of(tensor);
    try {
      read_exactly(*range.file, range.offset + offset, into);
    } catch (Error& error) {
      error.with_tensor(std::string(tensors_[tensor].name));
      throw;
    }
  }

  std::optional<FileRange> file_range(uint32_t tensor) const override { return range_of(tensor); }

  void require_unchanged() const override {
    const std::lock_guard lock(mutex_);
    for (const auto& [shard, identity] : identities_) {
      const RegularFile file = reopen_shard(checkpoint_, shard);
      require_same(file, identity);
    }
  }

 private:
  void require_readable(uint32_t index) const {
    const Shard& shard = checkpoint_.shards[index];
    if (!shard.present) {
      throw Error(ErrorCode::shard_missing, "this shard of the checkpoint does not exist")
          .with_path(shard_path(checkpoint_, shard))
          .with_hint("Put the missing shards into the model directory.");
    }
    if (shard.format != ShardFormat::safetensors) {
      throw Error(ErrorCode::unsupported_format, "this is not a safetensors file")
          .with_path(shard_path(checkpoint_, shard));
    }
  }

  FileRange range_of(uint32_t tensor) const {
    const CheckpointTensor& described = checkpoint_.tensors[tensor];
    return {open(described.shard), checkpoint_.shards[described.shard].data_start + described.begin};
  }

  /// Keeps the files that were asked for last open.
  std::shared_ptr<const RegularFile> open(uint32_t shard) const {
    constexpr size_t kMostOpen = 64;
    const std::lock_guard lock(mutex_);
    for (auto it = open_.begin(); it != open_.end(); ++it) {
      if (it->first != shard) continue;
      open_.splice(open_.begin(), open_, it);
      return open_.front().second;
    }
    auto file = std::make_shared<const RegularFile>(reopen_shard(checkpoint_, shard));
    const auto [known, is_new] = identities_.emplace(shard, file->identity);
    if (!is_new) require_same(*file, known->second);
    open_.emplace_front(shard, file);
    if (open_.size() > kMostOpen) open_.pop_back();
    return file;
  }

  static void require_same(const RegularFile& file, const FileIdentity& identity) {
    if (file.identity == identity) return;
    throw Error(ErrorCode::changed_during_read, "the file was truncated or replaced while it was read")
        .with_path(file.path)
        .with_hint("Wait until nothing writes to the file and run the command again.");
  }

  const Checkpoint& checkpoint_;
  std::vector<SourceTensor> tensors_;
  mutable std::mutex mutex_;
  mutable std::list<std::pair<uint32_t, std::shared_ptr<const RegularFile>>> open_;  ///< latest first
  mutable std::map<uint32_t, FileIdentity> identities_;
};

}  // namespace

std::unique_ptr<TensorSource> open_safetensors_source(const Checkpoint& checkpoint) {
  return std::make_unique<SafetensorsSource>(checkpoint);
}

}  // namespace hfload
