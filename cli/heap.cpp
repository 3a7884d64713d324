#include "cli/heap.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace hfload::cli {
namespace {

#ifdef __GLIBC__
void return_freed_blocks() {
  // Unless it is told, glibc raises this to the size of whatever is freed.
  constexpr int kOwnMappingBytes = 256 << 10;
  mallopt(M_MMAP_THRESHOLD, kOwnMappingBytes);
}

void advise_huge_pages() {
  constexpr int kStepBytes = 32 << 20;
  constexpr uintptr_t kHugePageBytes = 2 << 20;
  // Vectors of some MiB are to come from the heap as well. What is freed at its end still goes back.
  if (mallopt(M_MMAP_THRESHOLD, kStepBytes) != 1 || mallopt(M_TOP_PAD, kStepBytes) != 1) return;
  void* const first = std::malloc(1 << 20);
  if (first == nullptr) return;
  const auto begin =
      (reinterpret_cast<uintptr_t>(first) + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes;
  const auto end = reinterpret_cast<uintptr_t>(sbrk(0));
  // Elsewhere than below the break it is not this heap.
  if (begin < end && end - begin <= 2 * uintptr_t{kStepBytes}) {
    madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
  }
  std::free(first);
}
#endif

}  // namespace

void prepare_heap([[maybe_unused]] HeapUse use) {
#ifdef __GLIBC__
  use == HeapUse::streamed_weights ? return_freed_blocks() : advise_huge_pages();
#endif
}

}  // namespace hfload::cli
