#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include "core/base/crc32.h"
#include "core/base/error.h"
#include "core/base/interrupted.h"
#include "core/base/system_error.h"
#include "core/base/workers.h"
#include "core/save/commit.h"
#include "core/save/convert.h"
#include "core/save/destination.h"

namespace hfload {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kPieceBytes = 4 << 20;     ///< of one piece of work, as read
constexpr uint64_t kBufferBytes = 512 << 10;  ///< read into a processor's L2 cache at once
constexpr unsigned kMaxDefaultThreads = 16;
constexpr std::chrono::milliseconds kProgressInterval{100};

/// A range of one tensor, small enough that many threads have work on one large tensor.
struct Piece {
  uint32_t file = 0;
  uint32_t slot = 0;        ///< into the file's layout
  uint64_t first_byte = 0;  ///< of the tensor's elements as read
  uint64_t source_bytes = 0;
  uint32_t crc = 0;  ///< of the bytes written, where the file holds checksums
};

/// A weight file while it is written.
struct OpenFile {
  size_t staged = 0;  ///< its number in the StagedFiles
  std::mutex mutex;
  FileDescriptor fd;
  std::atomic<uint64_t> pieces_left{0};
  size_t first_piece = 0;
};

/// Two buffers, of which the second holds the result of a cast that doubles the size.
struct Buffers {
  std::vector<std::byte> source, target;
};

class Conversion {
 public:
  Conversion(const ConvertPlan& plan, const TensorSource& source, const ConvertRun& run, StagedFiles& staged,
             unsigned threads)
      : plan_(plan),
        source_(source),
        run_(run),
        staged_(staged),
        files_(plan.files.size()),
        buffers_(threads) {}

  void reserve_files() {
    for (size_t f = 0; f < plan_.files.size(); ++f)
      files_[f].staged = staged_.add(plan_.files[f].name, plan_.files[f].layout.file_bytes);
    for (const CopiedFile& file : plan_.copies) copies_.push_back(staged_.add(file.name, file.bytes));
  }

  void copy_other_files() {
    for (size_t i = 0; i < plan_.copies.size(); ++i) {
      const CopiedFile& copied = plan_.copies[i];
      const RegularFile file = open_regular_file(copied.path);
      FileDescriptor fd = staged_.open(copies_[i]);
      std::vector<std::byte>& buffer = buffers_[0].source;
      buffer.resize(kBufferBytes);
      for (uint64_t at = 0; at < copied.bytes; at += kBufferBytes) {
        stop_if_interrupted();
        const auto bytes = std::span(buffer).first(std::min(kBufferBytes, copied.bytes - at));
        read_exactly(file, at, bytes);
        write_exactly(fd.get(), at, bytes, staged_.path(copies_[i]));
      }
      if (file.identity.bytes != copied.bytes)
        throw Error(ErrorCode::changed_during_read, "the file has changed since it was looked at")
            .with_path(copied.path);
      require_unchanged(file);
      staged_.finish(copies_[i], std::move(fd));
    }
    for (const TextFile& file : plan_.texts) staged_.add_text(file.name, file.text);
  }

  void write_weights() {
    make_pieces();
    for (size_t f = 0; f < files_.size(); ++f) {
      if (files_[f].pieces_left == 0) finish(f);
    }
    std::atomic<size_t> next{0};
    std::atomic<bool> stop{false};
    run_workers(static_cast<unsigned>(buffers_.size()), [&](unsigned worker) {
      try {
        while (!stop.load(std::memory_order_relaxed)) {
          stop_if_interrupted();
          const size_t piece = next.fetch_add(1, std::memory_order_relaxed);
          if (piece >= pieces_.size()) return;
          write(pieces_[piece], buffers_[worker]);
        }
      } catch (...) {
        stop.store(true, std::memory_order_relaxed);
        throw;
      }
    });
    if (run_.progress) report();
  }

 private:
  void stop_if_interrupted() const {
    if (run_.interrupted && run_.interrupted()) throw Interrupted();
  }

  void make_pieces() {
    for (uint32_t f = 0; f < plan_.files.size(); ++f) {
      const FileLayout& layout = plan_.files[f].layout;
      files_[f].first_piece = pieces_.size();
      for (uint32_t s = 0; s < layout.slots.size(); ++s) {
        const uint64_t bytes = source_.tensors()[plan_.sources[layout.slots[s].tensor]].bytes;
        for (uint64_t at = 0; at < bytes; at += kPieceBytes) {
          pieces_.push_back({f, s, at, std::min(kPieceBytes, bytes - at)});
          ++files_[f].pieces_left;
        }
        total_bytes_ += plan_.tensors[layout.slots[s].tensor].bytes;
      }
    }
  }

