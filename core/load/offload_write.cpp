#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "core/base/atomic_file.h"
#include "core/base/error.h"
#include "core/base/units.h"
#include "core/base/workers.h"
#include "core/load/buffer_bytes.h"
#include "core/load/gather.h"
#include "core/load/offload_folder.h"
#include "core/load/parallel_reads.h"
#include "core/load/read_schedule.h"

namespace hfload {
namespace {

constexpr uint64_t kPieceBytes = 1 << 20;    // a multiple of every element's size
static_assert(kPieceBytes <= kGatherBytes);  // a piece is gathered as a whole

/// A part of a tensor that one worker reads, casts and writes, in steps.
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

/// Keeps other loads from renaming into the folder and from writing its index.
class FolderLock {
 public:
  /// Waits for whoever has it. Throws Interrupted, Error(io_error).
  FolderLock(const std::string& folder, const LoadOptions& options)
      : fd_(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    if (!fd_) throw write_error("opening the offload folder", errno, folder);
    while (flock(fd_.get(), LOCK_EX | LOCK_NB) != 0) {
      // File systems without locks.
      if (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL) return;
      if (errno != EWOULDBLOCK && errno != EINTR)
        throw write_error("locking the offload folder", errno, folder);
      if (options.interrupted && options.interrupted()) throw Interrupted();
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }

 private:
  FileDescriptor fd_;
};

/// The new files under their temporary names, which go away again unless they are renamed.
class Temporaries {
 public:
  explicit Temporaries(const OffloadPlan& plan) : plan_(plan) {}
  Temporaries(const Temporaries&) = delete;
  Temporaries& operator=(const Temporaries&) = delete;
  ~Temporaries() {
    for (const File& file : files_) {
      if (!file.temporary.empty()) unlink(file.temporary.c_str());
    }
  }

  /// One file for each name of a tensor: links to the first where the file system has hard links.
  void create(uint32_t index) {
    const WrittenTensor& tensor = plan_.written[index];
    const size_t first = files_.size();
    first_file_.push_back(first);
    for (const std::string& name : tensor.names) {
      File& file = files_.emplace_back();
      file.target = offloaded_file(plan_, name);
      if (files_.size() > first + 1) {
        const std::string& linked_to = files_[first].temporary;
        file.linked = take_name(file, [&](const char* path) { return link(linked_to.c_str(), path) == 0; });
        if (file.linked) continue;
      }
      try {
        // numpy maps no empty file: accelerate's holds one byte, which is no part of the tensor.
        create_file(file, std::max<uint64_t>(tensor.bytes, 1));
      } catch (Error& error) {
        error.with_tensor(name);
        throw;
      }
    }
  }

  /// The files of a tensor, open: more than one where the file system has no hard links.
  class Writer {
   public:
    Writer(const Temporaries& files, uint32_t index) {
      const size_t first = files.first_file_[index];
      for (size_t i = first; i < first + files.plan_.written[index].names.size(); ++i) {
        const File& file = files.files_[i];
        if (file.linked) continue;
        open_.push_back({FileDescriptor(open(file.temporary.c_str(), O_WRONLY | O_CLOEXEC)), file.target});
        if (!open_.back().first) throw write_error("opening the file", errno, file.temporary);
      }
    }
    void write(uint64_t offset, std::span<const std::byte> bytes) const {
      for (const auto& [fd, target] : open_) write_exactly(fd.get(), offset, bytes, target);
    }

   private:
    std::vector<std::pair<FileDescriptor, std::string>> open_;
  };

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
      File& file = files_[renamed_];
      if (rename(file.temporary.c_str(), file.target.c_str()) != 0)
        throw write_error("renaming", errno, file.target);
      file.temporary.clear();  // another process may take the name
    }
  }

  /// Takes back what was renamed: files that no index names.
  void remove_renamed() const noexcept {
    for (size_t i = 0; i < renamed_; ++i) unlink(files_[i].target.c_str());
  }

 private:
  struct File {
    std::string temporary;  ///< a path; empty while there is no such file
    std::string target;
    bool linked = false;  ///< another name of the tensor's first file
  };

  void create_file(File& file, uint64_t bytes) {
    FileDescriptor fd;
    const bool is_made = take_name(file, [&](const char* path) {
      fd = FileDescriptor(open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666));
      return static_cast<bool>(fd);
    });
    if (!is_made) throw write_error("creating a file", errno, file.target);
    reserve(fd.get(), bytes, file.target);
  }

  /// Makes a file by `make(path)` under the first name that is free; false where that fails, as errno says.
  /// Processes of several containers may have one number, so that only making it tells.
  template <class Make>
  bool take_name(File& file, Make&& make) {
    for (;;) {
      // Short, so that no name is too long that is not so in the end.
      std::string name = fmt::format("{}/.hfload-{}-{}.tmp", plan_.folder, getpid(), number_++);
      if (make(name.c_str())) {
        file.temporary = std::move(name);
        return true;
      }
      if (errno != EEXIST) return false;
    }
  }

  const OffloadPlan& plan_;
  std::vector<File> files_;
  std::vector<size_t> first_file_;  ///< by written tensor
  size_t renamed_ = 0;
  uint64_t number_ = 0;
};

/// Bytes of the written file that come of so many of the shard.
uint64_t converted_bytes(uint64_t source_bytes, CastKind cast_kind) {
  return source_bytes / cast_source_bytes(cast_kind) * cast_target_bytes(cast_kind);
}

struct Buffers {
  std::vector<std::byte> source, target, written;
};

