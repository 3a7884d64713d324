#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "core/base/atomic_file.h"
#include "core/base/error.h"
#include "core/base/units.h"
#include "core/base/workers.h"
#include "core/load/gather.h"
#include "core/load/offload_folder.h"
#include "core/load/parallel_reads.h"

namespace hfload {
namespace {

constexpr uint64_t kPieceBytes = 1 << 20;  // a multiple of every element's size

/// A part of a tensor that is read, cast and written at once.
struct Piece {
  uint32_t written = 0;        ///< into OffloadPlan::written
  uint64_t tensor_offset = 0;  ///< bytes from the start of the tensor, of the shard's dtype
  uint64_t source_bytes = 0;
};

std::vector<Piece> cut_into_pieces(const OffloadPlan& plan, const Checkpoint& checkpoint) {
  std::vector<Piece> pieces;
  for (uint32_t i = 0; i < plan.written.size(); ++i) {
    const uint64_t bytes = checkpoint.tensors.at(plan.written[i].checkpoint).bytes();
    for (uint64_t offset = 0; offset < bytes; offset += kPieceBytes)
      pieces.push_back({i, offset, std::min(kPieceBytes, bytes - offset)});
  }
  return pieces;
}

Error write_error(std::string_view action, int error, const std::string& path) {
  Error failure(ErrorCode::io_error,
                fmt::format("{} failed: {}", action, std::generic_category().message(error)));
  failure.with_path(path);
  if (error == ENOSPC || error == EDQUOT)
    failure.with_hint("Give an --offload-folder on a disk with more room.");
  return failure;
}

void write_exactly(int fd, uint64_t offset, std::span<const std::byte> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw write_error("writing", errno, path).with_offset(offset);
    bytes = bytes.subspan(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
}

/// Claims the room of a file, so that a full disk is known before anything is converted.
void reserve(int fd, uint64_t bytes, const std::string& path) {
  int result = -1;
  do {
    result = fallocate(fd, 0, 0, static_cast<off_t>(bytes));
  } while (result != 0 && errno == EINTR);
  if (result == 0) return;
  if (errno != EOPNOTSUPP && errno != ENOSYS)
    throw write_error(fmt::format("reserving {} bytes", bytes), errno, path);
  if (ftruncate(fd, static_cast<off_t>(bytes)) != 0) throw write_error("sizing the file", errno, path);
}

void flush(const std::string& path, int flags) {
  const FileDescriptor fd(open(path.c_str(), flags | O_CLOEXEC));
  if (!fd || fsync(fd.get()) != 0) throw write_error("flushing to the disk", errno, path);
}

/// The new files under their temporary names, which go away again unless they are renamed.
class Temporaries {
 public:
  explicit Temporaries(const OffloadPlan& plan) : plan_(plan) {}
  Temporaries(const Temporaries&) = delete;
  Temporaries& operator=(const Temporaries&) = delete;
  ~Temporaries() {
    for (const File& file : files_) unlink(file.temporary.c_str());
  }

  /// One file for each name of a tensor: links to the first where the file system has hard links.
  void create(uint32_t index) {
    const WrittenTensor& tensor = plan_.written[index];
    const size_t first = files_.size();
    first_file_.push_back(first);
    for (const std::string& name : tensor.names) {
      File file{next_name(), offloaded_file(plan_, name), false};
      file.linked =
          files_.size() > first && link(files_[first].temporary.c_str(), file.temporary.c_str()) == 0;
      files_.push_back(std::move(file));
      if (files_.back().linked) continue;
      try {
        // numpy maps no empty file: accelerate's holds one byte, which is no part of the tensor.
        create_file(files_.back(), std::max<uint64_t>(tensor.bytes, 1));
      } catch (Error& error) {
        error.with_tensor(name);
        throw;
      }
    }
  }

  void write(uint32_t index, uint64_t offset, std::span<const std::byte> bytes) const {
    const size_t first = first_file_[index];
    for (size_t i = first; i < first + plan_.written[index].names.size(); ++i) {
      if (files_[i].linked) continue;
      const FileDescriptor fd(open(files_[i].temporary.c_str(), O_WRONLY | O_CLOEXEC));
      if (!fd) throw write_error("opening the file", errno, files_[i].temporary);
      write_exactly(fd.get(), offset, bytes, files_[i].target);
    }
  }

  void flush_all(const LoadOptions& options) const {
    std::atomic<size_t> next{0};
    run_workers(reader_threads(options), [&](unsigned) {
      for (size_t i = next++; i < files_.size(); i = next++) {
        if (options.interrupted && options.interrupted()) throw Interrupted();
        if (!files_[i].linked) flush(files_[i].temporary, O_WRONLY);
      }
    });
  }

  void rename_all() {
    for (; renamed_ < files_.size(); ++renamed_) {
      const File& file = files_[renamed_];
      if (rename(file.temporary.c_str(), file.target.c_str()) != 0)
        throw write_error("renaming", errno, file.target);
    }
  }

  /// Takes back what was renamed: files that no index names.
  void remove_renamed() const noexcept {
    for (size_t i = 0; i < renamed_; ++i) unlink(files_[i].target.c_str());
  }

 private:
  struct File {
    std::string temporary, target;  ///< paths
    bool linked = false;            ///< another name of the tensor's first file
  };

  static void create_file(const File& file, uint64_t bytes) {
    const FileDescriptor fd(open(file.temporary.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666));
    if (!fd) throw write_error("creating a file", errno, file.target);
    reserve(fd.get(), bytes, file.target);
  }

  std::string next_name() {
    // Short, so that no name is too long that is not so in the end.
    for (;;) {
      std::string name = fmt::format("{}/.hfload-{}-{}.tmp", plan_.folder, getpid(), number_++);
      if (access(name.c_str(), F_OK) != 0) return name;
    }
  }

  const OffloadPlan& plan_;
  std::vector<File> files_;
  std::vector<size_t> first_file_;  ///< by written tensor
  size_t renamed_ = 0;
  uint64_t number_ = 0;
};

std::vector<std::byte>& converted_in(std::vector<std::byte>& into, const Piece& piece, CastKind cast_kind) {
  into.resize(piece.source_bytes / cast_source_bytes(cast_kind) * cast_target_bytes(cast_kind));
  return into;
}

uint64_t target_offset(const Piece& piece, CastKind cast_kind) {
  return piece.tensor_offset / cast_source_bytes(cast_kind) * cast_target_bytes(cast_kind);
}

struct Buffers {
  std::vector<std::byte> source, target, written;
};

/// Does `work(piece, cast, buffers)` on every piece, its bytes of the shard in `buffers.source`.
template <class Work>
void for_each_piece(const OffloadPlan& plan, const Checkpoint& checkpoint, const LoadOptions& options,
                    Work&& work) {
  const std::vector<Piece> pieces = cut_into_pieces(plan, checkpoint);
  std::vector<Buffers> buffers(reader_threads(options));
  GatherTurns turns;
  const auto source_of = [&](uint64_t i) -> const CheckpointTensor& {
    return checkpoint.tensors[plan.written[pieces[i].written].checkpoint];
  };
  run_parallel_reads(checkpoint,
                     {.count = pieces.size(),
                      .shard = [&](uint64_t i) { return source_of(i).shard; },
                      .work =
                          [&](uint64_t i, OpenShard& shard, unsigned worker) {
                            const Piece& piece = pieces[i];
                            const CheckpointTensor& source = source_of(i);
                            Buffers& mine = buffers[worker];
                            mine.source.resize(piece.source_bytes);
                            try {
                              read_tensor(checkpoint, source, shard.file, piece.tensor_offset, mine.source,
                                          turns);
                              work(piece, plan.written[piece.written].cast, mine);
                            } catch (Error& error) {
                              if (error.tensor().empty())
                                error.with_tensor(plan.written[piece.written].names.front());
                              throw;
                            }
                            return piece.source_bytes;
                          },
                      .total_bytes = plan.source_bytes},
                     options);
}

void write_index(const OffloadPlan& plan, std::span<const OffloadEntry> entries) {
  write_file_atomically(plan.folder + "/index.json", format_offload_index(entries));
}

void flush_folder(const OffloadPlan& plan) { flush(plan.folder, O_RDONLY | O_DIRECTORY); }

}  // namespace

void write_offload_folder(const OffloadPlan& plan, const Checkpoint& checkpoint, const LoadOptions& options) {
  if (plan.entries.empty()) return;
  std::error_code failure;
  std::filesystem::create_directory(plan.folder, failure);
  if (failure) throw write_error("making the offload folder", failure.value(), plan.folder);

  Temporaries files(plan);
  for (uint32_t i = 0; i < plan.written.size(); ++i) files.create(i);
  for_each_piece(plan, checkpoint, options, [&](const Piece& piece, CastKind kind, Buffers& buffers) {
    cast(kind, buffers.source.data(), converted_in(buffers.target, piece, kind).data(),
         piece.source_bytes / cast_source_bytes(kind));
    files.write(piece.written, target_offset(piece, kind), buffers.target);
  });
  files.flush_all(options);

  try {
    if (plan.replaces_files) {
      write_index(plan, plan.interim_entries);
      flush_folder(plan);
    }
    files.rename_all();
    flush_folder(plan);
    write_index(plan, plan.entries);
  } catch (...) {
    files.remove_renamed();
    throw;
  }
  flush_folder(plan);
  for (const std::string& path : plan.stale_files) unlink(path.c_str());
}

uint64_t verify_offload_folder(const OffloadPlan& plan, const Checkpoint& checkpoint,
                               const LoadOptions& options) {
  std::atomic<uint64_t> compared_bytes{0};
  for_each_piece(plan, checkpoint, options, [&](const Piece& piece, CastKind kind, Buffers& buffers) {
    cast_reference(kind, buffers.source.data(), converted_in(buffers.target, piece, kind).data(),
                   piece.source_bytes / cast_source_bytes(kind));
    const std::string& name = plan.written[piece.written].names.front();
    const RegularFile file = open_regular_file(offloaded_file(plan, name));
    const uint64_t offset = target_offset(piece, kind);
    buffers.written.resize(buffers.target.size());
    read_exactly(file, offset, buffers.written);
    const auto [differs, at_written] =
        std::mismatch(buffers.target.begin(), buffers.target.end(), buffers.written.begin());
    if (differs != buffers.target.end()) {
      const uint64_t at = offset + static_cast<uint64_t>(differs - buffers.target.begin());
      throw Error(
          ErrorCode::verify_failed,
          fmt::format("byte {} of the offloaded file is {:#04x}; by the shard it should be {:#04x}", at,
                      std::to_integer<unsigned>(*at_written), std::to_integer<unsigned>(*differs)))
          .with_path(file.path)
          .with_tensor(name)
          .with_offset(at)
          .with_hint("Load again; if it differs again, suspect the memory or the disk of this machine.");
    }
    compared_bytes.fetch_add(buffers.target.size(), std::memory_order_relaxed);
  });
  return compared_bytes;
}

}  // namespace hfload
