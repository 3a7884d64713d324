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
#include "core/base/file.h"
#include "core/base/system_error.h"
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

/// A part of a tensor that one worker reads, casts and writes, in steps. There is one and more for each of
/// 10^5 tensors.
struct Piece {
  uint32_t tensor = 0;  ///< into OffloadPlan::tensors
  uint32_t number = 0;  ///< of its pieces

  /// Bytes from the start of the tensor, of the shard's dtype.
  uint64_t offset() const { return number * kPieceBytes; }
  uint64_t source_bytes(const CheckpointTensor& source) const {
    return std::min(kPieceBytes, source.bytes() - offset());
  }
};

std::vector<Piece> cut_into_pieces(const OffloadPlan& plan, const Checkpoint& checkpoint) {
  const auto pieces_of = [&](const OffloadedTensor& tensor) -> uint64_t {
    if (!tensor.is_written) return 0;
    const uint64_t bytes = checkpoint.tensors.at(tensor.checkpoint).bytes();
    return bytes / kPieceBytes + (bytes % kPieceBytes != 0);
  };
  uint64_t count = 0;
  for (const OffloadedTensor& tensor : plan.tensors) count += pieces_of(tensor);
  std::vector<Piece> pieces;
  pieces.reserve(count);
  for (uint32_t i = 0; i < plan.tensors.size(); ++i) {
    const uint64_t numbers = pieces_of(plan.tensors[i]);
    for (uint64_t number = 0; number < numbers; ++number)
      pieces.push_back({i, static_cast<uint32_t>(number)});
  }
  return pieces;
}

/// Claims the room of a file, so that a full disk is known before anything is converted.
void reserve(int fd, uint64_t bytes, const std::string& path) {
  if (retry_interrupted([&] { return fallocate(fd, 0, 0, static_cast<off_t>(bytes)); }) == 0) return;
  if (errno != EOPNOTSUPP && errno != ENOSYS)
    throw system_error(fmt::format("reserving {} bytes", bytes), errno, path);
  if (ftruncate(fd, static_cast<off_t>(bytes)) != 0) throw system_error("sizing the file", errno, path);
}

void flush(const std::string& path, int flags) {
  const FileDescriptor fd(open(path.c_str(), flags | O_CLOEXEC));
  if (!fd || fsync(fd.get()) != 0) throw system_error("flushing to the disk", errno, path);
}

/// Keeps other loads from renaming into the folder and from writing its index.
class FolderLock {
 public:
  /// Waits for whoever has it. Throws Interrupted, Error(io_error).
  FolderLock(const std::string& folder, const LoadOptions& options)
      : fd_(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    if (!fd_) throw system_error("opening the offload folder", errno, folder);
    while (flock(fd_.get(), LOCK_EX | LOCK_NB) != 0) {
      // File systems without locks.
      if (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL) return;
      if (errno != EWOULDBLOCK && errno != EINTR)
        throw system_error("locking the offload folder", errno, folder);
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
  explicit Temporaries(const OffloadPlan& plan) : plan_(plan), files_(plan.names.size()) {}
  Temporaries(const Temporaries&) = delete;
  Temporaries& operator=(const Temporaries&) = delete;
  ~Temporaries() {
    for (const File& file : files_) {
      if (file.is_temporary) unlink(path_of(file.number).c_str());
    }
  }

  /// One file for each name of a tensor: links to the first where the file system has hard links.
  void create(const OffloadedTensor& tensor, uint64_t bytes) {
    const File& first = files_[tensor.first_name];
    for (uint32_t i = tensor.first_name; i < tensor.first_name + tensor.name_count; ++i) {
      File& file = files_[i];
      if (i != tensor.first_name) {
        const std::string linked_to = path_of(first.number);
        file.is_link = take_name(file, [&](const char* path) { return link(linked_to.c_str(), path) == 0; });
        if (file.is_link) continue;
      }
      try {
        // numpy maps no empty file: accelerate's holds one byte, which is no part of the tensor.
        create_file(i, std::max<uint64_t>(bytes, 1));
      } catch (Error& error) {
        error.with_tensor(plan_.names[i]);
        throw;
      }
    }
  }

  /// The files of a tensor, open: more than one where the file system has no hard links.
  class Writer {
   public:
    Writer(const Temporaries& files, const OffloadedTensor& tensor) {
      for (uint32_t i = tensor.first_name; i < tensor.first_name + tensor.name_count; ++i) {
        const File& file = files.files_[i];
        if (file.is_link) continue;
        const std::string path = files.path_of(file.number);
        open_.push_back({FileDescriptor(open(path.c_str(), O_WRONLY | O_CLOEXEC)), files.target_of(i)});
        if (!open_.back().first) throw system_error("opening the file", errno, path);
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
        if (!files_[i].is_temporary || files_[i].is_link) continue;
        if (options.interrupted && options.interrupted()) throw Interrupted();
        flush(path_of(files_[i].number), O_WRONLY);
      }
    });
  }

  void rename_all() {
    for (uint32_t i = 0; i < files_.size(); ++i) {
      File& file = files_[i];
      if (!file.is_temporary) continue;
      if (rename(path_of(file.number).c_str(), target_of(i).c_str()) != 0)
        throw system_error("renaming", errno, target_of(i));
      file.is_temporary = false;  // another process may take the name
      file.is_renamed = true;
    }
  }

  /// Takes back what was renamed: files that no index names.
  void remove_renamed() const {
    for (uint32_t i = 0; i < files_.size(); ++i) {
      if (files_[i].is_renamed) unlink(target_of(i).c_str());
    }
  }

 private:
  /// Of 10^5 names each; those of tensors that are used in place have none.
  struct File {
    uint32_t number = 0;        ///< of its temporary name
    bool is_temporary = false;  ///< there is a file of that name
    bool is_link = false;       ///< another name of the tensor's first file
    bool is_renamed = false;
  };

  // Short, so that no name is too long that is not so in the end.
  std::string path_of(uint32_t number) const {
    return fmt::format("{}/.hfload-{}-{}.tmp", plan_.folder, getpid(), number);
  }
  std::string target_of(uint32_t name) const { return offloaded_file(plan_, plan_.names[name]); }

  void create_file(uint32_t name, uint64_t bytes) {
    FileDescriptor fd;
    const bool is_made = take_name(files_[name], [&](const char* path) {
      fd = FileDescriptor(open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666));
      return static_cast<bool>(fd);
    });
    if (!is_made) throw system_error("creating a file", errno, target_of(name));
    reserve(fd.get(), bytes, target_of(name));
  }

