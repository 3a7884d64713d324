// Times what bounds a load or a conversion on this machine; prints {"probe": seconds, ...}.
//   hfload_probes load FILE THREADS            a file in the page cache, into the host's memory
//   hfload_probes fresh|widen|narrow|scan PATH THREADS
//       one of these, for a file or all shards of a directory: read into fresh huge pages, with twice or half
//       as many bytes written as read; mapped and scanned
//   hfload_probes cold FILE THREADS CHUNK_MIB  a file that is not: buffered, and past the page cache
//   hfload_probes copy DIRECTORY TARGET BYTES THREADS
//       reads all shards of a directory and writes as many bytes as wanted, flushed to the disk
//   hfload_probes touch BYTES                  touches that much memory and gives it back
//   hfload_probes hold BYTES                   keeps that much memory until its input ends; prints a line
//                                              once it has touched it
#include <cerrno>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "test/bench/probe_tools.h"

namespace hfload::bench {
namespace {

using Inputs = std::vector<std::unique_ptr<Input>>;

/// A file, or all shards of a directory.
Inputs open_inputs(const char* path) {
  Inputs inputs;
  if (!std::filesystem::is_directory(path)) {
    inputs.push_back(std::make_unique<Input>(path));
    return inputs;
  }
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    if (entry.path().extension() != ".safetensors") continue;
    inputs.push_back(std::make_unique<Input>(entry.path().c_str()));
  }
  return inputs;
}

size_t total_bytes(const Inputs& inputs) {
  size_t total = 0;
  for (const auto& input : inputs) total += input->bytes;
  return total;
}

// Allocation is timed in all that follow, as it is in a load; giving back is not.

double read_into_fresh_memory(const Inputs& inputs, unsigned threads) {
  const auto begin = Clock::now();
  const Mapping target(total_bytes(inputs));
  std::byte* out = target.data();
  for (const auto& input : inputs) {
    time_chunks(input->bytes, threads, [&](size_t offset, size_t size, unsigned) {
      read_chunk(input->fd, offset, {out + offset, size});
    });
    out += input->bytes;
  }
  return seconds_since(begin);
}

/// Reads all, and writes `numerator / denominator` as many bytes into fresh huge pages.
double resize(const Inputs& inputs, unsigned threads, size_t numerator, size_t denominator) {
  constexpr size_t kPartBytes = 256 << 10;
  const auto begin = Clock::now();
  const Mapping target(total_bytes(inputs) / denominator * numerator + 1);
  std::vector<std::vector<std::byte>> buffers(threads, std::vector<std::byte>(kPartBytes));
  std::byte* out = target.data();
  for (const auto& input : inputs) {
    time_chunks(input->bytes, threads, [&](size_t offset, size_t size, unsigned thread) {
      for (size_t done = 0; done < size; done += kPartBytes) {
        const std::span<std::byte> part(buffers[thread].data(), std::min(size - done, kPartBytes));
        read_chunk(input->fd, offset + done, part);
        std::byte* at = out + (offset + done) / denominator * numerator;
        std::memcpy(at, part.data(), part.size() / denominator);
        if (numerator > 1) std::memcpy(at + part.size(), part.data(), part.size());
      }
    });
    out += input->bytes / denominator * numerator;
  }
  return seconds_since(begin);
}

double widen(const Inputs& inputs, unsigned threads) { return resize(inputs, threads, 2, 1); }
double narrow(const Inputs& inputs, unsigned threads) { return resize(inputs, threads, 1, 2); }

double map_and_scan(const Inputs& inputs, unsigned threads, std::atomic<uint64_t>& sum) {
  const auto begin = Clock::now();
  std::vector<std::unique_ptr<Mapping>> mappings;
  for (const auto& input : inputs) {
    mappings.push_back(std::make_unique<Mapping>(input->bytes, input->fd));
    time_chunks(input->bytes, threads, [&](size_t offset, size_t size, unsigned) {
      sum += scan(mappings.back()->data() + offset, size);
    });
  }
  return seconds_since(begin);
}

void one_of(std::string_view probe, const char* path, unsigned threads) {
  const Inputs inputs = open_inputs(path);
  std::atomic<uint64_t> sum{0};  // printed, so that no scan is optimised away
  double seconds = 0;
  if (probe == "fresh") seconds = read_into_fresh_memory(inputs, threads);
  if (probe == "widen") seconds = widen(inputs, threads);
  if (probe == "narrow") seconds = narrow(inputs, threads);
  if (probe == "scan") seconds = map_and_scan(inputs, threads, sum);
  std::printf("{\"seconds\": %.6f, \"bytes\": %zu, \"checksum\": %llu}\n", seconds, total_bytes(inputs),
              static_cast<unsigned long long>(sum.load()));
}

void load(const char* path, unsigned threads) {
  const Inputs inputs = open_inputs(path);
  const Input& file = *inputs.front();
  const size_t bytes = file.bytes;
  std::atomic<uint64_t> sum{0};  // printed, so that no scan is optimised away
  double touched = 0;
  double copy = 0;
  double anonymous_scan = 0;
  const double fresh = read_into_fresh_memory(inputs, threads);
  {
    const Mapping target(bytes);
    const auto read = [&](size_t offset, size_t size, unsigned) {
      read_chunk(file.fd, offset, {target.data() + offset, size});
    };
    time_chunks(bytes, threads, read);
    touched = time_chunks(bytes, threads, read);
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
    read_chunk(file.fd, offset, std::span(buffers[thread]).first(size));
  });
  const double mapped_scan = map_and_scan(inputs, threads, sum);
  std::printf(
      "{\"pread_fresh_huge_pages\": %.6f, \"pread_touched\": %.6f, \"pread_ring\": %.6f, \"memcpy\": %.6f, "
      "\"scan_memory\": %.6f, \"scan_mmap\": %.6f, \"widen\": %.6f, \"bytes\": %zu, \"checksum\": %llu}\n",
      fresh, touched, ring, copy, anonymous_scan, mapped_scan, widen(inputs, threads), bytes,
      static_cast<unsigned long long>(sum.load()));
}

