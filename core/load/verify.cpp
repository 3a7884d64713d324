#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>

#include "core/base/error.h"
#include "core/load/loader.h"
#include "core/load/parallel_reads.h"
#include "core/load/read_schedule.h"
#include "kernels/hash.h"

namespace hfload {
namespace {

// A multiple of every element's size, and converted still one of the words that a hash is made of.
constexpr uint64_t kPieceBytes = 1 << 20;

/// A part of a tensor that is compared at once.
struct Piece {
  uint32_t placement = 0;
  uint64_t tensor_offset = 0;  ///< bytes of the file, from the start of the tensor
  uint64_t file_bytes = 0;
};

std::vector<Piece> cut_into_pieces(const LoadPlan& plan, const Checkpoint& checkpoint) {
  std::vector<uint32_t> order(plan.placements.size());
  for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  const auto position = [&](uint32_t placement) {
    const CheckpointTensor& tensor = checkpoint.tensors.at(plan.placements[placement].checkpoint);
    return std::pair(tensor.shard, tensor.begin);
  };
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return position(a) < position(b); });
  std::vector<Piece> pieces;
  for (const uint32_t placement : order) {
    const uint64_t bytes = checkpoint.tensors[plan.placements[placement].checkpoint].bytes();
    for (uint64_t offset = 0; offset < bytes; offset += kPieceBytes) {
      pieces.push_back({placement, offset, std::min(kPieceBytes, bytes - offset)});
    }
  }
  return pieces;
}

/// The buffers of one worker.
struct Buffers {
  std::vector<std::byte> file, expected, loaded;
};

class Comparison {
 public:
  Comparison(const LoadedModel& model, const ModuleTree& tree, const Checkpoint& checkpoint,
             std::span<const Piece> pieces, unsigned workers)
      : model_(model),
        tree_(tree),
        checkpoint_(checkpoint),
        pieces_(pieces),
        buffers_(workers),
        sums_(model.plan.placements.size()) {}

  /// Compares one piece; returns its bytes in the file. Once a difference is known, later pieces are left
  /// out, so that the first of all differences is the one that is found.
  uint64_t compare(uint64_t index, const RegularFile& file, unsigned worker) {
    if (index > first_bad_piece_.load(std::memory_order_relaxed)) return 0;
    const Piece& piece = pieces_[index];
    const TensorPlacement& placement = model_.plan.placements[piece.placement];
    const CheckpointTensor& tensor = checkpoint_.tensors[placement.checkpoint];
    const uint64_t file_offset =
        checkpoint_.shards[tensor.shard].data_start + tensor.begin + piece.tensor_offset;
    Buffers& buffers = buffers_[worker];
    buffers.file.resize(piece.file_bytes);
    read_exactly(file, file_offset, buffers.file);

    const bool in_file = placement.in_file;
    const CastKind kind = in_file ? CastKind::none : cast_between(tensor.dtype, placement.dtype);
    std::span<const std::byte> expected = buffers.file;
    if (kind != CastKind::none) {
      const uint64_t count = piece.file_bytes / cast_source_bytes(kind);
      buffers.expected.resize(count * cast_target_bytes(kind));
      cast_reference(kind, buffers.file.data(), buffers.expected.data(), count);
      expected = buffers.expected;
    }
    const uint64_t loaded_offset =
        placement.arena_offset + piece.tensor_offset / cast_source_bytes(kind) * cast_target_bytes(kind);
    const uint64_t tensor_offset = loaded_offset - placement.arena_offset;
    const uint64_t expected_sum = hash_part(expected.data(), expected.size(), tensor_offset / 8);
    const uint64_t sum = hash_loaded(placement, tensor.shard, loaded_offset, expected.size());
    if (sum != expected_sum) {
      const std::span<const std::byte> loaded =
          in_file ? mapped(tensor.shard, loaded_offset, expected.size())
                  : read_back(placement.device, loaded_offset, expected.size(), buffers);
      const auto [differs, at_loaded] = std::mismatch(expected.begin(), expected.end(), loaded.begin());
      const auto byte = static_cast<uint64_t>(differs - expected.begin());
      note_difference(
          index, file, file_offset + byte / cast_target_bytes(kind) * cast_source_bytes(kind),
          differs == expected.end()
              ? fmt::format(
                    "the checksum of bytes {} to {} of the tensor on {} is wrong; read back, they are right",
                    tensor_offset, tensor_offset + expected.size(), describe(placement.device))
              : fmt::format("byte {} of the tensor on {} is {:#04x}; by the file it should be {:#04x}",
                            tensor_offset + byte, describe(placement.device),
                            std::to_integer<unsigned>(*at_loaded), std::to_integer<unsigned>(*differs)));
    }
    sums_[piece.placement].fetch_add(sum, std::memory_order_relaxed);
    compared_bytes_.fetch_add(expected.size(), std::memory_order_relaxed);
    return piece.file_bytes;
  }

