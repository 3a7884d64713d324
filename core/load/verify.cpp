#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <tuple>

#include "core/base/crc32.h"
#include "core/base/error.h"
#include "core/load/buffer_bytes.h"
#include "core/load/gather.h"
#include "core/load/loader.h"
#include "core/load/parallel_reads.h"
#include "core/load/read_schedule.h"
#include "core/load/storage_checks.h"
#include "kernels/hash.h"

namespace hfload {
namespace {

// A multiple of every element's size, and converted still one of the words that a hash is made of.
constexpr uint64_t kPieceBytes = 1 << 20;
static_assert(kPieceBytes <= kGatherBytes);  // a piece is gathered as a whole

/// A part of a tensor that one worker compares, or a part of a storage whose checksum is.
struct Piece {
  enum class Of : uint8_t { tensor, storage } of = Of::tensor;
  uint32_t index = 0;  ///< into LoadPlan::placements, or into the storages
  uint32_t shard = 0;
  uint64_t begin = 0;   ///< of the whole, bytes from the start of the shard
  uint64_t offset = 0;  ///< from `begin`; of a tensor, as if it were contiguous
  uint64_t bytes = 0;   ///< in the shard
};

/// In the order of the shards' bytes: what is of a tensor and of its storage comes together, so that the
/// second finds its bytes in the page cache.
class Pieces {
 public:
  /// All must outlive it.
  Pieces(const LoadPlan& plan, const Checkpoint& checkpoint, std::span<const StorageCheck> storages)
      : plan_(plan),
        checkpoint_(checkpoint),
        storages_(storages),
        first_storage_(static_cast<uint32_t>(plan.placements.size())) {
    uint64_t count = 0;
    for_each_whole([&](uint32_t, uint64_t bytes) { count += pieces_of(bytes); });
    ids_.reserve(count);  // a list that grows has its old self beside it
    for_each_whole([&](uint32_t whole, uint64_t bytes) {
      const uint64_t numbers = pieces_of(bytes);
      for (uint64_t number = 0; number < numbers; ++number) {
        ids_.push_back({whole, static_cast<uint32_t>(number)});
      }
    });
    std::ranges::sort(ids_, {}, [&](const Id& id) {
      const Piece piece = describe(id);
      return std::tuple(piece.shard, piece.begin + piece.offset, piece.of, piece.index);
    });
  }

  uint64_t size() const { return ids_.size(); }
  Piece operator[](uint64_t i) const { return describe(ids_[i]); }

 private:
  /// A piece in few bytes, as there is one and more for each of 10^5 tensors.
  struct Id {
    uint32_t whole;   ///< a placement, or, counted on from them, a storage
    uint32_t number;  ///< of its pieces
  };

  static uint64_t pieces_of(uint64_t bytes) { return bytes / kPieceBytes + (bytes % kPieceBytes != 0); }

  void for_each_whole(const auto& visit) const {
    for (uint32_t i = 0; i < plan_.placements.size(); ++i) {
      visit(i, checkpoint_.tensors.at(plan_.placements[i].checkpoint).bytes());
    }
    for (uint32_t i = 0; i < storages_.size(); ++i) visit(first_storage_ + i, storages_[i].bytes);
  }

  Piece describe(const Id& id) const {
    const uint64_t offset = id.number * kPieceBytes;
    const auto piece = [&](Piece::Of of, uint32_t index, uint32_t shard, uint64_t begin, uint64_t bytes) {
      return Piece{of, index, shard, begin, offset, std::min(kPieceBytes, bytes - offset)};
    };
    if (id.whole >= first_storage_) {
      const uint32_t index = id.whole - first_storage_;
      const StorageCheck& storage = storages_[index];
      return piece(Piece::Of::storage, index, storage.shard, storage.begin, storage.bytes);
    }
    const CheckpointTensor& tensor = checkpoint_.tensors[plan_.placements[id.whole].checkpoint];
    return piece(Piece::Of::tensor, id.whole, tensor.shard,
                 checkpoint_.shards.at(tensor.shard).data_start + tensor.begin, tensor.bytes());
  }

  const LoadPlan& plan_;
  const Checkpoint& checkpoint_;
  std::span<const StorageCheck> storages_;
  uint32_t first_storage_;
  std::vector<Id> ids_;
};

/// The buffers of one worker: bytes of the file, and up to twice as many converted.
struct Buffers {
  std::vector<std::byte> file, expected;
};
constexpr unsigned kBufferFactor = 3;

class Comparison {
 public:
  Comparison(const LoadedModel& model, const Checkpoint& checkpoint, std::span<const StorageCheck> storages,
             const Pieces& pieces, unsigned workers)
      : model_(model),
        checkpoint_(checkpoint),
        storages_(storages),
        pieces_(pieces),
        buffers_(workers),
        step_bytes_(step_bytes(checkpoint.tensors.size(), workers, kBufferFactor)),
        sums_(model.plan.placements.size()),
        crcs_(storages.empty() ? 0 : pieces.size()) {}

