#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/file.h"
#include "core/save/commit.h"

namespace hfload {

/// What the commit of files into an existing directory does, in its order. All names are relative to the
/// directory.
struct Journal {
  std::vector<std::string> remove_first;
  std::vector<std::pair<std::string, std::string>> renames;  ///< temporary, final name; the entry point last
  std::vector<std::string> remove_after;
};

inline constexpr const char* kJournalName = ".hfload-journal";

/// ".NAME.hfload-XXXXXX" with fresh random digits; a name that would be too long is cut.
std::string temporary_name(std::string_view name);
/// Whether `entry` is such a name, of any NAME or of this one.
bool is_temporary_name(std::string_view entry);
bool is_temporary_name_of(std::string_view entry, std::string_view name);

/// Writes the journal into the directory, flushed, and gives it its name. Throws Error(no_space, io_error).
void write_journal(int directory, const std::string& path, const Journal& journal);

/// Carries the journal out and removes it. What is done already is passed over, so that it can be carried out
/// again after it was interrupted anywhere. Throws Error(io_error).
void carry_out(int directory, const std::string& path, const Journal& journal);

/// In a directory that the caller has locked: finishes the commit that a journal describes, and removes
/// temporary names. A journal that is no journal of ours is refused with Error(unsafe_path).
void recover_directory(int directory, const std::string& path);

/// Removes temporary names of NAME in a directory, files and directories, whose lock nobody holds.
void remove_abandoned(int directory, const std::string& path, std::string_view name);

/// Takes the lock of an open file or directory. False when another process has it; true also where the file
/// system has no locks.
bool try_lock(int fd);

/// Flushes a directory. Throws Error(io_error).
void flush_directory(int directory, const std::string& path);

/// Removes a directory entry with all below it, as far as that is possible.
void remove_tree(int directory, const std::string& name) noexcept;

}  // namespace hfload
