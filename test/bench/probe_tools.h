// What the benchmarks of loading and converting share: chunks handed to threads, reads, and a scan of memory.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <span>
#include <thread>
#include <vector>

namespace hfload::bench {

inline constexpr size_t kChunkBytes = 4 << 20;

[[noreturn]] inline void fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

class Mapping {
 public:
  explicit Mapping(size_t bytes, int fd = -1) : bytes_(bytes) {
    data_ = fd < 0 ? mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                   : mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data_ == MAP_FAILED) fail("mmap");
    if (fd < 0) madvise(data_, bytes, MADV_HUGEPAGE);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { munmap(data_, bytes_); }

  std::byte* data() const { return static_cast<std::byte*>(data_); }

 private:
  void* data_;
  size_t bytes_;
};

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// Runs `work(offset, bytes, thread)` on all chunks of `total` bytes; returns the seconds.
inline double time_chunks(size_t total, unsigned threads,
                          const std::function<void(size_t, size_t, unsigned)>& work) {
  const auto begin = Clock::now();
  std::atomic<size_t> next{0};
  std::vector<std::thread> workers;
  for (unsigned thread = 0; thread < threads; ++thread) {
    workers.emplace_back([&, thread] {
      for (size_t offset = next.fetch_add(kChunkBytes); offset < total;
           offset = next.fetch_add(kChunkBytes)) {
        work(offset, std::min(kChunkBytes, total - offset), thread);
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  return seconds_since(begin);
}

/// An open file and its length.
struct Input {
  explicit Input(const char* path) : fd(open(path, O_RDONLY | O_CLOEXEC)) {
    struct stat status {};
    if (fd < 0 || fstat(fd, &status) != 0) fail(path);
    bytes = static_cast<size_t>(status.st_size);
  }
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;
  ~Input() { close(fd); }

  int fd;
  size_t bytes = 0;
};

inline void read_chunk(int fd, size_t offset, std::span<std::byte> into) {
  while (!into.empty()) {
    const ssize_t got = pread(fd, into.data(), into.size(), static_cast<off_t>(offset));
    if (got <= 0) fail("pread");
    offset += static_cast<size_t>(got);
    into = into.subspan(static_cast<size_t>(got));
  }
}

inline uint64_t scan(const std::byte* data, size_t bytes) {
  uint64_t sum = 0;
  for (size_t i = 0; i + 8 <= bytes; i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, data + i, 8);
    sum += word;
  }
  return sum;
}

}  // namespace hfload::bench