  /// Compares one piece; returns its bytes in the file. Once a difference is known, later pieces are left
  /// out, so that the first of all differences is the one that is found.
  uint64_t compare(uint64_t index, const RegularFile& file, unsigned worker) {
    if (index > first_bad_piece_.load(std::memory_order_relaxed)) return 0;
    const Piece piece = pieces_[index];
    Buffers& buffers = buffers_[worker];
    if (piece.of == Piece::Of::storage) {
      crcs_[index] = crc_of(piece, file, buffers);
      return piece.bytes;
    }
    const TensorPlacement& placement = model_.plan.placements[piece.index];
    const CastKind kind = conversion_of(placement);
    const uint64_t expected_sum = expected_sum_of(piece, kind, file, buffers);
    const uint64_t sum =
        placement.in_file
            ? mapped_sum_of(piece)
            : backend_of(placement.device)
                  .hash_range(placement.arena_offset + converted_bytes(piece.offset, kind),
                              converted_bytes(piece.bytes, kind), converted_bytes(piece.offset, kind) / 8);
    if (sum != expected_sum) find_difference(index, file);
    sums_[piece.index].fetch_add(sum, std::memory_order_relaxed);
    compared_bytes_.fetch_add(converted_bytes(piece.bytes, kind), std::memory_order_relaxed);
    return piece.bytes;
  }

