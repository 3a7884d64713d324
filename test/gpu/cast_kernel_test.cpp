#include <catch2/catch.hpp>

#include "kernels/cast_device.h"
#include "test/gpu/device_buffer.h"
#include "test/unit/kernels/cast_oracle.h"

namespace hfload::test {
namespace {

constexpr std::byte kGuard{0xa5};

TEST_CASE("cast kernels give the scalar definition's bits for all patterns") {
  for (const CastKind kind : kCastKinds) {
    const std::vector<uint32_t> patterns = source_patterns(kind);
    const std::vector<std::byte> source = pack_elements(patterns, cast_source_bytes(kind));
    std::vector<std::byte> expected(patterns.size() * cast_target_bytes(kind));
    cast_reference(kind, source.data(), expected.data(), patterns.size());
    const DeviceBuffer from(source);
    const DeviceBuffer to(std::vector<std::byte>(expected.size(), kGuard));
    require_success(
        static_cast<cudaError_t>(launch_cast(kind, from.data(), to.data(), patterns.size(), nullptr)));
    require_success(cudaDeviceSynchronize());
    CAPTURE(static_cast<int>(kind));
    CHECK((to.content() == expected));
  }
}

TEST_CASE("cast kernels work for all alignments and lengths, and write nothing else") {
  for (const CastKind kind : kCastKinds) {
    const size_t from_bytes = cast_source_bytes(kind);
    const size_t to_bytes = cast_target_bytes(kind);
    const std::vector<std::byte> source = pack_elements(source_patterns(kind), from_bytes);
    const DeviceBuffer from(source);
    for (const size_t source_offset : {size_t{0}, from_bytes, 3 * from_bytes}) {
      for (const size_t target_offset : {size_t{0}, to_bytes, 3 * to_bytes, 5 * to_bytes}) {
        for (const size_t count : {0, 1, 7, 8, 9, 31, 1000, 50'001}) {
          std::vector<std::byte> expected(count * to_bytes + 64, kGuard);
          const DeviceBuffer to(expected);
          cast_reference(kind, source.data() + source_offset, expected.data() + target_offset, count);
          require_success(static_cast<cudaError_t>(
              launch_cast(kind, from.data() + source_offset, to.data() + target_offset, count, nullptr)));
          require_success(cudaDeviceSynchronize());
          CAPTURE(static_cast<int>(kind), source_offset, target_offset, count);
          CHECK((to.content() == expected));
        }
      }
    }
  }
}

TEST_CASE("a kernel's loop takes what its blocks leave") {
  // 40 million elements: more packs than threads are launched.
  const size_t count = 40'000'003;
  std::vector<std::byte> source(count * 2);
  for (size_t i = 0; i < source.size(); ++i) source[i] = static_cast<std::byte>(i * 2654435761U >> 11);
  std::vector<std::byte> expected(count * 4);
  cast_reference(CastKind::bf16_to_f32, source.data(), expected.data(), count);
  const DeviceBuffer from(source);
  const DeviceBuffer to(expected.size());
  require_success(
      static_cast<cudaError_t>(launch_cast(CastKind::bf16_to_f32, from.data(), to.data(), count, nullptr)));
  require_success(cudaDeviceSynchronize());
  CHECK((to.content() == expected));
}

}  // namespace
}  // namespace hfload::test
