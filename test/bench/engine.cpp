// Times parts of hfload inside a process that lives long, for test/bench/load.py; prints
// {"what": seconds, ...}.
//   hfload_engine header FILE REPEATS
//       medians: open, parse, check and index a header; only read and scan it
//   hfload_engine map FILE THREADS
//       map a file as --map does, and read every tensor
#include <algorithm>
#include <string_view>
#include <vector>

#include "cli/heap.h"
#include "core/base/file.h"
#include "core/format/safetensors.h"
#include "test/bench/probe_tools.h"

namespace hfload::bench {
namespace {

template <typename Work>
double median_seconds(int repeats, Work work) {
  std::vector<double> seconds;
  for (int i = 0; i < repeats; ++i) {
    const auto begin = Clock::now();
    work();
    seconds.push_back(seconds_since(begin));
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 2];
}

void header(const char* path, int repeats) {
  uint64_t sum = 0;
  const double parsed = median_seconds(repeats, [&] {
    const SafetensorsHeader header = read_safetensors_header(open_regular_file(path));
    sum += header.find(header.tensors.front().name)->bytes();
  });
  const double scanned = median_seconds(repeats, [&] {
    const Input file(path);
    uint64_t length = 0;
    read_chunk(file.fd, 0, std::as_writable_bytes(std::span(&length, 1)));
    std::vector<std::byte> bytes(std::min<uint64_t>(length, file.bytes - 8));
    read_chunk(file.fd, 8, bytes);
    sum += scan(bytes.data(), bytes.size());
  });
  std::printf("{\"header\": %.9f, \"header_scan\": %.9f, \"checksum\": %llu}\n", parsed, scanned,
              static_cast<unsigned long long>(sum));
}

void map(const char* path, unsigned threads) {
  std::atomic<uint64_t> sum{0};
  const auto begin = Clock::now();
  const RegularFile file = open_regular_file(path);
  const SafetensorsHeader header = read_safetensors_header(file);
  const MappedFile mapped(file);
  const double mapping = seconds_since(begin);
  const std::span<const std::byte> data = mapped.bytes().subspan(header.data_start);
  time_chunks(data.size(), threads,
              [&](size_t offset, size_t size, unsigned) { sum += scan(data.data() + offset, size); });
  std::printf("{\"map\": %.9f, \"map_and_scan\": %.9f, \"checksum\": %llu}\n", mapping, seconds_since(begin),
              static_cast<unsigned long long>(sum.load()));
}

}  // namespace
}  // namespace hfload::bench

int main(int argc, char** argv) {
  using namespace hfload::bench;
  if (argc != 4) {
    std::fputs("usage: hfload_engine header|map FILE REPEATS|THREADS\n", stderr);
    return 2;
  }
  hfload::cli::prepare_heap(hfload::cli::HeapUse::streamed_weights);  // as hfload does
  const int number = std::max(1, std::atoi(argv[3]));
  if (std::string_view(argv[1]) == "header") {
    header(argv[2], number);
  } else {
    map(argv[2], static_cast<unsigned>(number));
  }
  return 0;
}
