#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/file.h"
#include "core/base/text_sink.h"

namespace hfload {

/// What happens in an existing directory besides the renames of new files.
struct CommitSteps {
  std::vector<std::string>
      remove_first;  ///< entry points of the old set: after this, readers see no set at all
  std::string last;  ///< the entry point of the new set, its commit point
  std::vector<std::string> remove_after;  ///< files of the old set that the new one does not replace
};

/// A set of files that appears in its destination at once, or not at all (docs/convert.md, write protocol).
///
/// A directory that does not exist yet is written under the name `.NAME.hfload-XXXXXX` beside its place and
/// renamed as a whole. In a directory that exists, files are written as `.NAME.hfload-XXXXXX`; then a journal
/// `.hfload-journal` is written, from which the next run finishes what a crash interrupted; then the old
/// entry points are removed, the files renamed, the entry point last, and stale files removed. Every file is
/// flushed before it is renamed, every directory afterwards.
///
/// Until commit() is called nothing but `.*.hfload-*` names is created, and the destructor removes them. What
/// a killed process leaves is removed, or finished, by the next one; locks (flock) tell the dead from the
/// living.
class StagedFiles {
 public:
  /// The files of the directory `path`. Its parent must exist. First finishes or removes what an interrupted
  /// run left. Throws Error(destination_busy) when another process writes to it, Error(not_a_file) when it is
  /// a file, Error(not_found), Error(io_error).
  static StagedFiles in_directory(const std::string& path);
  /// One file of its own, whose directory exists.
  static StagedFiles of_file(const std::string& path);

  StagedFiles(StagedFiles&&) noexcept;
  StagedFiles& operator=(StagedFiles&&) = delete;
  ~StagedFiles();

  /// Creates a file and reserves its bytes on the disk. `name` is relative to the destination, of plain
  /// components. Throws Error(no_space, io_error).
  size_t add(const std::string& name, uint64_t bytes);
  /// Creates a file with this content, and flushes it.
  void add_text(const std::string& name, std::string_view text);
  /// The same of a text that `write` makes, of so many bytes.
  void add_text(const std::string& name, uint64_t bytes, const std::function<void(const TextSink&)>& write);

  /// Opens a file that was added, for writing.
  FileDescriptor open(size_t file) const;
  /// Flushes a file to the disk and closes it. Called from several threads for different files.
  void finish(size_t file, FileDescriptor fd) const;
  /// The path of a file while it is written, for messages.
  std::string path(size_t file) const;

  /// Puts the files, all of which are finished, in their places. When it throws after the journal was
  /// written, the next run finishes the commit. Throws Error(destination_exists) when something has appeared
  /// at the place of a new directory, Error(io_error).
  void commit(const CommitSteps& steps);

  /// Whether the destination is a directory that did not exist.
  bool is_new_directory() const { return mode_ == Mode::new_directory; }

 private:
  enum class Mode : uint8_t { new_directory, existing_directory, single_file };
  struct File {
    std::string name;
    std::string temporary;  ///< in work_
    FileDescriptor lock;    ///< held in the mode single_file
  };

  StagedFiles(Mode mode, std::string destination);
  void create_directory();
  void lock_directory();
  void rename_files(const CommitSteps& steps);
  std::string temporary_for(const std::string& name);
  void make_parents(const std::string& name);
  void discard() noexcept;

  Mode mode_;
  std::string destination_;  ///< path of the directory, or of the directory that holds the one file
  std::string work_path_;    ///< where files are written
  FileDescriptor parent_;    ///< of a new directory
  FileDescriptor work_;
  std::string work_name_;  ///< of a new directory: its temporary name in the parent
  std::vector<File> files_;
  bool keep_ = false;  ///< nothing is to be removed: committed, or left to the next run
};

/// Refuses what StagedFiles refuses at once, changing nothing: a parent directory that is not there, a file
/// where a directory is to be. Throws Error(not_found, not_a_file, io_error).
void require_place(const std::string& path, bool is_directory);

/// Finishes or removes what interrupted runs left for the directory or file `path`, as StagedFiles does
/// before it begins. Throws as StagedFiles::in_directory.
void clean_leftovers(const std::string& path);

}  // namespace hfload
