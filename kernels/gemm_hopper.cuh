#pragma once

#include <cuda.h>

#include <cstdint>

#include "kernels/gemm.h"

namespace hfload {

/// Hopper's instructions (sm_90a), by the PTX ISA's names. Addresses are in shared memory.

__device__ inline void mbarrier_init(uint32_t barrier, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
/// Makes initialised barriers visible to the TMA unit, and to the cluster's other blocks once they are past
/// the next cluster_sync.
__device__ inline void mbarrier_init_fence() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
__device__ inline void mbarrier_arrive(uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
/// Arrives, and lets the phase wait for that many bytes of TMA besides.
__device__ inline void mbarrier_arrive_expect(uint32_t barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}
/// Arrives at the barrier of any block of the cluster, whose address `map_to_block` gave. That block must not
/// have ended. Without .release.cluster, for which the compiler puts a fence of all memory before it (seen in
/// SASS): no memory that threads have written goes with it, and reads by wgmma are done after wgmma_wait.
__device__ inline void mbarrier_arrive_cluster(uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cluster.b64 _, [%0];" ::"r"(barrier) : "memory");
}
/// Waits for the phase of that parity to complete.
__device__ inline void mbarrier_wait(uint32_t barrier, uint32_t parity) {
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@done bra finished;\n"
      "bra again;\n"
      "finished:\n"
      "}\n" ::"r"(barrier),
      "r"(parity)
      : "memory");
}

/// The rank of this block in its cluster; 0 for a block that was launched without one.
__device__ inline uint32_t cluster_rank() {
  uint32_t rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
/// The address, for instructions on the cluster's shared memory, of what lies at `address` in the block of
/// that rank (PTX ISA, "mapa").
__device__ inline uint32_t map_to_block(uint32_t address, uint32_t rank) {
  uint32_t mapped;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(mapped) : "r"(address), "r"(rank));
  return mapped;
}
/// Waits for all threads of the cluster. Not the .aligned form: a warp's threads may come one by one.
__device__ inline void cluster_sync() {
  asm volatile("barrier.cluster.arrive.release;" ::: "memory");
  asm volatile("barrier.cluster.wait.acquire;" ::: "memory");
}

/// Starts the copy of one box of a tensor map to shared memory; its bytes count towards the barrier's phase.
/// Coordinates in elements: along K, row, batch entry. What lies past the tensor's edges becomes 0.
__device__ inline void tma_load(uint32_t to, const CUtensorMap* map, uint32_t barrier, int32_t k, int32_t row,
                                int32_t entry) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], "
      "[%2];" ::"r"(to),
      "l"(map), "r"(barrier), "r"(k), "r"(row), "r"(entry)
      : "memory");
}
/// The same to every block of the cluster whose rank is a bit of `ranks`. `to` and `barrier` are this
/// block's: each block gets the box at the same place in its shared memory, and its bytes count towards its
/// own barrier at the same place (PTX ISA, "cp.async.bulk.tensor", .multicast::cluster).
__device__ inline void tma_load_multicast(uint32_t to, const CUtensorMap* map, uint32_t barrier, int32_t k,
                                          int32_t row, int32_t entry, uint16_t ranks) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], "
      "[%1, {%3, %4, %5}], [%2], %6;" ::"r"(to),
      "l"(map), "r"(barrier), "r"(k), "r"(row), "r"(entry), "h"(ranks)
      : "memory");
}
__device__ inline void prefetch_tensor_map(const CUtensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

template <int registers>
__device__ inline void give_registers_back() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
}
template <int registers>
__device__ inline void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
}

__device__ inline void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/// Waits until at most `pending` of the warpgroup's groups are under way.
template <int pending>
__device__ inline void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}

// The operand lists of an instruction with 64 or 128 accumulators.
// clang-format off
#define HFLOAD_PLACES_64 \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define HFLOAD_PLACES_128 \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, " \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, " \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
  "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define HFLOAD_FLOATS_8(i) \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define HFLOAD_FLOATS_64(i)                                                                     \
  HFLOAD_FLOATS_8(i), HFLOAD_FLOATS_8(i + 8), HFLOAD_FLOATS_8(i + 16), HFLOAD_FLOATS_8(i + 24), \
  HFLOAD_FLOATS_8(i + 32), HFLOAD_FLOATS_8(i + 40), HFLOAD_FLOATS_8(i + 48), HFLOAD_FLOATS_8(i + 56)
#define HFLOAD_WGMMA(shape, type, places, a, b, scale, ...)                                      \
  asm volatile("{\n.reg .pred adds;\nsetp.ne.b32 adds, %" scale ", 0;\n"                         \
               "wgmma.mma_async.sync.aligned." shape "k16.f32." type "." type " {" places "}, "  \
               "%" a ", %" b ", adds, 1, 1, 0, 0;\n}\n"                                          \
               : __VA_ARGS__                                                                     \
               : "l"(a_descriptor), "l"(b_descriptor), "r"(adds))
// clang-format on

/// d = A·Bᵀ of 64 rows and 2 · `accumulators` columns, over 16 elements of K; added to d where `adds` is not
/// 0.
template <GemmDtype dtype, int accumulators>
__device__ inline void wgmma(float (&d)[accumulators], uint64_t a_descriptor, uint64_t b_descriptor,
                             uint32_t adds) {
  static_assert(accumulators == 64 || accumulators == 128);
  if constexpr (accumulators == 64 && dtype == GemmDtype::bf16) {
    HFLOAD_WGMMA("m64n128", "bf16", HFLOAD_PLACES_64, "64", "65", "66", HFLOAD_FLOATS_64(0));
  } else if constexpr (accumulators == 64) {
    HFLOAD_WGMMA("m64n128", "f16", HFLOAD_PLACES_64, "64", "65", "66", HFLOAD_FLOATS_64(0));
  } else if constexpr (dtype == GemmDtype::bf16) {
    HFLOAD_WGMMA("m64n256", "bf16", HFLOAD_PLACES_128, "128", "129", "130", HFLOAD_FLOATS_64(0),
                 HFLOAD_FLOATS_64(64));
  } else {
    HFLOAD_WGMMA("m64n256", "f16", HFLOAD_PLACES_128, "128", "129", "130", HFLOAD_FLOATS_64(0),
                 HFLOAD_FLOATS_64(64));
  }
}

#undef HFLOAD_WGMMA
#undef HFLOAD_FLOATS_64
#undef HFLOAD_FLOATS_8
#undef HFLOAD_PLACES_128
#undef HFLOAD_PLACES_64

}  // namespace hfload
