#include "kernels/cast_device.h"

#include <catch2/catch.hpp>
#include <random>

#include "test/unit/kernels/cast_oracle.h"

namespace hfload::test {
namespace {

/// Runs every thread's work of the GPU kernel, one after the other.
template <CastKind kind>
void run_all_items(const std::byte* source, std::byte* target, uint64_t count) {
  using Element = CastElement<kind>;
  const CastSplit split =
      split_cast(reinterpret_cast<uintptr_t>(source), reinterpret_cast<uintptr_t>(target),
                 sizeof(typename Element::Source), sizeof(typename Element::Target), count);
  REQUIRE(split.packs * kCastPack + split.head + split.tail == count);
  REQUIRE(split.tail < kCastPack);
  for (uint64_t item = 0; item < split.items(); ++item) {
    cast_item<kind>(split, reinterpret_cast<const typename Element::Source*>(source),
                    reinterpret_cast<typename Element::Target*>(target), item);
  }
}

template <CastKind kind>
void check_all_alignments() {
  constexpr std::byte kGuard{0xa5};
  constexpr size_t kSource = sizeof(typename CastElement<kind>::Source);
  constexpr size_t kTarget = sizeof(typename CastElement<kind>::Target);
  std::mt19937 random(3);
  std::vector<std::byte> source(1024);
  for (std::byte& byte : source) byte = static_cast<std::byte>(random());
  for (size_t source_offset = 0; source_offset < 32; source_offset += kSource) {
    for (size_t target_offset = 0; target_offset < 32; target_offset += kTarget) {
      for (const size_t count : {0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 64, 65, 100}) {
        std::vector<std::byte> expected(count * kTarget + 96, kGuard);
        std::vector<std::byte> actual = expected;
        cast_reference(kind, source.data() + source_offset, expected.data() + 16 + target_offset, count);
        run_all_items<kind>(source.data() + source_offset, actual.data() + 16 + target_offset, count);
        REQUIRE((expected == actual));
      }
    }
  }
}

TEST_CASE("the kernel's threads together convert every element once, for all alignments") {
  check_all_alignments<CastKind::f32_to_f16>();
  check_all_alignments<CastKind::f32_to_bf16>();
  check_all_alignments<CastKind::f16_to_f32>();
  check_all_alignments<CastKind::f16_to_bf16>();
  check_all_alignments<CastKind::bf16_to_f32>();
  check_all_alignments<CastKind::bf16_to_f16>();
}

TEST_CASE("packs lie at multiples of 16 bytes where the split says so") {
  for (const CastKind kind : kCastKinds) {
    const uint64_t from = cast_source_bytes(kind);
    const uint64_t to = cast_target_bytes(kind);
    for (uint64_t target = 4096; target < 4096 + 64; target += to) {
      for (uint64_t source = 8192; source < 8192 + 64; source += from) {
        for (const uint64_t count : {1, 3, 8, 1000}) {
          const CastSplit split = split_cast(source, target, from, to, count);
          if (split.packs == 0) continue;
          CHECK((target + split.head * to) % 16 == 0);
          CHECK(split.aligned_source == ((source + split.head * from) % 16 == 0));
          CHECK(split.head * to < 16);
        }
      }
      const uint64_t shift = cast_source_shift(target, from, to);
      CHECK(shift < 16);
      CHECK(shift % from == 0);
      CHECK(split_cast(8192 + shift, target, from, to, 1000).aligned_source);
    }
  }
}

TEST_CASE("a large run is shared among threads by whole packs") {
  const CastSplit split = split_cast(0x10000, 0x20000, 2, 4, (uint64_t{1} << 40) + 3);
  CHECK(split.packs == uint64_t{1} << 37);
  CHECK(split.head == 0);
  CHECK(split.tail == 3);
}

}  // namespace
}  // namespace hfload::test
