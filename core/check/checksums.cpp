#include "core/check/checksums.h"

#include <fcntl.h>
#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <numeric>
#include <utility>

#include "core/base/error.h"
#include "core/base/interrupted.h"
#include "core/base/workers.h"

namespace hfload {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kBlockBytes = 512 << 10;

RegularFile open_file(const Checkpoint& checkpoint, const KnownChecksum& known) {
  return known.shard ? reopen_shard(checkpoint, *known.shard) : open_regular_file(known.path);
}

class Hashing {
 public:
  Hashing(const Checkpoint& checkpoint, std::vector<KnownChecksum> known, const CheckRun& run)
      : checkpoint_(checkpoint), run_(run) {
    for (KnownChecksum& checksum : known) {
      const RegularFile file = open_file(checkpoint, checksum);
      files_.push_back({std::move(checksum), {}, file.identity.bytes});
      if (is_read(files_.back())) progress_.total_bytes += file.identity.bytes;
    }
    // Long ones first, so that no thread is left alone with one at the end.
    order_.resize(files_.size());
    std::iota(order_.begin(), order_.end(), size_t{0});
    std::ranges::stable_sort(order_, std::greater(), [&](size_t i) { return files_[i].found_bytes; });
  }

  std::vector<CheckedFile> run() {
    std::atomic<size_t> next{0};
    run_workers(threads(), [&](unsigned) {
      std::vector<std::byte> block(kBlockBytes);
      try {
        for (size_t i = next++; i < order_.size() && !stop_; i = next++) {
          CheckedFile& file = files_[order_[i]];
          if (is_read(file)) hash(file, block);
        }
      } catch (...) {
        stop_ = true;
        throw;
      }
    });
    return std::move(files_);
  }

 private:
  static bool is_read(const CheckedFile& file) {
    return !file.known.bytes || *file.known.bytes == file.found_bytes;
  }

  unsigned threads() const {
    return std::clamp(static_cast<unsigned>(files_.size()), 1U, threads_of_run(run_));
  }

  void hash(CheckedFile& checked, std::span<std::byte> block) {
    const RegularFile file = open_file(checkpoint_, checked.known);
    posix_fadvise(file.fd.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
    const uint64_t bytes = file.identity.bytes;
    Sha sha(checked.known.checksum.kind, bytes);
    for (uint64_t at = 0; at < bytes && !stop_; at += kBlockBytes) {
      if (run_.interrupted && run_.interrupted()) throw Interrupted();
      const auto part = block.first(std::min(kBlockBytes, bytes - at));
      read_exactly(file, at, part);
      sha.update(part);
      add_progress(part.size());
    }
    require_unchanged(file);
    checked.found = sha.hex();
  }

  void add_progress(uint64_t bytes) {
    if (!run_.progress) return;
    constexpr std::chrono::milliseconds kBetweenReports{100};
    const std::lock_guard lock(mutex_);
    progress_.done_bytes += bytes;
    const Clock::time_point now = Clock::now();
    if (now < next_report_ && progress_.done_bytes < progress_.total_bytes) return;
    next_report_ = now + kBetweenReports;
    progress_.seconds = std::chrono::duration<double>(now - begin_).count();
    run_.progress(progress_);
  }

  const Checkpoint& checkpoint_;
  const CheckRun& run_;
  std::vector<CheckedFile> files_;
  std::vector<size_t> order_;
  std::atomic<bool> stop_{false};
  std::mutex mutex_;  ///< of what follows
  ConvertProgress progress_;
  Clock::time_point begin_ = Clock::now();
  Clock::time_point next_report_ = begin_;
};

/// "its blob is named".
std::string_view said_by(ChecksumSource source) {
  switch (source) {
    case ChecksumSource::blob_name:
      return "the name of its blob in the hub cache";
    case ChecksumSource::tree_listing:
      return "the listing of its commit";
    default:
      return "the record of its download";
  }
}

Finding difference(const CheckedFile& file) {
  const KnownChecksum& known = file.known;
  const std::string message =
      file.found.empty()
          ? fmt::format("{} has {} bytes; {} says {}", known.file, file.found_bytes, said_by(known.source),
                        known.bytes.value_or(0))
          : fmt::format("{}: its {} is {}; {} says {}", known.file, name_of(known.checksum.kind), file.found,
                        said_by(known.source), known.checksum.digest);
  return {"checksum_differs",
          message,
          {known.file},
          "The file is not what the Hub served. Download it again (hf download NAME --force-download), in "
          "the hub "
          "cache after deleting the file that its links lead to. If you changed it on purpose, leave "
          "checksums out with --no-hash."};
}

}  // namespace

std::vector<CheckedFile> check_checksums(const Checkpoint& checkpoint, std::vector<KnownChecksum> known,
                                         const CheckRun& run) {
  return Hashing(checkpoint, std::move(known), run).run();
}

std::vector<Finding> checksum_findings(const std::vector<CheckedFile>& files) {
  std::vector<Finding> findings;
  std::vector<std::string> edited;
  for (const CheckedFile& file : files) {
    if (file.matches()) continue;
    // People edit configs, and no weights: those that differ were damaged, or come from elsewhere.
    if (file.known.is_outdated && !file.known.shard) {
      edited.push_back(file.known.file);
    } else {
      findings.push_back(difference(file));
    }
  }
  if (!edited.empty()) {
    std::ranges::sort(edited);
    edited.erase(std::unique(edited.begin(), edited.end()), edited.end());
    const bool one = edited.size() == 1;
    findings.push_back({"edited_since_download",
                        fmt::format("{} file{} differ{} from what was downloaded, and {} written to later",
                                    edited.size(), one ? "" : "s", one ? "s" : "", one ? "was" : "were"),
                        std::move(edited)});
  }
  return findings;
}

std::string_view name_of(ShaKind kind) { return kind == ShaKind::sha256 ? "sha256" : "git_sha1"; }

}  // namespace hfload