void cold(const char* path, unsigned threads, size_t chunk_mib) {
  const Input file(path);
  const size_t chunk = std::max<size_t>(1, chunk_mib) << 20;
  const int direct = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
  if (direct < 0) fail("O_DIRECT");
  const auto read_all = [&](int fd) {
    if (posix_fadvise(file.fd, 0, 0, POSIX_FADV_DONTNEED) != 0) fail("posix_fadvise");
    std::atomic<size_t> next{0};
    std::vector<std::thread> workers;
    const auto begin = Clock::now();
    for (unsigned thread = 0; thread < threads; ++thread) {
      workers.emplace_back([&] {
        const std::unique_ptr<void, decltype(&std::free)> buffer(std::aligned_alloc(4096, chunk), &std::free);
        for (size_t offset = next.fetch_add(chunk); offset < file.bytes; offset = next.fetch_add(chunk)) {
          const size_t wanted = std::min(chunk, file.bytes - offset);
          for (size_t done = 0; done < wanted;) {
            const ssize_t got = pread(fd, static_cast<std::byte*>(buffer.get()) + done, chunk - done,
                                      static_cast<off_t>(offset + done));
            if (got <= 0) fail("pread");
            done += static_cast<size_t>(got);
          }
        }
      });
    }
    for (std::thread& worker : workers) worker.join();
    return seconds_since(begin);
  };
  const double buffered = read_all(file.fd);
  const double uncached = read_all(direct);
  close(direct);
  std::printf("{\"buffered\": %.6f, \"direct\": %.6f, \"bytes\": %zu}\n", buffered, uncached, file.bytes);
}

void copy(const char* directory, const char* target, uint64_t wanted, unsigned threads) {
  const Inputs inputs = open_inputs(directory);
  const uint64_t total = total_bytes(inputs);
  const int out = open(target, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
  if (out < 0) fail(target);
  if (const int error = posix_fallocate(out, 0, static_cast<off_t>(wanted)); error != 0) {
    errno = error;
    fail("posix_fallocate");
  }
  std::vector<std::vector<std::byte>> buffers(threads, std::vector<std::byte>(kChunkBytes));
  uint64_t before = 0;
  for (const auto& input : inputs) {
    // The output's place of a byte of the input is proportional to its place among all inputs.
    const auto place = [&](size_t offset) {
      return static_cast<uint64_t>(static_cast<unsigned __int128>(wanted) * (before + offset) / total);
    };
    time_chunks(input->bytes, threads, [&](size_t offset, size_t size, unsigned thread) {
      const std::span<std::byte> buffer(buffers[thread]);
      read_chunk(input->fd, offset, buffer.first(size));
      uint64_t at = place(offset);
      const uint64_t end = place(offset + size);
      while (at < end) {
        const size_t part = std::min<uint64_t>(end - at, buffer.size());
        const ssize_t put = pwrite(out, buffer.data(), part, static_cast<off_t>(at));
        if (put <= 0) fail("pwrite");
        at += static_cast<uint64_t>(put);
      }
    });
    before += input->bytes;
  }
  if (fsync(out) != 0) fail("fsync");
  close(out);
}

void touch(size_t bytes, bool hold) {
  const Mapping memory(bytes);
  for (size_t offset = 0; offset < bytes; offset += 4096) memory.data()[offset] = std::byte{1};
  if (!hold) return;
  std::puts("held");
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
}

unsigned thread_count(const char* text) { return static_cast<unsigned>(std::max(1, std::atoi(text))); }

}  // namespace
}  // namespace hfload::bench

int main(int argc, char** argv) {
  using namespace hfload::bench;
  const std::string_view probe = argc > 1 ? argv[1] : "";
  if (probe == "load" && argc == 4) {
    load(argv[2], thread_count(argv[3]));
  } else if ((probe == "fresh" || probe == "widen" || probe == "narrow" || probe == "scan") && argc == 4) {
    one_of(probe, argv[2], thread_count(argv[3]));
  } else if (probe == "cold" && argc == 5) {
    cold(argv[2], thread_count(argv[3]), std::strtoull(argv[4], nullptr, 10));
  } else if (probe == "copy" && argc == 6) {
    copy(argv[2], argv[3], std::strtoull(argv[4], nullptr, 10), thread_count(argv[5]));
  } else if ((probe == "touch" || probe == "hold") && argc == 3) {
    touch(std::strtoull(argv[2], nullptr, 10), probe == "hold");
  } else {
    std::fputs("usage: see the head of test/bench/probes.cpp\n", stderr);
    return 2;
  }
  return 0;
}