  /// Throws the first difference, or the first wrong CRC-32.
  Verification finish() const {
    if (first_difference_) throw Error(*first_difference_);
    require_storages();
    Verification result{.compared_bytes = compared_bytes_, .hashes = {}};
    result.hashes.reserve(sums_.size());
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

  static uint64_t converted_bytes(uint64_t file_bytes, CastKind kind) {
    return file_bytes / cast_source_bytes(kind) * cast_target_bytes(kind);
  }
  const CheckpointTensor& tensor_of(const Piece& piece) const {
    return checkpoint_.tensors[model_.plan.placements[piece.index].checkpoint];
  }
  std::span<const std::byte> mapping_of(const CheckpointTensor& tensor) const {
    return model_.mappings.at(tensor.shard).bytes();
  }
  CastKind conversion_of(const TensorPlacement& placement) const {
    return placement.in_file ? CastKind::none
                             : cast_between(checkpoint_.tensors[placement.checkpoint].dtype, placement.dtype);
  }

  uint32_t crc_of(const Piece& piece, const RegularFile& file, Buffers& buffers) const {
    uint32_t crc = 0;
    for (uint64_t done = 0; done < piece.bytes; done += step_bytes_) {
      buffers.file.resize(std::min(step_bytes_, piece.bytes - done));
      read_exactly(file, piece.begin + piece.offset + done, buffers.file);
      crc = crc32(crc, buffers.file);
    }
    return crc;
  }

  /// The sum of a piece's bytes as the file says that they should be in memory.
  uint64_t expected_sum_of(const Piece& piece, CastKind kind, const RegularFile& file, Buffers& buffers) {
    const CheckpointTensor& tensor = tensor_of(piece);
    // A piece that has to be gathered is so as a whole: many small pieces would each read the whole storage.
    std::optional<GatherTurns::Turn> turn;
    std::span<std::byte> gathered;
    if (!tensor.is_in_place()) {
      gathered = turn.emplace(turns_).buffer().first(piece.bytes);
      gather(checkpoint_, tensor, FileSource(file), piece.offset, gathered, *turn);
    }
    uint64_t sum = 0;
    for (uint64_t done = 0; done < piece.bytes; done += step_bytes_) {
      const uint64_t bytes = std::min(step_bytes_, piece.bytes - done);
      std::span<const std::byte> step;
      if (turn) {
        step = gathered.subspan(done, bytes);
      } else {
        buffers.file.resize(bytes);
        read_tensor(checkpoint_, tensor, file, piece.offset + done, buffers.file, turns_);
        step = buffers.file;
      }
      step = converted(step, kind, buffers.expected);
      sum += hash_part(step.data(), step.size(), converted_bytes(piece.offset + done, kind) / 8);
    }
    return sum;
  }

  static std::span<const std::byte> converted(std::span<const std::byte> bytes, CastKind kind,
                                              std::vector<std::byte>& into) {
    if (kind == CastKind::none) return bytes;
    into.resize(converted_bytes(bytes.size(), kind));
    cast_reference(kind, bytes.data(), into.data(), bytes.size() / cast_source_bytes(kind));
    return into;
  }

  /// The sum of a piece of a tensor that stays in its file, through the mapping.
  uint64_t mapped_sum_of(const Piece& piece) {
    const CheckpointTensor& tensor = tensor_of(piece);
    if (tensor.is_in_place()) {
      const std::span<const std::byte> bytes =
          mapping_of(tensor).subspan(piece.begin + piece.offset, piece.bytes);
      return hash_part(bytes.data(), bytes.size(), piece.offset / 8);
    }
    GatherTurns::Turn turn(turns_);
    const std::span<std::byte> bytes = turn.buffer().first(piece.bytes);
    gather(checkpoint_, tensor, MemorySource(mapping_of(tensor)), piece.offset, bytes, turn);
    return hash_part(bytes.data(), bytes.size(), piece.offset / 8);
  }

  void require_storages() const {
    std::vector<uint32_t> crcs(storages_.size());
    for (size_t i = 0; i < pieces_.size(); ++i) {
      const Piece piece = pieces_[i];
      if (piece.of == Piece::Of::storage)
        crcs[piece.index] = crc32_combine(crcs[piece.index], crcs_[i], piece.bytes);
    }
    for (size_t i = 0; i < storages_.size(); ++i) {
      if (crcs[i] != storages_[i].crc) throw wrong_checksum(checkpoint_, storages_[i]);
    }
  }

  /// Notes where a piece whose sum is wrong differs first.
  void find_difference(uint64_t index, const RegularFile& file) {
    const std::lock_guard lock(mutex_);  // so that only one has a whole piece in memory
    if (index >= first_bad_piece_) return;
    const Piece piece = pieces_[index];
    const TensorPlacement& placement = model_.plan.placements[piece.index];
    const CheckpointTensor& tensor = tensor_of(piece);
    const CastKind kind = conversion_of(placement);
    std::vector<std::byte> in_file(piece.bytes), buffer;
    read_tensor(checkpoint_, tensor, file, piece.offset, in_file, turns_);
    const std::span<const std::byte> expected = converted(in_file, kind, buffer);
    const uint64_t tensor_offset = converted_bytes(piece.offset, kind);
    std::vector<std::byte> loaded(expected.size());
    if (!placement.in_file) {
      backend_of(placement.device).read_back(placement.arena_offset + tensor_offset, loaded);
    } else if (tensor.is_in_place()) {
      std::ranges::copy(mapping_of(tensor).subspan(piece.begin + piece.offset, piece.bytes), loaded.begin());
    } else {
      GatherTurns::Turn turn(turns_);
      gather(checkpoint_, tensor, MemorySource(mapping_of(tensor)), piece.offset, loaded, turn);
    }
    const auto [differs, at_loaded] = std::ranges::mismatch(expected, loaded);
    const auto byte = static_cast<uint64_t>(differs - expected.begin());
    std::optional<uint64_t> file_offset;
    if (tensor.is_in_place())
      file_offset = piece.begin + piece.offset + byte / cast_target_bytes(kind) * cast_source_bytes(kind);
    note_difference(
        index, file, file_offset,
        differs == expected.end()
            ? fmt::format(
                  "the checksum of bytes {} to {} of the tensor on {} is wrong; read back, they are right",
                  tensor_offset, tensor_offset + expected.size(), describe(placement.device))
            : fmt::format("byte {} of the tensor on {} is {:#04x}; by the file it should be {:#04x}",
                          tensor_offset + byte, describe(placement.device),
                          std::to_integer<unsigned>(*at_loaded), std::to_integer<unsigned>(*differs)));
  }

  Backend& backend_of(Device device) const {
    for (const auto& backend : model_.backends) {
      if (backend->device() == device) return *backend;
    }
    throw Error(ErrorCode::internal, "the load plan is inconsistent: a device has no arena");
  }

  /// mutex_ is held.
  void note_difference(uint64_t index, const RegularFile& file, std::optional<uint64_t> file_offset,
                       std::string message) {
    first_bad_piece_ = index;
    first_difference_ =
        Error(ErrorCode::verify_failed, std::move(message))
            .with_path(file.path)
            .with_tensor(tensor_of(pieces_[index]).name.str())
            .with_hint("Load again; if it differs again, suspect the memory or the disk of this machine.");
    if (file_offset) first_difference_->with_offset(*file_offset);
  }

  const LoadedModel& model_;
  const Checkpoint& checkpoint_;
  std::span<const StorageCheck> storages_;
  const Pieces& pieces_;
  std::vector<Buffers> buffers_;             ///< by worker; each touches its own alone
  uint64_t step_bytes_;                      ///< of the file, in a worker's buffers at once
  std::vector<std::atomic<uint64_t>> sums_;  ///< by placement: of the hash's parts
  std::vector<uint32_t> crcs_;               ///< by piece, of those of storages
  GatherTurns turns_;
  std::atomic<uint64_t> compared_bytes_{0};
  std::atomic<uint64_t> first_bad_piece_{UINT64_MAX};
  std::mutex mutex_;
  std::optional<Error> first_difference_;
};

}  // namespace

Verification verify(const LoadedModel& model, const Checkpoint& checkpoint, const LoadOptions& options) {
  const std::vector<StorageCheck> storages = find_storage_checks(model.plan, checkpoint);
  const Pieces pieces(model.plan, checkpoint, storages);
  uint64_t total_bytes = 0;
  for (uint64_t i = 0; i < pieces.size(); ++i) total_bytes += pieces[i].bytes;
  Comparison comparison(model, checkpoint, storages, pieces, reader_threads(options));
  run_parallel_reads(checkpoint,
                     {.count = pieces.size(),
                      .shard = [&](uint64_t i) { return pieces[i].shard; },
                      .work = [&](uint64_t i, OpenShard& shard,
                                  unsigned worker) { return comparison.compare(i, shard.file, worker); },
                      .total_bytes = total_bytes},
                     options);
  return comparison.finish();
}

}  // namespace hfload
