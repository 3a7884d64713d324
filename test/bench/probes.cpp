// Times what bounds a load into the host's memory, on one file that is in the page cache: prints
// {"probe": seconds, ...}. Usage: hfload_probes FILE THREADS
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

namespace {

constexpr size_t kChunkBytes = 4 << 20;

[[noreturn]] void fail(const char* what) {
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

/// Runs `work(offset, bytes, thread)` on all chunks of `total` bytes; returns the seconds.
double time_chunks(size_t total, unsigned threads,
                   const std::function<void(size_t, size_t, unsigned)>& work) {
  const auto begin = std::chrono::steady_clock::now();
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
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void read_chunk(int fd, size_t offset, std::span<std::byte> into) {
  while (!into.empty()) {
    const ssize_t got = pread(fd, into.data(), into.size(), static_cast<off_t>(offset));
    if (got <= 0) fail("pread");
    offset += static_cast<size_t>(got);
    into = into.subspan(static_cast<size_t>(got));
  }
}

uint64_t scan(const std::byte* data, size_t bytes) {
  uint64_t sum = 0;
  for (size_t i = 0; i + 8 <= bytes; i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, data + i, 8);
    sum += word;
  }
  return sum;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: hfload_probes FILE THREADS\n", stderr);
    return 2;
  }
  const int fd = open(argv[1], O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail(argv[1]);
  struct stat status {};
  if (fstat(fd, &status) != 0) fail("fstat");
  const auto bytes = static_cast<size_t>(status.st_size);
  const auto threads = static_cast<unsigned>(std::max(1, std::atoi(argv[2])));

  std::atomic<uint64_t> sum{0};  // printed, so that no scan is optimised away
  double fresh = 0;
  double touched = 0;
  double copy = 0;
  double anonymous_scan = 0;
  {
    // Allocation is timed, as it is in a load.
    const auto begin = std::chrono::steady_clock::now();
    const Mapping target(bytes);
    time_chunks(bytes, threads, [&](size_t offset, size_t size, unsigned) {
      read_chunk(fd, offset, {target.data() + offset, size});
    });
    fresh = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    touched = time_chunks(bytes, threads, [&](size_t offset, size_t size, unsigned) {
      read_chunk(fd, offset, {target.data() + offset, size});
    });
    anonymous_scan = time_chunks(bytes, threads, [&](size_t offset, size_t size, unsigned) {
      sum += scan(target.data() + offset, size);
    });
    // One half to the other, and back: as many bytes as the file has.
    const size_t half = bytes / 2;
    const auto exchange = [&](size_t offset, size_t size, unsigned) {
      std::memcpy(target.data() + half + offset, target.data() + offset, size);
    };
    copy = time_chunks(half, threads, exchange) + time_chunks(half, threads, exchange);
  }
  std::vector<std::vector<std::byte>> buffers(threads, std::vector<std::byte>(kChunkBytes));
  const double ring = time_chunks(bytes, threads, [&](size_t offset, size_t size, unsigned thread) {
    read_chunk(fd, offset, std::span(buffers[thread]).first(size));
  });
  double mapped_scan = 0;
  {
    const Mapping file(bytes, fd);
    mapped_scan = time_chunks(bytes, threads, [&](size_t offset, size_t size, unsigned) {
      sum += scan(file.data() + offset, size);
    });
  }
  std::printf(
      "{\"pread_fresh_huge_pages\": %.6f, \"pread_touched\": %.6f, \"pread_ring\": %.6f, \"memcpy\": %.6f, "
      "\"scan_memory\": %.6f, \"scan_mmap\": %.6f, \"bytes\": %zu, \"checksum\": %llu}\n",
      fresh, touched, ring, copy, anonymous_scan, mapped_scan, bytes,
      static_cast<unsigned long long>(sum.load()));
  return 0;
}
