#include "test/emulated_gpu/emulator.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <set>
#include <string>

#include "kernels/gemm_hopper.cuh"

// What the emulator must give, and must refuse, of a cluster's instructions, by the PTX ISA. Inner names:
// dynamic_shared and shared_address are the emulated headers'.
namespace hfload::test {
namespace {

constexpr uint32_t kThreads = 64;
constexpr int64_t kBytes = 4096;
constexpr Emulator::Timing kTimings[] = {Emulator::Timing::eager, Emulator::Timing::lazy};

void run_pair(const std::function<void()>& kernel) {
  Emulator::current().run(2, kThreads, kBytes, 2, kernel);
}

std::string refusal(const std::function<void()>& kernel) {
  try {
    run_pair(kernel);
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

/// 8 rows of 64 elements that count up from 0.
struct Source {
  uint16_t elements[8][64];
  CUtensorMap map{};
  Source() {
    for (uint32_t i = 0; i < 8 * 64; ++i) elements[i / 64][i % 64] = static_cast<uint16_t>(i);
    const cuuint64_t sizes[] = {64, 8, 1}, strides[] = {128, 1024};
    const cuuint32_t box[] = {64, 4, 1}, steps[] = {1, 1, 1};
    REQUIRE(cuTensorMapEncodeTiled(&map, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 3, elements, sizes, strides, box,
                                   steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                   CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                                   CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS);
  }
};

struct Places {
  uint32_t tile, barrier;
};
Places places() {
  const uint32_t begin = (shared_address(dynamic_shared()) + 1023) / 1024 * 1024;
  return {begin, begin + 1024};
}

TEST_CASE("emulator: a multicast copy comes to the same place of each block, and to its own barrier") {
  const Source source;
  for (const Emulator::Timing timing : kTimings) {
    Emulator::current().set_timing(timing);
    int rows_right = 0;
    run_pair([&] {
      const auto [tile, barrier] = places();
      const uint32_t rank = cluster_rank();
      if (threadIdx.x == 0) {
        mbarrier_init(barrier, 1);
        mbarrier_init_fence();
      }
      cluster_sync();
      if (threadIdx.x == 0) {
        mbarrier_arrive_expect(barrier, 1024);
        // Each block copies 4 of the 8 rows to both.
        tma_load_multicast(tile + rank * 512, &source.map, barrier, 0, static_cast<int32_t>(rank) * 4, 0,
                           0b11);
        mbarrier_wait(barrier, 0);
        for (uint32_t r = 0; r < 8; ++r) {
          bool right = true;
          for (uint32_t c = 0; c < 64; ++c) {
            uint16_t value = 0;
            std::memcpy(&value, gpu().at(hardware_swizzle(tile + r * 128 + c * 2)), 2);
            right = right && value == r * 64 + c;
          }
          rows_right += right ? 1 : 0;
        }
      }
      cluster_sync();
    });
    CHECK(rows_right == 16);
  }
}

TEST_CASE("emulator: blocks of a cluster have ranks, shared memory and barriers of their own") {
  std::set<std::pair<uint32_t, uint32_t>> seen;
  Emulator::current().run(6, kThreads, kBytes, 2, [&] {
    seen.emplace(blockIdx.x, cluster_rank());
    const uint32_t barrier = places().barrier;
    if (threadIdx.x == 0) mbarrier_init(barrier, 2);
    cluster_sync();
    if (threadIdx.x < 2) mbarrier_arrive_cluster(map_to_block(barrier, threadIdx.x));
    mbarrier_wait(barrier, 0);  // completes by one arrival of each block
    cluster_sync();
  });
  CHECK(seen == std::set<std::pair<uint32_t, uint32_t>>{{0, 0}, {1, 1}, {2, 0}, {3, 1}, {4, 0}, {5, 1}});
}

TEST_CASE("emulator: what a cluster must not do is refused") {
  const auto prepare = [] {
    const uint32_t barrier = places().barrier;
    if (threadIdx.x == 0) mbarrier_init(barrier, 1);
    return barrier;
  };
  CHECK(refusal([&] {
          const uint32_t barrier = prepare();
          cluster_sync();
          if (cluster_rank() == 0) return;  // ended before its peer arrives
          for (int i = 0; i < 300; ++i) gpu().sync_block();
          if (threadIdx.x == 0) mbarrier_arrive_cluster(map_to_block(barrier, 0));
        }) == "the shared memory of a block that has ended");
  CHECK(refusal([&] {
          const uint32_t barrier = places().barrier;
          if (threadIdx.x == 0) mbarrier_arrive_cluster(map_to_block(barrier, 1));
          cluster_sync();
        }) == "an mbarrier that is not initialised");
  CHECK(refusal([&] {
          const uint32_t barrier = prepare();
          cluster_sync();
          if (threadIdx.x == 0) mbarrier_arrive_cluster(map_to_block(barrier, 2));
          cluster_sync();
        }) == "a rank that the cluster does not have");
  CHECK(refusal([&] {
          const uint32_t barrier = prepare();
          cluster_sync();
          if (threadIdx.x == 0) mbarrier_arrive(map_to_block(barrier, 0));
          cluster_sync();
        }) == "an address of the cluster where a block's own belongs");
  CHECK(refusal([&] {
          const uint32_t barrier = prepare();
          cluster_sync();
          mbarrier_wait(barrier, 0);
        }) == "all threads of a block wait");
}

TEST_CASE("emulator: barrier.cluster waits for all threads of both blocks, but for none that has ended") {
  uint32_t before = 0;
  bool is_early = false;
  run_pair([&] {
    ++before;
    cluster_sync();
    is_early = is_early || before != 2 * kThreads;
    if (threadIdx.x % 3 == 0) return;
    cluster_sync();
  });
  CHECK_FALSE(is_early);
}

}  // namespace
}  // namespace hfload::test
