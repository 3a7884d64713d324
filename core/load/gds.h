#pragma once

#include <atomic>
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
  enum class Mode : uint8_t {
    peer_to_peer,   ///< from the disk into the GPU's memory
    compatibility,  ///< through the library's buffers in the host's memory
    mixed           ///< some files in this way, some in that
  };

  /// What was read so far.
  struct Statistics {
    /// How the bytes came; before there are any, as the library was opened.
    Mode mode = Mode::compatibility;
    uint64_t bytes = 0;  ///< by cuFileRead, all files and GPUs together
  };

  /// `driver_directory` exists where the nvidia-fs driver is loaded.
  /// Throws Error(no_cuda) when the library is missing or refuses.
  explicit GdsLibrary(const std::string& library = "libcufile.so.0",
                      const std::string& driver_directory = "/proc/driver/nvidia-fs");
  ~GdsLibrary();
  GdsLibrary(const GdsLibrary&) = delete;
  GdsLibrary& operator=(const GdsLibrary&) = delete;

  /// How files will be read whose file system has direct reads (O_DIRECT): never mixed. Others always come in
  /// compatibility mode.
  Mode mode() const { return mode_; }
  Statistics statistics() const;

  /// Reads `bytes` from `offset` of a file to `device_offset` bytes behind `device_memory`, which begins an
  /// allocation of the current GPU. Throws Error(changed_during_read) at an early end of file,
  /// Error(io_error).
  void read(const RegularFile& file, uint64_t offset, std::byte* device_memory, uint64_t device_offset,
            uint64_t bytes);

 private:
  struct OpenFile {
    FileDescriptor fd;
    void* handle = nullptr;
    bool is_direct = false;  ///< the descriptor is one for direct reads
  };
  using FileKey = std::pair<uint64_t, uint64_t>;  ///< device and inode

  void open_file(const RegularFile& file);
  void close_files();

  struct CloseLibrary {
    void operator()(void* library) const;
  };
  std::unique_ptr<void, CloseLibrary> library_;
  Mode mode_ = Mode::compatibility;
  std::atomic<uint64_t> direct_bytes_{0}, buffered_bytes_{0};  ///< by the descriptor they came from
  std::shared_mutex mutex_;  ///< shared: a handle is in use; exclusive: handles come and go
  std::map<FileKey, OpenFile> files_;
};

}  // namespace hfload
