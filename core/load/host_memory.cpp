#include "core/load/host_memory.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>
#include <fstream>
#include <string>
#include <system_error>

#include "core/base/checked.h"
#include "core/base/error.h"
#include "core/base/units.h"

namespace hfload {
namespace {

constexpr uint64_t kHugePageBytes = 2 << 20;

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
  data_ = {first + skipped, bytes};
  constexpr uint64_t kPageBytes = 4096;
  const uint64_t end = align_up(skipped + bytes, kPageBytes);
  if (end < *mapped) munmap(first + end, *mapped - end);
  // Only advice: without it everything works, slower.
  madvise(data_.data(), data_.size(), MADV_HUGEPAGE);
}

HostMemory::~HostMemory() {
  if (!data_.empty()) munmap(data_.data(), data_.size());
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
