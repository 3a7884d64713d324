#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <shared_mutex>
#include <string>
#include <utility>

#include "core/base/file.h"

namespace hfload {

/// NVIDIA's GPUDirect Storage (cuFile), opened at run time as few machines have it: reads from a disk
/// straight into a GPU's memory, or, where the nvidia-fs driver is missing, through the library's own buffers
/// in the host's memory, which is slower than reading without it. Functions may be called from several
/// threads at once.
class GdsLibrary {
 public:
  enum class Mode : uint8_t { peer_to_peer, compatibility };

  /// `driver_directory` exists where the nvidia-fs driver is loaded.
  /// Throws Error(no_cuda) when the library is missing or refuses.
  explicit GdsLibrary(const std::string& library = "libcufile.so.0",
                      const std::string& driver_directory = "/proc/driver/nvidia-fs");
  ~GdsLibrary();
  GdsLibrary(const GdsLibrary&) = delete;
  GdsLibrary& operator=(const GdsLibrary&) = delete;

  Mode mode() const { return mode_; }

  /// Reads `bytes` from `offset` of a file to `device_offset` bytes behind `device_memory`, which begins an
  /// allocation of the current GPU. Throws Error(changed_during_read) at an early end of file,
  /// Error(io_error).
  void read(const RegularFile& file, uint64_t offset, std::byte* device_memory, uint64_t device_offset,
            uint64_t bytes);

 private:
  struct OpenFile {
    FileDescriptor fd;
    void* handle = nullptr;
  };
  using FileKey = std::pair<uint64_t, uint64_t>;  ///< device and inode

  void open_file(const RegularFile& file);
  void close_files();

  struct CloseLibrary {
    void operator()(void* library) const;
  };
  std::unique_ptr<void, CloseLibrary> library_;
  Mode mode_ = Mode::compatibility;
  std::shared_mutex mutex_;  ///< shared: a handle is in use; exclusive: handles come and go
  std::map<FileKey, OpenFile> files_;
};

}  // namespace hfload
