#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <mutex>
#include <optional>
#include <thread>

#include "core/base/crc32.h"
#include "core/base/error.h"
#include "core/base/interrupted.h"
#include "core/base/system_error.h"
#include "core/base/workers.h"
#include "core/save/cast_pieces.h"
#include "core/save/commit.h"
#include "core/save/convert.h"
#include "core/save/destination.h"
#include "core/save/write_schedule.h"

namespace hfload {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kProgressInterval{100};

/// A weight file while it is written.
struct OpenFile {
  size_t staged = 0;  ///< its number in the StagedFiles
  std::mutex mutex;
  FileDescriptor fd;
  std::atomic<uint64_t> pieces_left{0};
  size_t first_run = 0;
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
      constexpr uint64_t kBufferBytes = 512 << 10;
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
    for (const TextFile& file : plan_.texts)
      staged_.add_text(file.name, file.bytes, [&](const TextSink& sink) { write_text(plan_, file, sink); });
  }

  void write_weights() {
    schedule_ = make_write_schedule(plan_, source_);
    count_pieces();
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
          if (piece >= schedule_.pieces) return;
          write(piece, buffers_[worker]);
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

  void count_pieces() {
    size_t end = schedule_.pieces;
    for (size_t r = schedule_.runs.size(); r-- > 0;) {
      const WriteRun& run = schedule_.runs[r];
      files_[run.file].pieces_left += end - run.first_piece;
      files_[run.file].first_run = r;
      total_bytes_ += cast_bytes(run.cast, run.source_bytes);
      end = run.first_piece;
    }
    if (plan_.format == WeightFormat::pytorch) crcs_.resize(schedule_.pieces);
  }

  int descriptor_of(OpenFile& file) {
    const std::lock_guard lock(file.mutex);
    if (!file.fd) file.fd = staged_.open(file.staged);
    return file.fd.get();
  }

  void write(size_t index, CastBuffers& buffers) {
    const WritePiece piece = schedule_.piece(index);
    const WriteRun& run = schedule_.runs[piece.run];
    OpenFile& file = files_[run.file];
    const int fd = descriptor_of(file);
    const uint64_t target = run.target_offset + cast_bytes(run.cast, piece.first_byte);
    try {
      const bool must_see = run.cast != CastKind::none || has_checksums(run.file);
      if (must_see || !copy_in_kernel(piece, run, fd, target)) convert(index, piece, fd, buffers);
    } catch (Error& error) {
      if (error.tensor().empty()) error.with_tensor(std::string(tensor_at(run.file, target)));
      throw;
    }
    const uint64_t written = cast_bytes(run.cast, piece.source_bytes);
    // Only a hint: the disk begins to write while others read, so that flushing the file has less to do.
    constexpr uint64_t kWorthAHint = 1 << 20;
    if (written >= kWorthAHint)
      sync_file_range(fd, static_cast<off_t>(target), static_cast<off_t>(written), SYNC_FILE_RANGE_WRITE);
    add_progress(written);
    if (file.pieces_left.fetch_sub(1) == 1) finish(run.file);
  }

  bool has_checksums(size_t file) const { return plan_.files[file].layout.archive.has_value(); }

  uint32_t source_of(const WriteRun& run) const {
    return plan_.sources[plan_.files[run.file].layout.slots[run.first_slot].tensor];
  }

  /// The tensor that stands at an offset of an output file, or the one after it; for messages.
  std::string_view tensor_at(size_t file, uint64_t offset) const {
    const std::vector<TensorSlot>& slots = plan_.files[file].layout.slots;
    const auto after = std::ranges::upper_bound(slots, offset, {}, &TensorSlot::offset);
    return plan_.tensors[(after == slots.begin() ? after : after - 1)->tensor].name;
  }

  void convert(size_t index, const WritePiece& piece, int fd, CastBuffers& buffers) {
    const WriteRun& run = schedule_.runs[piece.run];
    const std::string path = staged_.path(files_[run.file].staged);
    read_cast_piece(plan_, source_, run, piece, gather_slots_, buffers,
                    [&](uint64_t offset, std::span<const std::byte> bytes) {
                      if (has_checksums(run.file)) crcs_[index] = crc32(crcs_[index], bytes);
                      write_exactly(fd, offset, bytes, path);
                    });
  }

  /// Copies without bringing the bytes to this process; false where the file systems cannot, or where reading
  /// them will say better what is wrong.
  bool copy_in_kernel(const WritePiece& piece, const WriteRun& run, int fd, uint64_t target) {
    if (!run.from_file || !kernel_copies_.load(std::memory_order_relaxed)) return false;
    const auto range = source_.file_range(source_of(run));
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
        throw system_error("writing", errno, staged_.path(files_[run.file].staged));
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
    write_around_tensors(
        plan_.tensors, plan_.files[index].layout, [&](uint64_t offset, std::string_view text) {
          write_exactly(fd, offset, std::as_bytes(std::span(text.data(), text.size())), path);
        });
    if (has_checksums(index)) write_checksums(index, fd, path);
    staged_.finish(file.staged, std::move(file.fd));
  }

  /// Puts the CRCs of pieces together to those of tensors.
  void write_checksums(size_t index, int fd, const std::string& path) const {
    const FileLayout& layout = plan_.files[index].layout;
    std::vector<uint32_t> crcs(layout.slots.size());
    for (size_t r = files_[index].first_run; r < schedule_.runs.size(); ++r) {
      const WriteRun& run = schedule_.runs[r];
      if (run.file != index) break;
      uint32_t& crc = crcs[run.first_slot];
      for (uint64_t at = 0; at < run.source_bytes; at += kWritePieceBytes) {
        const uint64_t bytes = cast_bytes(run.cast, std::min(kWritePieceBytes, run.source_bytes - at));
        crc = crc32_combine(crc, crcs_[run.first_piece + at / kWritePieceBytes], bytes);
      }
    }
    for (size_t slot = 0; slot < crcs.size(); ++slot) {
      std::array<std::byte, 4> bytes{};
      for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(crcs[slot] >> (8 * i));
      write_exactly(fd, layout.archive->checksums[slot].first_offset, bytes, path);
      write_exactly(fd, layout.archive->checksums[slot].second_offset, bytes, path);
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
  std::vector<CastBuffers> buffers_;  ///< by worker; each touches its own alone
  PieceReader::Slots gather_slots_{PieceReader::kMostGathering};
  std::vector<size_t> copies_;  ///< numbers of plan_.copies in the StagedFiles
  WriteSchedule schedule_;
  std::vector<uint32_t> crcs_;  ///< by piece, of the bytes written, where the file holds checksums
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

}  // namespace

unsigned threads_of_run(const ConvertRun& run) {
  constexpr unsigned kMostThreads = 16;
  return run.threads != 0 ? run.threads : std::clamp(std::thread::hardware_concurrency(), 1U, kMostThreads);
}

ConvertOutcome execute(const ConvertPlan& plan, const TensorSource& source, const ConvertRun& run) {
  const Clock::time_point begin = Clock::now();
  ConvertOutcome outcome;
  outcome.threads = threads_of_run(run);
  clean_leftovers(plan.destination);
  const DestinationState found = check_destination(plan, source, run);
  outcome.outdated = found.is_outdated;
  if (found.is_complete) {
    outcome.skipped = true;
    return outcome;
  }
  {
    StagedFiles staged = stage(plan);
    const ExistingSet existing = find_existing_set(plan);
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
