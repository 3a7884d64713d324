#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/load/way_chooser.h"

namespace hfload {

/// An owned block of anonymous memory, all zeros, aligned to and advised for huge pages: reading a file into
/// fresh huge pages is several times faster than into fresh 4 KiB pages. Takes no physical memory before it
/// is written.
class HostMemory {
 public:
  HostMemory() = default;
  /// Throws Error(out_of_memory) when the operating system refuses.
  explicit HostMemory(uint64_t bytes);
  HostMemory(HostMemory&& other) noexcept = default;
  HostMemory& operator=(HostMemory&& other) noexcept = default;

  std::span<std::byte> bytes() const { return mapping_.data; }

 private:
  struct Mapping {
    Mapping() = default;
    Mapping(Mapping&& other) noexcept : data(std::exchange(other.data, {})) {}
    Mapping& operator=(Mapping&& other) noexcept {
      std::swap(data, other.data);
      return *this;
    }
    ~Mapping();
    std::span<std::byte> data;
  };
  Mapping mapping_;
};

/// Takes the physical memory of a fresh block piece by piece, in pages of the size that is cheaper here. Huge
/// ones mostly are, by far; in a virtual machine that gives free memory back to its host, fresh ones can cost
/// several times as much as small ones that the machine still has.
class FreshPages {
 public:
  /// `memory`: as HostMemory gives it, aligned to huge pages and untouched.
  explicit FreshPages(std::span<std::byte> memory);

  /// To be called before a range is written; may be called from several threads at once, and again for the
  /// same range. Takes some of its pieces, to see what they cost, or all where huge pages are dear.
  void prepare(uint64_t offset, uint64_t bytes);

  /// Bytes of the pieces that took small pages so far.
  uint64_t small_page_bytes() const { return small_page_bytes_.load(std::memory_order_relaxed); }

 private:
  void take(std::span<std::byte> piece);
  /// A processor that does something else meanwhile makes one piece slow, and not three in a row.
  double least_of_last_three(double seconds);

  std::span<std::byte> memory_;
  std::vector<std::atomic<bool>> taken_;  ///< by piece of a huge page's size
  WayChooser chooser_;                    ///< first: huge pages
  std::atomic<uint64_t> small_page_bytes_{0};
  std::mutex mutex_;
  std::array<double, 3> huge_seconds_{};
};

/// Bytes that the host can give without swapping (MemAvailable of /proc/meminfo, what psutil calls
/// available); nothing where the system does not say.
std::optional<uint64_t> available_host_bytes();

/// Where Linux tells of a process's control groups.
struct ControlGroupPaths {
  std::string membership = "/proc/self/cgroup";
  std::string version_2 = "/sys/fs/cgroup";         ///< where the hierarchy is mounted
  std::string version_1 = "/sys/fs/cgroup/memory";  ///< where the memory controller is mounted
};

/// Bytes that this process can take before a control group's limit ends it: of its groups and all above them,
/// the least of limit - usage + page cache that can be dropped. The files are memory.max, memory.current and
/// memory.stat (Documentation/admin-guide/cgroup-v2.rst of the kernel); of version 1
/// memory.limit_in_bytes, memory.usage_in_bytes and memory.stat (cgroup-v1/memory.rst). Nothing where there
/// is no limit, or none that can be read.
std::optional<uint64_t> control_group_bytes(const ControlGroupPaths& paths = {});

/// What arenas may take of the host's memory.
struct HostRoom {
  uint64_t bytes = 0;
  bool is_of_control_group = false;  ///< a control group gives less than the host has
};

/// The least of available_host_bytes and control_group_bytes; nothing where neither is known.
std::optional<HostRoom> host_room(const ControlGroupPaths& paths = {});

}  // namespace hfload