/// Some bytes of a tensor, as they are in its shard.
struct Step {
  CastKind cast = CastKind::none;
  std::span<const std::byte> source;
  uint64_t target_offset = 0;  ///< bytes from the start of the written file

  uint64_t elements() const { return source.size() / cast_source_bytes(cast); }
  std::span<std::byte> converted_in(std::vector<std::byte>& buffer) const {
    buffer.resize(converted_bytes(source.size(), cast));
    return buffer;
  }
};

/// Calls `begin(index)` for every piece, with its tensor, and what that returns for every step of the piece:
/// `work(step, buffers)`. A step takes `factor` times the memory of its bytes in the shard.
template <class Begin>
void for_each_step(const OffloadPlan& plan, const Checkpoint& checkpoint, const LoadOptions& options,
                   unsigned factor, Begin&& begin) {
  const std::vector<Piece> pieces = cut_into_pieces(plan, checkpoint);
  const unsigned workers = reader_threads(options);
  const uint64_t most_bytes = step_bytes(checkpoint.tensors.size(), workers, factor);
  std::vector<Buffers> buffers(workers);
  GatherTurns turns;
  const auto source_of = [&](const Piece& piece) -> const CheckpointTensor& {
    return checkpoint.tensors[plan.written[piece.written].checkpoint];
  };
  const auto do_piece = [&](const Piece& piece, const RegularFile& shard, Buffers& mine) {
    const CheckpointTensor& source = source_of(piece);
    const CastKind kind = plan.written[piece.written].cast;
    const auto work = begin(piece.written);
    // A piece that has to be gathered is so as a whole: many small pieces would each read the whole storage.
    std::optional<GatherTurns::Turn> turn;
    std::span<std::byte> gathered;
    if (!source.is_in_place()) {
      gathered = turn.emplace(turns).buffer().first(piece.source_bytes);
      gather(checkpoint, source, FileSource(shard), piece.tensor_offset, gathered, *turn);
    }
    for (uint64_t done = 0; done < piece.source_bytes; done += most_bytes) {
      const uint64_t bytes = std::min(most_bytes, piece.source_bytes - done);
      const uint64_t offset = piece.tensor_offset + done;
      Step step{kind, {}, converted_bytes(offset, kind)};
      if (turn) {
        step.source = gathered.subspan(done, bytes);
      } else {
        mine.source.resize(bytes);
        read_tensor(checkpoint, source, shard, offset, mine.source, turns);
        step.source = mine.source;
      }
      work(step, mine);
    }
  };
  run_parallel_reads(checkpoint,
                     {.count = pieces.size(),
                      .shard = [&](uint64_t i) { return source_of(pieces[i]).shard; },
                      .work =
                          [&](uint64_t i, OpenShard& shard, unsigned worker) {
                            try {
                              do_piece(pieces[i], shard.file, buffers[worker]);
                            } catch (Error& error) {
                              if (error.tensor().empty())
                                error.with_tensor(plan.written[pieces[i].written].names.front());
                              throw;
                            }
                            return pieces[i].source_bytes;
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
  // The bytes of the shard, and up to twice as many converted.
  for_each_step(plan, checkpoint, options, 3, [&](uint32_t index) {
    return [writer = Temporaries::Writer(files, index)](const Step& step, Buffers& buffers) {
      const std::span<std::byte> target = step.converted_in(buffers.target);
      cast(step.cast, step.source.data(), target.data(), step.elements());
      writer.write(step.target_offset, target);
    };
  });
  files.flush_all(options);
  if (options.interrupted && options.interrupted()) throw Interrupted();

  const FolderLock lock(plan.folder, options);
  const IndexChange change = plan_index_change(plan);
  try {
    if (change.replaces_files) {
      write_index(plan, change.interim_entries);
      flush_folder(plan);
    }
    files.rename_all();
    flush_folder(plan);
    write_index(plan, change.entries);
  } catch (...) {
    files.remove_renamed();
    throw;
  }
  flush_folder(plan);
  for (const std::string& path : change.stale_files) unlink(path.c_str());
}

uint64_t verify_offload_folder(const OffloadPlan& plan, const Checkpoint& checkpoint,
                               const LoadOptions& options) {
  std::atomic<uint64_t> compared_bytes{0};
  // The bytes of the shard, up to twice as many converted, and as many of the written file.
  for_each_step(plan, checkpoint, options, 5, [&](uint32_t index) {
    const std::string& name = plan.written[index].names.front();
    return [&compared_bytes, &name, file = open_regular_file(offloaded_file(plan, name))](const Step& step,
                                                                                          Buffers& buffers) {
      const std::span<std::byte> expected = step.converted_in(buffers.target);
      cast_reference(step.cast, step.source.data(), expected.data(), step.elements());
      buffers.written.resize(expected.size());
      read_exactly(file, step.target_offset, buffers.written);
      const auto [differs, at_written] = std::ranges::mismatch(expected, buffers.written);
      if (differs != expected.end()) {
        const uint64_t at = step.target_offset + static_cast<uint64_t>(differs - expected.begin());
        throw Error(
            ErrorCode::verify_failed,
            fmt::format("byte {} of the offloaded file is {:#04x}; by the shard it should be {:#04x}", at,
                        std::to_integer<unsigned>(*at_written), std::to_integer<unsigned>(*differs)))
            .with_path(file.path)
            .with_tensor(name)
            .with_offset(at)
            .with_hint("Load again; if it differs again, suspect the memory or the disk of this machine.");
      }
      compared_bytes.fetch_add(expected.size(), std::memory_order_relaxed);
    };
  });
  return compared_bytes;
}

}  // namespace hfload
