#include "core/load/gds.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <mutex>

#include "core/base/error.h"
#include "core/load/direct_reader.h"

namespace hfload {
namespace {

// The part of the library's interface that is used, as cufile.h of CUDA 12 and 13 declares it.
struct CuFileError {
  int error;
  int driver_error;
};
struct CuFileDescription {
  int type;
  union {
    int fd;
    void* handle;
  } file;
  const void* operations;
};
constexpr int kOpaqueFd = 1;
using DriverOpen = CuFileError (*)();
using DriverClose = CuFileError (*)();
using HandleRegister = CuFileError (*)(void**, CuFileDescription*);
using HandleDeregister = void (*)(void*);
using Read = ssize_t (*)(void*, void*, size_t, off_t, off_t);

constexpr const char* kHint = "Load without --gds, or install NVIDIA's cuFile library (libcufile.so.0).";

template <class Function>
Function function_of(void* library, const char* name) {
  void* const symbol = dlsym(library, name);
  if (symbol == nullptr) {
    throw Error(ErrorCode::no_cuda, fmt::format("the cuFile library has no function {}", name))
        .with_hint(kHint);
  }
  return reinterpret_cast<Function>(symbol);
}

}  // namespace

void GdsLibrary::CloseLibrary::operator()(void* library) const { dlclose(library); }

GdsLibrary::GdsLibrary(const std::string& library, const std::string& driver_directory)
    : library_(dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL)) {
  if (!library_) {
    throw Error(ErrorCode::no_cuda, fmt::format("GPUDirect Storage cannot be used: {}", dlerror()))
        .with_hint(kHint);
  }
  function_of<HandleRegister>(library_.get(), "cuFileHandleRegister");
  function_of<HandleDeregister>(library_.get(), "cuFileHandleDeregister");
  function_of<Read>(library_.get(), "cuFileRead");
  function_of<DriverClose>(library_.get(), "cuFileDriverClose");
  const CuFileError status = function_of<DriverOpen>(library_.get(), "cuFileDriverOpen")();
  if (status.error != 0) {
    throw Error(
        ErrorCode::no_cuda,
        fmt::format("GPUDirect Storage cannot be used: cuFileDriverOpen failed with error {}", status.error))
        .with_hint(kHint);
  }
  if (access(driver_directory.c_str(), F_OK) == 0) mode_ = Mode::peer_to_peer;
}

GdsLibrary::~GdsLibrary() {
  close_files();
  if (auto* const close = reinterpret_cast<DriverClose>(dlsym(library_.get(), "cuFileDriverClose"))) close();
}

GdsLibrary::Statistics GdsLibrary::statistics() const {
  const uint64_t direct = direct_bytes_.load(std::memory_order_relaxed);
  const uint64_t buffered = buffered_bytes_.load(std::memory_order_relaxed);
  Statistics statistics{.mode = mode_, .bytes = direct + buffered};
  if (mode_ == Mode::peer_to_peer && buffered != 0)
    statistics.mode = direct != 0 ? Mode::mixed : Mode::compatibility;
  return statistics;
}

void GdsLibrary::close_files() {
  const auto deregister = function_of<HandleDeregister>(library_.get(), "cuFileHandleDeregister");
  for (const auto& [key, file] : files_) deregister(file.handle);
  files_.clear();
}

void GdsLibrary::open_file(const RegularFile& file) {
  constexpr size_t kMostFiles = 128;  // most systems let a process have 1024 open
  const FileKey key(file.identity.device, file.identity.inode);
  const std::unique_lock lock(mutex_);
  if (files_.contains(key)) return;
  if (files_.size() >= kMostFiles) close_files();
  OpenFile open{.fd = open_direct(file)};
  open.is_direct = static_cast<bool>(open.fd);
  // The library takes such a file in compatibility mode alone; statistics tells.
  if (!open.fd) open.fd = FileDescriptor(fcntl(file.fd.get(), F_DUPFD_CLOEXEC, 0));
  CuFileDescription description{.type = kOpaqueFd, .file = {.fd = open.fd.get()}, .operations = nullptr};
  const CuFileError status =
      function_of<HandleRegister>(library_.get(), "cuFileHandleRegister")(&open.handle, &description);
  if (status.error != 0) {
    throw Error(
        ErrorCode::io_error,
        fmt::format("GPUDirect Storage does not take this file: cuFileHandleRegister failed with error {}",
                    status.error))
        .with_path(file.path)
        .with_hint("Load without --gds.");
  }
  files_.emplace(key, std::move(open));
}

void GdsLibrary::read(const RegularFile& file, uint64_t offset, std::byte* device_memory,
                      uint64_t device_offset, uint64_t bytes) {
  const auto read = function_of<Read>(library_.get(), "cuFileRead");
  const FileKey key(file.identity.device, file.identity.inode);
  for (uint64_t done = 0; done < bytes;) {
    std::shared_lock lock(mutex_);
    const auto open = files_.find(key);
    if (open == files_.end()) {
      lock.unlock();
      open_file(file);
      continue;
    }
    const ssize_t got = read(open->second.handle, device_memory, bytes - done,
                             static_cast<off_t>(offset + done), static_cast<off_t>(device_offset + done));
    if (got == -1 && errno == EINTR) continue;
    if (got == -1) throw read_failed(file, offset + done, errno);
    if (got < 0) {
      throw Error(ErrorCode::io_error, fmt::format("cuFileRead failed with error {}", -got))
          .with_path(file.path)
          .with_offset(offset + done)
          .with_hint("Load without --gds.");
    }
    if (got == 0) throw changed_during_read(file).with_offset(offset + done);
    done += static_cast<uint64_t>(got);
    (open->second.is_direct ? direct_bytes_ : buffered_bytes_)
        .fetch_add(static_cast<uint64_t>(got), std::memory_order_relaxed);
  }
}

}  // namespace hfload
