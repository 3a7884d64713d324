#include "core/load/direct_reader.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <liburing.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <vector>

#include "core/base/checked.h"

namespace hfload {
namespace {

constexpr uint64_t kLargestPieceBytes = 1 << 20;
constexpr uint64_t kSectorBytes = 512;  // the smallest that disks have
constexpr uint64_t kBlockBytes = 4096;  // direct reads start and end at multiples of a disk's block
constexpr unsigned kMostRetries = 8;    // of a piece that brings nothing

}  // namespace

/// A read under way, or to be gone on with after a short one.
struct DirectReader::Piece {
  uint64_t file_offset = 0;  ///< a multiple of kBlockBytes
  uint64_t bytes = 0;        ///< likewise, also where the file ends before
  uint64_t done = 0;
  std::byte* buffer = nullptr;
  unsigned retries = 0;  ///< in a row
};

struct DirectReader::Job {
  const RegularFile& file;
  int direct;
  uint64_t offset;
  std::span<std::byte> into;
  uint64_t next = 0;  ///< where the next piece starts in the file

  uint64_t end() const { return offset + into.size(); }

  /// Bytes that a piece must bring: all up to the end of the wanted ones, of which no more than the file has
  /// exist.
  uint64_t needed(const Piece& piece) const {
    return std::min(piece.bytes, end() - std::min(end(), piece.file_offset));
  }

  /// Whether a read stopped where only the end of a file can stop it: within a sector.
  bool is_cut_off(const Piece& piece) const {
    return piece.done < needed(piece) && piece.done % kSectorBytes != 0;
  }

  /// Puts a finished piece's wanted bytes where they belong.
  void deliver(const Piece& piece) const {
    const uint64_t begin = std::max(piece.file_offset, offset);
    const uint64_t stop = std::min(piece.file_offset + piece.bytes, end());
    std::memcpy(into.data() + (begin - offset), piece.buffer + (begin - piece.file_offset), stop - begin);
  }
};

void DirectReader::CloseRing::operator()(io_uring* ring) const {
  io_uring_queue_exit(ring);
  delete ring;
}

// A regular file needs no O_NONBLOCK to be opened, and with it io_uring of kernels before 6.4 ends every read
// over dm-crypt or md RAID with EAGAIN.
FileDescriptor open_direct(const RegularFile& file) {
  const std::string path = fmt::format("/proc/self/fd/{}", file.fd.get());
  return FileDescriptor(open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
}

DirectReader::DirectReader(uint64_t buffer_bytes) {
  piece_bytes_ =
      std::clamp(buffer_bytes / 4 / kBlockBytes * kBlockBytes, 4 * kBlockBytes, kLargestPieceBytes);
  depth_ = static_cast<unsigned>(std::clamp<uint64_t>(buffer_bytes / piece_bytes_, 2, 64));
  buffer_ = HostMemory(piece_bytes_ * depth_);
  auto ring = std::make_unique<io_uring>();
  if (io_uring_queue_init(depth_, ring.get(), 0) == 0) ring_.reset(ring.release());
}

DirectReader::~DirectReader() = default;

bool DirectReader::read(const RegularFile& file, const FileDescriptor& direct, uint64_t offset,
                        std::span<std::byte> into) {
  if (into.empty()) return true;
  Job job{file, direct.get(), offset, into, offset / kBlockBytes * kBlockBytes};
  return ring_ ? read_at_once(job) : read_in_turn(job);
}

bool DirectReader::read_in_turn(Job& job) {
  while (job.next < job.end()) {
    Piece piece{job.next, std::min(piece_bytes_, align_up(job.end() - job.next, kBlockBytes)), 0,
                buffer_.bytes().data()};
    job.next += piece.bytes;
    while (piece.done < job.needed(piece)) {
      const ssize_t got = pread(job.direct, piece.buffer + piece.done, piece.bytes - piece.done,
                                static_cast<off_t>(piece.file_offset + piece.done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno == EINVAL) return false;
      if (got < 0) throw read_failed(job.file, piece.file_offset + piece.done, errno);
      if (got == 0) throw changed_during_read(job.file).with_offset(piece.file_offset + piece.done);
      piece.done += static_cast<uint64_t>(got);
      if (job.is_cut_off(piece))
        throw changed_during_read(job.file).with_offset(piece.file_offset + piece.done);
    }
    job.deliver(piece);
  }
  return true;
}

bool DirectReader::read_at_once(Job& job) {
  std::vector<Piece> pieces(depth_);
  std::vector<unsigned> idle;
  for (unsigned i = 0; i < depth_; ++i) idle.push_back(depth_ - 1 - i);
  unsigned under_way = 0;
  bool refused = false;
  std::exception_ptr failure;

  const auto submit = [&](unsigned index) {
    const Piece& piece = pieces[index];
    // There is always an entry: never more pieces than entries are under way.
    io_uring_sqe* const entry = io_uring_get_sqe(ring_.get());
    io_uring_prep_read(entry, job.direct, piece.buffer + piece.done,
                       static_cast<unsigned>(piece.bytes - piece.done), piece.file_offset + piece.done);
    io_uring_sqe_set_data64(entry, index);
    ++under_way;
  };
  const auto finish = [&](unsigned index, int result) {
    Piece& piece = pieces[index];
    const bool is_to_be_retried = result == -EINTR || result == -EAGAIN;
    if (is_to_be_retried && !refused && !failure && ++piece.retries <= kMostRetries) return submit(index);
    if (is_to_be_retried || result == -EINVAL || result == -EOPNOTSUPP) {
      refused = true;
    } else if (result < 0) {
      failure = std::make_exception_ptr(read_failed(job.file, piece.file_offset + piece.done, -result));
    } else if (result == 0) {
      failure =
          std::make_exception_ptr(changed_during_read(job.file).with_offset(piece.file_offset + piece.done));
    } else {
      piece.done += static_cast<uint64_t>(result);
      piece.retries = 0;
      if (job.is_cut_off(piece)) {
        failure = std::make_exception_ptr(
            changed_during_read(job.file).with_offset(piece.file_offset + piece.done));
      } else if (piece.done < job.needed(piece)) {
        return submit(index);
      } else {
        job.deliver(piece);
      }
    }
    idle.push_back(index);
  };

  // After a failure, too, everything under way must end before its buffer may go.
  while (under_way > 0 || (job.next < job.end() && !refused && !failure)) {
    while (!idle.empty() && job.next < job.end() && !refused && !failure) {
      const unsigned index = idle.back();
      idle.pop_back();
      pieces[index] = {job.next, std::min(piece_bytes_, align_up(job.end() - job.next, kBlockBytes)), 0,
                       buffer_.bytes().data() + index * piece_bytes_};
      job.next += pieces[index].bytes;
      submit(index);
    }
    const int submitted = io_uring_submit_and_wait(ring_.get(), 1);
    if (submitted < 0 && submitted != -EINTR && submitted != -EAGAIN && submitted != -EBUSY) {
      // Nothing of the ring is to be trusted now; closing it waits for what the kernel still does.
      ring_.reset();
      throw read_failed(job.file, job.offset, -submitted);
    }
    io_uring_cqe* completion = nullptr;
    while (io_uring_peek_cqe(ring_.get(), &completion) == 0) {
      const auto index = static_cast<unsigned>(io_uring_cqe_get_data64(completion));
      const int result = completion->res;
      io_uring_cqe_seen(ring_.get(), completion);
      --under_way;
      finish(index, result);
    }
  }
  if (failure) std::rethrow_exception(failure);
  return !refused;
}

}  // namespace hfload
