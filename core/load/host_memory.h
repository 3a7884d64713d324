#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

namespace hfload {

/// An owned block of anonymous memory, all zeros, aligned to and advised for huge pages: reading a file into
/// fresh huge pages is several times faster than into fresh 4 KiB pages. Takes no physical memory before it
/// is written.
class HostMemory {
 public:
  HostMemory() = default;
  /// Throws Error(out_of_memory) when the operating system refuses.
  explicit HostMemory(uint64_t bytes);
  HostMemory(HostMemory&& other) noexcept : data_(std::exchange(other.data_, {})) {}
  HostMemory& operator=(HostMemory&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }
  ~HostMemory();

  std::span<std::byte> bytes() const { return data_; }

 private:
  std::span<std::byte> data_;
};

/// Bytes that the host can give without swapping (MemAvailable of /proc/meminfo, what psutil calls
/// available); nothing where the system does not say.
std::optional<uint64_t> available_host_bytes();

}  // namespace hfload
