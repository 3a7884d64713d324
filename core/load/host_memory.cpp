#include "core/load/host_memory.h"

#include <fmt/core.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <string>
#include <system_error>

#include "core/base/checked.h"
#include "core/base/error.h"
#include "core/base/units.h"

namespace hfload {
namespace {

constexpr uint64_t kHugePageBytes = 2 << 20;
constexpr uint64_t kPageBytes = 4096;
// Half a millisecond for 2 MiB: what 512 small pages cost is hardly less anywhere.
constexpr double kGoodSecondsPerByte = 0.5e-3 / kHugePageBytes;

Error refused(uint64_t bytes, int error) {
  return Error(ErrorCode::out_of_memory,
               fmt::format("the operating system refused {} ({} bytes) of memory: {}",
                           format_byte_size(static_cast<double>(bytes)), bytes,
                           std::generic_category().message(error)))
      .with_hint("Give the CPU a smaller budget with --max-memory, or free memory.");
}

}  // namespace

HostMemory::HostMemory(uint64_t bytes) {
  if (bytes == 0) return;
  // Room to move the start up to a huge page; the rest is given back.
  const std::optional<uint64_t> mapped = checked_add(bytes, kHugePageBytes);
  if (!mapped) throw refused(bytes, ENOMEM);
  void* address =
      mmap(nullptr, *mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) throw refused(bytes, errno);
  auto* const first = static_cast<std::byte*>(address);
  const uint64_t skipped =
      align_up(reinterpret_cast<uintptr_t>(first), kHugePageBytes) - reinterpret_cast<uintptr_t>(first);
  if (skipped != 0) munmap(first, skipped);
  mapping_.data = {first + skipped, bytes};
  const uint64_t end = align_up(skipped + bytes, kPageBytes);
  if (end < *mapped) munmap(first + end, *mapped - end);
  // Only advice: without it everything works, slower.
  madvise(mapping_.data.data(), bytes, MADV_HUGEPAGE);
}

HostMemory::Mapping::~Mapping() {
  if (!data.empty()) munmap(data.data(), data.size());
}

FreshPages::FreshPages(std::span<std::byte> memory)
    : memory_(memory), taken_(memory.size() / kHugePageBytes), chooser_(kGoodSecondsPerByte) {}

void FreshPages::prepare(uint64_t offset, uint64_t bytes) {
  if (bytes == 0) return;
  // What is behind the last whole piece cannot be a huge page, and is left to itself.
  const uint64_t end = std::min<uint64_t>((offset + bytes - 1) / kHugePageBytes + 1, taken_.size());
  for (uint64_t piece = offset / kHugePageBytes; piece < end; ++piece) {
    if (taken_[piece].load(std::memory_order_relaxed) || taken_[piece].exchange(true)) continue;
    take(memory_.subspan(piece * kHugePageBytes, kHugePageBytes));
  }
}

void FreshPages::take(std::span<std::byte> piece) {
  using Clock = std::chrono::steady_clock;
  const WayChooser::Way way = chooser_.next();
  const Clock::time_point begin = Clock::now();
  const bool is_small = way == WayChooser::Way::second;
  if (is_small) {
    // Another thread may write to a part of the piece at the same time: that harms neither.
    if (madvise(piece.data(), piece.size(), MADV_NOHUGEPAGE) != 0) return;
    small_page_bytes_.fetch_add(piece.size(), std::memory_order_relaxed);
  }
#ifdef MADV_POPULATE_WRITE
  // One call is cheaper than 512 faults. Where the kernel is too old for it, the faults come as always.
  if (madvise(piece.data(), piece.size(), MADV_POPULATE_WRITE) != 0) return;
#endif
  chooser_.report(way, piece.size(), std::chrono::duration<double>(Clock::now() - begin).count());
}

std::optional<uint64_t> available_host_bytes() {
  std::ifstream file("/proc/meminfo");
  std::string key;
  while (file >> key) {
    uint64_t kibibytes = 0;
    if (key == "MemAvailable:" && file >> kibibytes) return kibibytes * 1024;
    std::string rest;
    std::getline(file, rest);
  }
  return std::nullopt;
}

}  // namespace hfload
