#include "core/save/output_age.h"

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>

#include "core/base/interrupted.h"
#include "core/base/workers.h"
#include "core/save/cast_pieces.h"
#include "core/save/destination.h"
#include "core/save/write_schedule.h"

namespace hfload {
namespace {

using Clock = std::chrono::steady_clock;

int64_t nanoseconds(const struct timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

/// When files of the source were last written to, and when one last came to its place: renamed, linked or
/// copied there, also by what sets its time to an earlier one.
struct SourceTimes {
  int64_t modified_ns = INT64_MIN, placed_ns = INT64_MIN;

  void add(const std::string& path) {
    struct stat status {};
    if (stat(path.c_str(), &status) != 0) return;
    modified_ns = std::max(modified_ns, nanoseconds(status.st_mtim));
    placed_ns = std::max(placed_ns, nanoseconds(status.st_ctim));
    // Of a link that points to another file by now.
    if (lstat(path.c_str(), &status) == 0) placed_ns = std::max(placed_ns, nanoseconds(status.st_ctim));
  }
};

bool has_equal_bytes(const std::string& a_path, const std::string& b_path) {
  constexpr uint64_t kBlockBytes = 64 << 10;
  const RegularFile a = open_regular_file(a_path), b = open_regular_file(b_path);
  if (a.identity.bytes != b.identity.bytes) return false;
  std::vector<std::byte> a_block(kBlockBytes), b_block(kBlockBytes);
  for (uint64_t at = 0; at < a.identity.bytes; at += kBlockBytes) {
    const uint64_t bytes = std::min(kBlockBytes, a.identity.bytes - at);
    read_exactly(a, at, std::span(a_block).first(bytes));
    read_exactly(b, at, std::span(b_block).first(bytes));
    if (std::memcmp(a_block.data(), b_block.data(), bytes) != 0) return false;
  }
  return true;
}

/// Whether the tensors of an output are what a conversion would write.
class TensorComparison {
 public:
  TensorComparison(const ConvertPlan& plan, const TensorSource& source, const ConvertRun& run)
      : plan_(plan), source_(source), run_(run), schedule_(make_write_schedule(plan, source)) {
    for (const OutputTensor& tensor : plan.tensors) total_bytes_ += tensor.bytes;
  }

  bool is_equal() {
    std::atomic<size_t> next{0};
    run_workers(threads_of_run(run_), [&](unsigned) {
      try {
        Worker worker;
        for (size_t i = next++; i < schedule_.pieces && !stop_; i = next++) {
          if (run_.interrupted && run_.interrupted()) throw Interrupted();
          compare(schedule_.piece(i), worker);
        }
      } catch (...) {
        stop_ = true;
        throw;
      }
    });
    source_.require_unchanged();
    return !differs_;
  }

 private:
  struct Worker {
    CastBuffers buffers;
    std::vector<std::byte> output;
    RegularFile file;
    std::optional<uint32_t> opened;
  };

  void compare(const WritePiece& piece, Worker& worker) {
    const WriteRun& run = schedule_.runs[piece.run];
    if (worker.opened != run.file) {
      worker.file = open_regular_file(output_path(plan_, plan_.files[run.file].name));
      worker.opened = run.file;
    }
    read_cast_piece(plan_, source_, run, piece, gather_slots_, worker.buffers,
                    [&](uint64_t offset, std::span<const std::byte> expected) {
                      worker.output.resize(expected.size());
                      read_exactly(worker.file, offset, worker.output);
                      if (std::memcmp(worker.output.data(), expected.data(), expected.size()) != 0)
                        stop_ = differs_ = true;
                    });
    add_progress(cast_bytes(run.cast, piece.source_bytes));
  }

  void add_progress(uint64_t bytes) {
    if (!run_.progress) return;
    constexpr std::chrono::milliseconds kBetweenReports{100};
    const std::lock_guard lock(mutex_);
    done_bytes_ += bytes;
    const Clock::time_point now = Clock::now();
    if (now < next_report_) return;
    next_report_ = now + kBetweenReports;
    run_.progress({done_bytes_, total_bytes_, std::chrono::duration<double>(now - begin_).count()});
  }

  const ConvertPlan& plan_;
  const TensorSource& source_;
  const ConvertRun& run_;
  WriteSchedule schedule_;
  PieceReader::Slots gather_slots_{PieceReader::kMostGathering};
  std::atomic<bool> stop_{false}, differs_{false};
  std::mutex mutex_;  ///< of what follows
  uint64_t done_bytes_ = 0, total_bytes_ = 0;
  Clock::time_point begin_ = Clock::now();
  Clock::time_point next_report_ = begin_;
};

SourceTimes times_of(const ConvertPlan& plan) {
  SourceTimes times;
  for (const std::string& path : plan.source_files) times.add(path);
  for (const CopiedFile& file : plan.copies) times.add(file.path);
  return times;
}

int64_t written_at(const ConvertPlan& plan) {
  return open_regular_file(output_path(plan, plan.entry_point)).identity.modified_ns;
}

}  // namespace

bool has_newer_source(const ConvertPlan& plan) {
  const SourceTimes times = times_of(plan);
  return std::max(times.modified_ns, times.placed_ns) >= written_at(plan);
}

OutputAge compare_with_source(const ConvertPlan& plan, const TensorSource& source, const ConvertRun& run) {
  const SourceTimes times = times_of(plan);
  const int64_t written_ns = written_at(plan);
  if (times.modified_ns > written_ns) return OutputAge::outdated;
  const auto is_copied = [&](const CopiedFile& file) {
    return has_equal_bytes(file.path, output_path(plan, file.name));
  };
  if (std::ranges::all_of(plan.copies, is_copied) && TensorComparison(plan, source, run).is_equal())
    return OutputAge::current;
  return times.placed_ns >= written_ns ? OutputAge::outdated : OutputAge::other_weights;
}

}  // namespace hfload
