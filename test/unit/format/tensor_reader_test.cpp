#include "core/format/tensor_reader.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "test/support/temp_directory.h"

namespace hfload {
namespace {

constexpr uint32_t kElements = 3 << 20;  // 12 MiB: more than a reader's window

/// Element i of the file is the number i.
std::string counting_file() {
  std::string data(size_t{kElements} * 4, '\0');
  for (uint32_t i = 0; i < kElements; ++i) std::memcpy(&data[size_t{i} * 4], &i, 4);
  return data;
}

uint64_t count_of(const StridedTensor& tensor) {
  uint64_t count = 1;
  for (const uint64_t dimension : tensor.shape) count *= dimension;
  return count;
}

/// The definition of a stride.
uint64_t place_of(const StridedTensor& tensor, uint64_t element) {
  uint64_t place = 0;
  for (size_t i = tensor.shape.size(); i-- > 0; element /= tensor.shape[i])
    place += element % tensor.shape[i] * tensor.strides[i];
  return place;
}

/// What is read of element i is the number i; keeps the reads.
class CountingSource final : public ByteSource {
 public:
  struct Read {
    uint64_t offset = 0, bytes = 0;
  };

  uint64_t bytes() const override { return uint64_t{kElements} * 4; }
  void read(uint64_t offset, std::span<std::byte> into) const override {
    reads.push_back({offset, into.size()});
    REQUIRE(offset % 4 == 0);
    for (size_t at = 0; at < into.size(); at += 4) {
      const auto element = static_cast<uint32_t>((offset + at) / 4);
      std::memcpy(into.data() + at, &element, 4);
    }
  }

  mutable std::vector<Read> reads;
};

}  // namespace

TEST_CASE("a transposed tensor is read from the file's start to its end, a window at a time", "[format]") {
  constexpr uint64_t kWindowBytes = 1 << 20;
  const StridedTensor tensor{0, {1000, 2000}, {1, 1000}, 4};
  const CountingSource source;
  StridedReadBuffers buffers;
  const uint64_t bytes = count_of(tensor) * 4;
  std::vector<uint32_t> read(count_of(tensor));
  read_tensor_elements(source, tensor, 0, std::as_writable_bytes(std::span(read)), buffers);
  uint64_t end = 0, total = 0;
  for (const CountingSource::Read& r : source.reads) {
    CHECK(r.offset >= end);
    CHECK(r.bytes <= kWindowBytes);
    end = r.offset + r.bytes;
    total += r.bytes;
  }
  CHECK(total == bytes);
  CHECK(source.reads.size() <= 2 * (bytes / kWindowBytes + 1));
  CHECK(buffers.window.size() <= kWindowBytes);
}

TEST_CASE("any part of a strided tensor is read as its strides say", "[format]") {
  const test::TempDirectory root;
  const RegularFile file = open_regular_file(root.write("data", counting_file()));
  const std::vector<StridedTensor> tensors = {
      {0, {1000, 2000}, {1, 1000}, 4},                      // transposed, columns near one another
      {0, {300, 1500}, {1, 2048}, 4},                       // transposed, columns far apart
      {0, {7, 11, 13, 5}, {1, 40'000, 3'000, 400'000}, 4},  // permuted, all far apart
      {0, {9, 20, 3, 50}, {60'000, 3, 1'000'000, 60}, 4},   // several axes in one block
      {4, {40, 3, 30}, {70'000, 0, 2}, 4},                  // expanded, with steps
      {0, {600, 2000}, {5000, 2}, 4},                       // rows with steps, far apart
      {0, {2, 1'200'000}, {1'500'000, 1}, 4},               // rows longer than a window
      {0, {4, 100'000}, {3, 30}, 4},                        // steps longer than a window
      {0, {50, 40}, {50'000, 1100}, 4},                     // no two elements near one another
  };
  std::mt19937 random(0);
  for (size_t t = 0; t < tensors.size(); ++t) {
    const StridedTensor& tensor = tensors[t];
    const uint64_t count = count_of(tensor);
    for (int round = 0; round < 5; ++round) {
      const uint64_t first = round == 0 ? 0 : random() % count;
      const uint64_t elements = round == 0 ? count : 1 + random() % (count - first);
      CAPTURE(t, first, elements);
      std::vector<uint32_t> read(elements), expected(elements);
      read_tensor_elements(file, tensor, first, std::as_writable_bytes(std::span(read)));
      for (uint64_t i = 0; i < elements; ++i)
        expected[i] = static_cast<uint32_t>(tensor.data_offset / 4 + place_of(tensor, first + i));
      REQUIRE((read == expected));
    }
  }
}

}  // namespace hfload
