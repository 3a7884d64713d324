#include "core/save/commit.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "core/base/error.h"
#include "core/base/system_error.h"
#include "core/base/units.h"
#include "core/save/commit_journal.h"

namespace hfload {
namespace {

constexpr int kNameTries = 100;

struct SplitPath {
  std::string parent, name;
};

SplitPath split_path(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {".", path};
  return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

FileDescriptor open_directory(const std::string& path) {
  FileDescriptor fd(
      retry_interrupted([&] { return open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (fd) return fd;
  if (errno == ENOENT) {
    throw Error(ErrorCode::not_found, "the directory does not exist")
        .with_path(path)
        .with_hint("Make the directory first; hfload makes only the last one of a path.");
  }
  if (errno == ENOTDIR)
    throw Error(ErrorCode::not_a_file, "a file stands where a directory is needed").with_path(path);
  throw system_error("opening the directory", errno, path);
}

bool exists(const std::string& path) {
  struct stat status {};
  return lstat(path.c_str(), &status) == 0;
}

/// Throws Error(no_space) with what is there and what is needed.
[[noreturn]] void throw_full(int directory, uint64_t bytes, const std::string& path, Error error) {
  struct statvfs space {};
  if (fstatvfs(directory, &space) != 0) throw error;
  const uint64_t free = uint64_t{space.f_bavail} * space.f_frsize;
  throw Error(ErrorCode::no_space,
              fmt::format("{} bytes are needed for this file, and the disk has {} left ({})", bytes, free,
                          format_byte_size(static_cast<double>(free))))
      .with_path(path)
      .with_hint(error.hint());
}

/// Takes the room that a file will need, so that a full disk is found before anything is written.
void reserve(int fd, uint64_t bytes, const std::string& path) {
  if (bytes == 0) return;
  if (bytes > static_cast<uint64_t>(INT64_MAX))
    throw Error(ErrorCode::io_error, "no file can be as large").with_path(path);
  const auto size = static_cast<off_t>(bytes);
  if (retry_interrupted([&] { return fallocate(fd, 0, 0, size); }) == 0) return;
  if (errno != EOPNOTSUPP && errno != ENOSYS) throw system_error("reserving room for the file", errno, path);
  if (retry_interrupted([&] { return ftruncate(fd, size); }) != 0)
    throw system_error("setting the size of the file", errno, path);
}

}  // namespace

void require_place(const std::string& path, bool is_directory) {
  open_directory(is_directory && exists(path) ? path : split_path(path).parent);
}

void clean_leftovers(const std::string& path) {
  const auto [parent, name] = split_path(path);
  struct stat status {};
  if (stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) {
    const FileDescriptor directory = open_directory(path);
    if (!try_lock(directory.get())) return;
    recover_directory(directory.get(), path);
    return;
  }
  const FileDescriptor directory = open_directory(parent);
  remove_abandoned(directory.get(), parent, name);
}

StagedFiles StagedFiles::in_directory(const std::string& path) {
  if (!exists(path)) {
    StagedFiles files(Mode::new_directory, path);
    files.create_directory();
    return files;
  }
  StagedFiles files(Mode::existing_directory, path);
  files.work_path_ = path;
  files.work_ = open_directory(path);
  files.lock_directory();
  recover_directory(files.work_.get(), path);
  return files;
}

StagedFiles StagedFiles::of_file(const std::string& path) {
  auto [parent, name] = split_path(path);
  StagedFiles files(Mode::single_file, parent);
  files.work_path_ = parent;
  files.work_ = open_directory(parent);
  remove_abandoned(files.work_.get(), parent, name);
  return files;
}

StagedFiles::StagedFiles(Mode mode, std::string destination)
    : mode_(mode), destination_(std::move(destination)) {}

StagedFiles::StagedFiles(StagedFiles&& other) noexcept
    : mode_(other.mode_),
      destination_(std::move(other.destination_)),
      work_path_(std::move(other.work_path_)),
      parent_(std::move(other.parent_)),
      work_(std::move(other.work_)),
      work_name_(std::move(other.work_name_)),
      files_(std::move(other.files_)),
      keep_(std::exchange(other.keep_, true)) {}

StagedFiles::~StagedFiles() {
  if (!keep_) discard();
}

void StagedFiles::discard() noexcept {
  if (mode_ == Mode::new_directory) {
    if (!work_name_.empty()) remove_tree(parent_.get(), work_name_);
    return;
  }
  for (const File& file : files_) remove_tree(work_.get(), file.temporary);
}

void StagedFiles::create_directory() {
  const auto [parent, name] = split_path(destination_);
  parent_ = open_directory(parent);
  remove_abandoned(parent_.get(), parent, name);
  for (int i = 0; i < kNameTries && work_name_.empty(); ++i) {
    const std::string candidate = temporary_name(name);
    if (retry_interrupted([&] { return mkdirat(parent_.get(), candidate.c_str(), 0777); }) == 0) {
      work_name_ = candidate;
    } else if (errno != EEXIST) {
      throw system_error("creating a directory", errno, parent + "/" + candidate);
    }
  }
  work_path_ = parent + "/" + work_name_;
  work_ = open_directory(work_path_);
  lock_directory();
}

void StagedFiles::lock_directory() {
  if (try_lock(work_.get())) return;
  throw Error(ErrorCode::destination_busy, "another hfload is writing to this directory")
      .with_path(work_path_)
      .with_hint("Wait until it has ended, or choose another directory.");
}

std::string StagedFiles::path(size_t file) const { return work_path_ + "/" + files_[file].temporary; }

void StagedFiles::make_parents(const std::string& name) {
  for (size_t slash = name.find('/'); slash != std::string::npos; slash = name.find('/', slash + 1)) {
    const std::string directory = name.substr(0, slash);
    if (retry_interrupted([&] { return mkdirat(work_.get(), directory.c_str(), 0777); }) == 0 ||
        errno == EEXIST)
      continue;
    throw system_error("creating a directory", errno, work_path_ + "/" + directory);
  }
}

size_t StagedFiles::add(const std::string& name, uint64_t bytes) {
  if (mode_ == Mode::new_directory) make_parents(name);
  FileDescriptor fd;
  std::string temporary;
  for (int i = 0; i < kNameTries && !fd; ++i) {
    temporary = mode_ == Mode::new_directory ? name : temporary_name(name);
    fd = FileDescriptor(retry_interrupted([&] {
      return openat(work_.get(), temporary.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW,
                    0666);
    }));
    if (!fd && (errno != EEXIST || mode_ == Mode::new_directory))
      throw system_error("creating a file", errno, work_path_ + "/" + temporary);
  }
  if (!fd) throw system_error("creating a file", EEXIST, work_path_ + "/" + temporary);
  files_.push_back({name, temporary, {}});
  const std::string file_path = path(files_.size() - 1);
  try {
    reserve(fd.get(), bytes, file_path);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::no_space) throw_full(work_.get(), bytes, file_path, error);
    throw;
  }
  if (mode_ == Mode::single_file) {
    try_lock(fd.get());
    files_.back().lock = std::move(fd);
  }
  return files_.size() - 1;
}

void StagedFiles::add_text(const std::string& name, std::string_view text) {
  add_text(name, text.size(), [&](const TextSink& sink) { sink(text); });
}

void StagedFiles::add_text(const std::string& name, uint64_t bytes,
                           const std::function<void(const TextSink&)>& write) {
  const size_t file = add(name, bytes);
  FileDescriptor fd = open(file);
  uint64_t offset = 0;
  write([&](std::string_view text) {
    write_exactly(fd.get(), offset, std::as_bytes(std::span(text.data(), text.size())), path(file));
    offset += text.size();
  });
  finish(file, std::move(fd));
}

FileDescriptor StagedFiles::open(size_t file) const {
  FileDescriptor fd(retry_interrupted([&] {
    return openat(work_.get(), files_[file].temporary.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
  }));
  if (!fd) throw system_error("opening a file that is being written", errno, path(file));
  return fd;
}

void StagedFiles::finish(size_t file, FileDescriptor fd) const {
  if (retry_interrupted([&] { return fsync(fd.get()); }) != 0)
    throw system_error("flushing the file to the disk", errno, path(file));
  // Linux closes a descriptor even where close reports a fault; after EINTR there is none.
  if (close(fd.release()) != 0 && errno != EINTR) throw system_error("closing the file", errno, path(file));
}

void StagedFiles::commit(const CommitSteps& steps) {
  if (mode_ == Mode::new_directory) {
    flush_directory(work_.get(), work_path_);
    const auto [parent, name] = split_path(destination_);
    if (retry_interrupted([&, &to = name] {
          return renameat(parent_.get(), work_name_.c_str(), parent_.get(), to.c_str());
        }) != 0) {
      if (errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR)
        throw Error(ErrorCode::destination_exists, "another program has made this while it was written")
            .with_path(destination_);
      throw system_error("renaming the directory to its final name", errno, destination_);
    }
    keep_ = true;
    flush_directory(parent_.get(), parent);
    return;
  }
  rename_files(steps);
}

void StagedFiles::rename_files(const CommitSteps& steps) {
  Journal journal{steps.remove_first, {}, steps.remove_after};
  for (const File& file : files_) {
    if (file.name != steps.last) journal.renames.emplace_back(file.temporary, file.name);
  }
  for (const File& file : files_) {
    if (file.name == steps.last) journal.renames.emplace_back(file.temporary, file.name);
  }
  if (mode_ == Mode::single_file) {
    const auto& [temporary, name] = journal.renames.back();
    if (retry_interrupted([&, &from = temporary, &to = name] {
          return renameat(work_.get(), from.c_str(), work_.get(), to.c_str());
        }) != 0)
      throw system_error("renaming the file to its final name", errno, work_path_ + "/" + name);
    keep_ = true;
    flush_directory(work_.get(), work_path_);
    return;
  }
  for (const File& file : files_) make_parents(file.name);
  // The temporary names must be on the disk before a journal that speaks of them.
  flush_directory(work_.get(), work_path_);
  write_journal(work_.get(), work_path_, journal);
  keep_ = true;
  try {
    flush_directory(work_.get(), work_path_);
    carry_out(work_.get(), work_path_, journal);
  } catch (Error& error) {
    error.with_hint("All is written; run the same command again to finish, or remove the .hfload-* files.");
    throw;
  }
}

}  // namespace hfload
