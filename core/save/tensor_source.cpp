#include "core/save/tensor_source.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <list>
#include <mutex>
#include <set>
#include <string>
#include <unordered_set>
#include <utility>

#include "core/base/error.h"
#include "core/format/tensor_reader.h"

namespace hfload {
namespace {

std::string shard_path(const Checkpoint& checkpoint, const Shard& shard) {
  const std::string& directory = checkpoint.location.directory;
  return directory.empty() ? shard.file : fmt::format("{}/{}", directory, shard.file);
}

class CheckpointSource final : public TensorSource {
 public:
  CheckpointSource(const Checkpoint& checkpoint, AbsentShards absent) : checkpoint_(checkpoint) {
    if (absent == AbsentShards::refuse) require_complete();
    for (const CheckpointTensor& tensor : checkpoint.tensors) {
      if (tensor.repeats_another()) repeated_.insert(tensor.view->same_as);
    }
  }

  SourceTensor tensor(uint32_t index) const override {
    const CheckpointTensor& described = checkpoint_.tensors[index];
    SourceTensor tensor{described.name, described.dtype, described.shape, described.bytes()};
    if (described.repeats_another()) tensor.same_elements = described.view->same_as;
    if (repeated_.contains(index)) tensor.same_elements = index;
    return tensor;
  }

  void read(uint32_t tensor, uint64_t offset, std::span<std::byte> into) const override {
    const CheckpointTensor& described = checkpoint_.tensors[tensor];
    const auto file = open(described.shard);
    try {
      if (described.is_in_place()) {
        read_exactly(*file, in_place_offset(described) + offset, into);
        return;
      }
      const StridedTensor stored = stored_elements(checkpoint_, described);
      read_tensor_elements(*file, stored, offset / stored.element_bytes, into);
    } catch (Error& error) {
      error.with_tensor(described.name.str());
      throw;
    }
  }

  std::optional<FileRange> file_range(uint32_t tensor) const override {
    const CheckpointTensor& described = checkpoint_.tensors[tensor];
    if (!described.is_in_place()) return std::nullopt;
    return FileRange{open(described.shard), in_place_offset(described)};
  }

  void require_unchanged() const override {
    const std::lock_guard lock(mutex_);
    for (const uint32_t shard : read_) reopen_shard(checkpoint_, shard);
  }

 private:
  void require_complete() const {
    if (checkpoint_.shards.empty()) {
      if (checkpoint_.location.obstacle) throw Error(*checkpoint_.location.obstacle);
      const std::string& variants = checkpoint_.location.variants_hint;
      throw Error(ErrorCode::weights_not_found, "the model has no weights")
          .with_path(checkpoint_.location.directory)
          .with_hint(variants.empty()
                         ? "Put model.safetensors, or a shard index and its shards, beside config.json."
                         : fmt::format("Weights of these variants are there: {}. Use --variant.", variants));
    }
    for (const Shard& shard : checkpoint_.shards) {
      if (!shard.present) {
        throw Error(ErrorCode::shard_missing, "this shard of the checkpoint does not exist")
            .with_path(shard_path(checkpoint_, shard))
            .with_hint("Put the missing shards into the model directory.");
      }
      if (!shard.is_read()) {
        throw Error(ErrorCode::unsupported_format, "this is no safetensors file and no PyTorch checkpoint")
            .with_path(shard_path(checkpoint_, shard));
      }
    }
  }

  uint64_t in_place_offset(const CheckpointTensor& tensor) const {
    return checkpoint_.shards[tensor.shard].data_start + tensor.begin;
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
    read_.insert(shard);
    open_.emplace_front(shard, file);
    if (open_.size() > kMostOpen) open_.pop_back();
    return file;
  }

  const Checkpoint& checkpoint_;
  std::unordered_set<uint32_t> repeated_;  ///< tensors whose elements others have too
  mutable std::mutex mutex_;
  mutable std::list<std::pair<uint32_t, std::shared_ptr<const RegularFile>>> open_;  ///< latest first
  mutable std::set<uint32_t> read_;  ///< shards that were opened
};

}  // namespace

void PieceReader::Slots::acquire() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return free_ > 0; });
  --free_;
}

void PieceReader::Slots::release() {
  {
    const std::lock_guard lock(mutex_);
    ++free_;
  }
  changed_.notify_one();
}

PieceReader::PieceReader(const TensorSource& source, uint32_t tensor, uint64_t first_byte, uint64_t bytes,
                         Slots& slots)
    : source_(source),
      slots_(slots),
      tensor_(tensor),
      at_(first_byte),
      end_(first_byte + bytes),
      in_place_(source.file_range(tensor).has_value()) {
  if (!in_place_) slots_.acquire();
}

PieceReader::~PieceReader() {
  if (!in_place_) slots_.release();
}

void PieceReader::read(std::span<std::byte> into) {
  if (in_place_) {
    source_.read(tensor_, at_, into);
    at_ += into.size();
    return;
  }
  while (!into.empty()) {
    if (used_ == gathered_.size()) gather();
    const size_t bytes = std::min(into.size(), gathered_.size() - used_);
    std::memcpy(into.data(), gathered_.data() + used_, bytes);
    used_ += bytes;
    into = into.subspan(bytes);
  }
}

void PieceReader::gather() {
  constexpr uint64_t kGatheredBytes = 4 << 20;
  gathered_.resize(std::min(kGatheredBytes, end_ - at_));
  source_.read(tensor_, at_, gathered_);
  at_ += gathered_.size();
  used_ = 0;
}

std::unique_ptr<TensorSource> open_tensor_source(const Checkpoint& checkpoint, AbsentShards absent) {
  return std::make_unique<CheckpointSource>(checkpoint, absent);
}

}  // namespace hfload
