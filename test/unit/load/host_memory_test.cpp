#include "core/load/host_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <string>
#include <vector>

namespace hfload::test {
namespace {

constexpr uint64_t kHugePageBytes = 2 << 20;
constexpr uint64_t kPageBytes = 4096;

/// Whether a range has physical memory, by mincore(2).
bool is_resident(std::span<std::byte> memory) {
  std::vector<unsigned char> pages(memory.size() / kPageBytes);
  REQUIRE(mincore(memory.data(), memory.size(), pages.data()) == 0);
  return std::ranges::all_of(pages, [](unsigned char page) { return (page & 1) != 0; });
}

/// Old kernels cannot be asked to take memory beforehand, and those without huge pages have no choice.
bool can_populate() {
#ifdef MADV_POPULATE_WRITE
  const HostMemory memory(kPageBytes);
  return madvise(memory.bytes().data(), kPageBytes, MADV_NOHUGEPAGE) == 0 &&
         madvise(memory.bytes().data(), kPageBytes, MADV_POPULATE_WRITE) == 0;
#else
  return false;
#endif
}

std::span<std::byte> huge_page(const HostMemory& memory, uint64_t index) {
  return memory.bytes().subspan(index * kHugePageBytes, kHugePageBytes);
}

TEST_CASE("what is about to be written is taken beforehand, every piece that the range touches, once") {
  if (!can_populate()) return;
  const HostMemory memory(4 * kHugePageBytes);
  FreshPages pages(memory.bytes());
  pages.prepare(kHugePageBytes - 1, 2);
  CHECK(is_resident(huge_page(memory, 0)));
  CHECK(is_resident(huge_page(memory, 1)));
  CHECK_FALSE(is_resident(huge_page(memory, 2)));
  pages.prepare(2 * kHugePageBytes, kHugePageBytes);
  CHECK(is_resident(huge_page(memory, 2)));
  CHECK_FALSE(is_resident(huge_page(memory, 3)));
  // What was taken before is not taken again.
  REQUIRE(madvise(huge_page(memory, 1).data(), kHugePageBytes, MADV_DONTNEED) == 0);
  pages.prepare(0, 2 * kHugePageBytes);
  CHECK_FALSE(is_resident(huge_page(memory, 1)));
}

/// MemAvailable in the kernel's own text.
uint64_t available_kibibytes() {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("MemAvailable:")) return std::stoull(line.substr(13));
  }
  return 0;
}

TEST_CASE("the available memory is what /proc/meminfo says, in bytes") {
  if (available_kibibytes() == 0) return;
  // It changes while it is looked at.
  bool is_near = false;
  for (int i = 0; i < 50 && !is_near; ++i) {
    const double before = static_cast<double>(available_kibibytes()) * 1024;
    const double found = static_cast<double>(available_host_bytes().value());
    const double after = static_cast<double>(available_kibibytes()) * 1024;
    is_near = std::min(before, after) * 0.999 <= found && found <= std::max(before, after) * 1.001;
  }
  CHECK(is_near);
}

}  // namespace
}  // namespace hfload::test