  /// Throws the first difference.
  Verification finish() const {
    if (first_difference_) throw Error(*first_difference_);
    Verification result{.compared_bytes = compared_bytes_, .hashes = {}};
    for (size_t i = 0; i < sums_.size(); ++i) {
      const TensorPlacement& placement = model_.plan.placements[i];
      result.hashes.push_back({placement.tensor, hash_of_sum(sums_[i], placement.bytes)});
    }
    return result;
  }

 private:
  static std::string describe(Device device) {
    return device.is_gpu() ? fmt::format("GPU {}", device.ordinal) : fmt::format("the {}", to_string(device));
  }

  std::span<const std::byte> mapped(uint32_t shard, uint64_t offset, uint64_t bytes) const {
    return model_.mappings.at(shard).bytes().subspan(offset, bytes);
  }

  uint64_t hash_loaded(const TensorPlacement& placement, uint32_t shard, uint64_t offset,
                       uint64_t bytes) const {
    const uint64_t first_word = (offset - placement.arena_offset) / 8;
    if (!placement.in_file) return backend_of(placement.device).hash_range(offset, bytes, first_word);
    return hash_part(mapped(shard, offset, bytes).data(), bytes, first_word);
  }

  std::span<const std::byte> read_back(Device device, uint64_t offset, uint64_t bytes,
                                       Buffers& buffers) const {
    buffers.loaded.resize(bytes);
    backend_of(device).read_back(offset, buffers.loaded);
    return buffers.loaded;
  }

  Backend& backend_of(Device device) const {
    for (const auto& backend : model_.backends) {
      if (backend->device() == device) return *backend;
    }
    throw Error(ErrorCode::internal, "the load plan is inconsistent: a device has no arena");
  }

  void note_difference(uint64_t index, const RegularFile& file, uint64_t file_offset, std::string message) {
    const std::lock_guard lock(mutex_);
    if (index >= first_bad_piece_) return;
    first_bad_piece_ = index;
    const TensorPlacement& placement = model_.plan.placements[pieces_[index].placement];
    first_difference_ =
        Error(ErrorCode::verify_failed, std::move(message))
            .with_path(file.path)
            .with_tensor(tree_.tensors.at(placement.tensor).name)
            .with_offset(file_offset)
            .with_hint("Load again; if it differs again, suspect the memory or the disk of this machine.");
  }

  const LoadedModel& model_;
  const ModuleTree& tree_;
  const Checkpoint& checkpoint_;
  std::span<const Piece> pieces_;
  std::vector<Buffers> buffers_;             ///< by worker; each touches its own alone
  std::vector<std::atomic<uint64_t>> sums_;  ///< by placement: of the hash's parts
  std::atomic<uint64_t> compared_bytes_{0};
  std::atomic<uint64_t> first_bad_piece_{UINT64_MAX};
  std::mutex mutex_;
  std::optional<Error> first_difference_;
};

}  // namespace

Verification verify(const LoadedModel& model, const ModuleTree& tree, const Checkpoint& checkpoint,
                    const LoadOptions& options) {
  const std::vector<Piece> pieces = cut_into_pieces(model.plan, checkpoint);
  Comparison comparison(model, tree, checkpoint, pieces, reader_threads(options));
  run_parallel_reads(
      checkpoint,
      {.count = pieces.size(),
       .shard =
           [&](uint64_t i) {
             return checkpoint.tensors[model.plan.placements[pieces[i].placement].checkpoint].shard;
           },
       .work = [&](uint64_t i, OpenShard& shard,
                   unsigned worker) { return comparison.compare(i, shard.file, worker); },
       .total_bytes = model.plan.copied_file_bytes + model.plan.disk_bytes + model.plan.mapped_bytes},
      options);
  return comparison.finish();
}

}  // namespace hfload