  int descriptor_of(OpenFile& file) {
    const std::lock_guard lock(file.mutex);
    if (!file.fd) file.fd = staged_.open(file.staged);
    return file.fd.get();
  }

  void write(Piece& piece, Buffers& buffers) {
    OpenFile& file = files_[piece.file];
    const TensorSlot& slot = plan_.files[piece.file].layout.slots[piece.slot];
    const int fd = descriptor_of(file);
    const CastKind kind = plan_.casts[slot.tensor];
    const uint64_t target = slot.offset + target_bytes(kind, piece.first_byte);
    try {
      const bool must_see = kind != CastKind::none || !plan_.files[piece.file].layout.checksums.empty();
      if (must_see || !copy_in_kernel(piece, slot, fd, target))
        convert(piece, kind, slot, fd, target, buffers);
    } catch (Error& error) {
      if (error.tensor().empty()) error.with_tensor(plan_.tensors[slot.tensor].name);
      throw;
    }
    // Only a hint: the disk begins to write while others read, so that flushing the file has less to do.
    sync_file_range(fd, static_cast<off_t>(target), static_cast<off_t>(target_bytes(kind, piece.source_bytes)),
                    SYNC_FILE_RANGE_WRITE);
    add_progress(target_bytes(kind, piece.source_bytes));
    if (file.pieces_left.fetch_sub(1) == 1) finish(piece.file);
  }

  static uint64_t target_bytes(CastKind kind, uint64_t source_bytes) {
    return source_bytes / cast_source_bytes(kind) * cast_target_bytes(kind);
  }

  void convert(Piece& piece, CastKind kind, const TensorSlot& slot, int fd, uint64_t target,
               Buffers& buffers) {
    buffers.source.resize(kBufferBytes);
    const std::string path = staged_.path(files_[piece.file].staged);
    const bool has_checksums = !plan_.files[piece.file].layout.checksums.empty();
    for (uint64_t done = 0; done < piece.source_bytes; done += kBufferBytes) {
      const uint64_t bytes = std::min(kBufferBytes, piece.source_bytes - done);
      const auto read = std::span(buffers.source).first(bytes);
      source_.read(plan_.sources[slot.tensor], piece.first_byte + done, read);
      std::span<const std::byte> written = read;
      if (kind != CastKind::none) {
        buffers.target.resize(kBufferBytes * 2);
        cast(kind, read.data(), buffers.target.data(), bytes / cast_source_bytes(kind));
        written = std::span(buffers.target).first(target_bytes(kind, bytes));
      }
      if (has_checksums) piece.crc = crc32(piece.crc, written);
      write_exactly(fd, target + target_bytes(kind, done), written, path);
    }
  }