  /// Makes a file by `make(path)` under the first name that is free; false where that fails, as errno says.
  /// Processes of several containers may have one number, so that only making it tells.
  template <class Make>
  bool take_name(File& file, Make&& make) {
    for (;;) {
      file.number = number_++;
      file.is_temporary = make(path_of(file.number).c_str());
      if (file.is_temporary) return true;
      if (errno != EEXIST) return false;
    }
  }

  const OffloadPlan& plan_;
  std::vector<File> files_;  ///< by name
  uint32_t number_ = 0;
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

std::string first_name(const OffloadPlan& plan, const OffloadedTensor& tensor) {
  return plan.names[tensor.first_name];
}

/// Calls `begin(tensor)` for every piece, with its tensor, and what that returns for every step of the piece:
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
    return checkpoint.tensors[plan.tensors[piece.tensor].checkpoint];
  };
  const auto do_piece = [&](const Piece& piece, const RegularFile& shard, Buffers& mine) {
    const CheckpointTensor& source = source_of(piece);
    const OffloadedTensor& tensor = plan.tensors[piece.tensor];
    const CastKind kind = cast_between(source.dtype, tensor.dtype);
    const uint64_t piece_bytes = piece.source_bytes(source);
    const auto work = begin(tensor);
    // A piece that has to be gathered is so as a whole: many small pieces would each read the whole storage.
    std::optional<GatherTurns::Turn> turn;
    std::span<std::byte> gathered;
    if (!source.is_in_place()) {
      gathered = turn.emplace(turns).buffer().first(piece_bytes);
      gather(checkpoint, source, FileSource(shard), piece.offset(), gathered, *turn);
    }
    for (uint64_t done = 0; done < piece_bytes; done += most_bytes) {
      const uint64_t bytes = std::min(most_bytes, piece_bytes - done);
      const uint64_t offset = piece.offset() + done;
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
                                error.with_tensor(first_name(plan, plan.tensors[pieces[i].tensor]));
                              throw;
                            }
                            return pieces[i].source_bytes(source_of(pieces[i]));
                          },
                      .total_bytes = plan.source_bytes},
                     options);
}

enum class When : uint8_t { files_are_replaced, files_are_there };

void write_index(const OffloadPlan& plan, const Checkpoint& checkpoint, When when) {
  write_file_atomically(plan.folder + "/index.json", [&](const TextSink& sink) {
    OffloadIndexWriter index(sink);
    read_existing_index(plan, [&](const OffloadEntry& entry, EntryFate fate) {
      const bool stays = fate == EntryFate::superseded && when == When::files_are_replaced;
      if (fate == EntryFate::kept || stays) index.add(entry);
    });
    if (when == When::files_are_there) {
      for (uint32_t i = 0; i < plan.names.size(); ++i) index.add(offload_entry(plan, checkpoint, i));
    }
    index.finish();
  });
}

void flush_folder(const OffloadPlan& plan) { flush(plan.folder, O_RDONLY | O_DIRECTORY); }

}  // namespace

void write_offload_folder(const OffloadPlan& plan, const Checkpoint& checkpoint, const LoadOptions& options) {
  if (plan.empty()) return;
  std::error_code failure;
  std::filesystem::create_directory(plan.folder, failure);
  if (failure) throw system_error("making the offload folder", failure.value(), plan.folder);

  Temporaries files(plan);
  for (const OffloadedTensor& tensor : plan.tensors) {
    if (tensor.is_written) files.create(tensor, written_bytes(checkpoint, tensor));
  }
  // The bytes of the shard, and up to twice as many converted.
  for_each_step(plan, checkpoint, options, 3, [&](const OffloadedTensor& tensor) {
    return [writer = Temporaries::Writer(files, tensor)](const Step& step, Buffers& buffers) {
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
      write_index(plan, checkpoint, When::files_are_replaced);
      flush_folder(plan);
    }
    files.rename_all();
    flush_folder(plan);
    write_index(plan, checkpoint, When::files_are_there);
  } catch (...) {
    files.remove_renamed();
    throw;
  }
  flush_folder(plan);
  for (const uint32_t name : change.stale_names) unlink(offloaded_file(plan, plan.names[name]).c_str());
}

uint64_t verify_offload_folder(const OffloadPlan& plan, const Checkpoint& checkpoint,
                               const LoadOptions& options) {
  std::atomic<uint64_t> compared_bytes{0};
  // The bytes of the shard, up to twice as many converted, and as many of the written file.
  for_each_step(plan, checkpoint, options, 5, [&](const OffloadedTensor& tensor) {
    const std::string name = first_name(plan, tensor);
    return [&compared_bytes, name, file = open_regular_file(offloaded_file(plan, name))](const Step& step,
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