  /// Copies without bringing the bytes to this process; false where the file systems cannot, or where reading
  /// them will say better what is wrong.
  bool copy_in_kernel(const Piece& piece, const TensorSlot& slot, int fd, uint64_t target) {
    if (!kernel_copies_.load(std::memory_order_relaxed)) return false;
    const auto range = source_.file_range(plan_.sources[slot.tensor]);
    if (!range) return false;
    auto from = static_cast<off_t>(range->offset + piece.first_byte);
    auto to = static_cast<off_t>(target);
    for (uint64_t left = piece.source_bytes; left > 0;) {
      const ssize_t copied =
          retry_interrupted([&] { return copy_file_range(range->file->fd.get(), &from, fd, &to, left, 0); });
      if (copied > 0) {
        left -= static_cast<uint64_t>(copied);
        continue;
      }
      if (copied < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
        throw system_error("writing", errno, staged_.path(files_[piece.file].staged));
      if (copied < 0 && errno != EIO) kernel_copies_ = false;
      return false;
    }
    return true;
  }

  /// Writes what stands between the tensors, and flushes.
  void finish(size_t index) {
    OpenFile& file = files_[index];
    const std::string path = staged_.path(file.staged);
    const int fd = descriptor_of(file);
    for (const FilePiece& piece : plan_.files[index].layout.pieces) {
      write_exactly(fd, piece.offset, std::as_bytes(std::span(piece.bytes.data(), piece.bytes.size())), path);
    }
    if (!plan_.files[index].layout.checksums.empty()) write_checksums(index, fd, path);
    staged_.finish(file.staged, std::move(file.fd));
  }

  /// Puts the CRCs of pieces together to those of tensors.
  void write_checksums(size_t index, int fd, const std::string& path) const {
    const FileLayout& layout = plan_.files[index].layout;
    std::vector<uint32_t> crcs(layout.slots.size());
    for (size_t p = files_[index].first_piece; p < pieces_.size() && pieces_[p].file == index; ++p) {
      const Piece& piece = pieces_[p];
      const CastKind kind = plan_.casts[layout.slots[piece.slot].tensor];
      crcs[piece.slot] = crc32_combine(crcs[piece.slot], piece.crc, target_bytes(kind, piece.source_bytes));
    }
    for (size_t slot = 0; slot < crcs.size(); ++slot) {
      std::array<std::byte, 4> bytes{};
      for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(crcs[slot] >> (8 * i));
      write_exactly(fd, layout.checksums[slot].first_offset, bytes, path);
      write_exactly(fd, layout.checksums[slot].second_offset, bytes, path);
    }
  }

  void add_progress(uint64_t bytes) {
    done_bytes_.fetch_add(bytes, std::memory_order_relaxed);
    if (!run_.progress) return;
    const std::unique_lock lock(progress_mutex_, std::try_to_lock);
    if (!lock.owns_lock() || Clock::now() - last_report_ < kProgressInterval) return;
    last_report_ = Clock::now();
    report();
  }

  void report() const {
    run_.progress({done_bytes_.load(std::memory_order_relaxed), total_bytes_,
                   std::chrono::duration<double>(Clock::now() - begin_).count()});
  }

  const ConvertPlan& plan_;
  const TensorSource& source_;
  const ConvertRun& run_;
  StagedFiles& staged_;
  std::vector<OpenFile> files_;
  std::vector<Buffers> buffers_;  ///< by worker; each touches its own alone
  std::vector<size_t> copies_;    ///< numbers of plan_.copies in the StagedFiles
  std::vector<Piece> pieces_;
  std::atomic<bool> kernel_copies_{true};
  std::atomic<uint64_t> done_bytes_{0};
  uint64_t total_bytes_ = 0;
  std::mutex progress_mutex_;
  Clock::time_point begin_ = Clock::now();
  Clock::time_point last_report_ = begin_;
};

StagedFiles stage(const ConvertPlan& plan) {
  return plan.single_file ? StagedFiles::of_file(plan.destination)
                          : StagedFiles::in_directory(plan.destination);
}

void require_room(const ConvertPlan& plan) {
  const uint64_t free = free_bytes_at(plan.destination);
  if (plan.output_bytes <= free) return;
  throw Error(ErrorCode::no_space,
              fmt::format("the output takes {} bytes, and its disk has {} left", plan.output_bytes, free))
      .with_path(plan.destination)
      .with_hint("Make room on that disk, or write to another one.");
}

}  // namespace

ConvertOutcome execute(const ConvertPlan& plan, const TensorSource& source, const ConvertRun& run) {
  const Clock::time_point begin = Clock::now();
  ConvertOutcome outcome;
  outcome.threads = run.threads != 0
                        ? run.threads
                        : std::clamp(std::thread::hardware_concurrency(), 1U, kMaxDefaultThreads);
  clean_leftovers(plan.destination);
  if (!run.force && is_complete(plan)) {
    outcome.skipped = true;
    return outcome;
  }
  ExistingSet existing = find_existing_set(plan);
  if (!run.force && !existing.first.empty()) {
    throw Error(ErrorCode::destination_exists, "this exists already, and is not what would be written")
        .with_path(existing.first)
        .with_hint("Replace it with --force, or choose another destination.");
  }
  require_room(plan);
  {
    StagedFiles staged = stage(plan);
    existing = find_existing_set(plan);
    Conversion conversion(plan, source, run, staged, outcome.threads);
    conversion.reserve_files();
    conversion.copy_other_files();
    conversion.write_weights();
    source.require_unchanged();
    if (run.interrupted && run.interrupted()) throw Interrupted();
    staged.commit(existing.steps);
  }
  outcome.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  return outcome;
}

}  // namespace hfload
