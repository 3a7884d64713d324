#include "core/save/commit_journal.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "core/base/directory.h"
#include "core/base/error.h"
#include "core/base/system_error.h"

namespace hfload {
namespace {

constexpr std::string_view kMark = ".hfload-";
constexpr size_t kRandomDigits = 6;
constexpr std::string_view kJournalHead = "hfload commit 1";
constexpr uint64_t kMaxJournalBytes = 64 << 20;

void remove_file(int directory, const std::string& path, const std::string& name) {
  if (retry_interrupted([&] { return unlinkat(directory, name.c_str(), 0); }) == 0 || errno == ENOENT) return;
  throw system_error("removing a file", errno, path + "/" + name);
}

bool exists(int directory, const std::string& name) {
  struct stat status {};
  return fstatat(directory, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
}

/// Fields end in NUL, which no name holds.
std::string to_text(const Journal& journal) {
  std::string text;
  const auto add = [&](std::string_view field) { text.append(field).push_back('\0'); };
  add(kJournalHead);
  for (const std::string& name : journal.remove_first) add("-" + name);
  for (const auto& [temporary, name] : journal.renames) {
    add(">" + temporary);
    add(name);
  }
  for (const std::string& name : journal.remove_after) add("+" + name);
  return text;
}

bool is_plain(std::string_view name) {
  if (name.empty() || name.front() == '/') return false;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('/', begin), name.size());
    const std::string_view component = name.substr(begin, end - begin);
    if (component.empty() || component == "." || component == "..") return false;
    begin = end + 1;
  }
  return true;
}

Journal parse_journal(std::string_view text, const std::string& path) {
  std::vector<std::string> fields;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\0', begin), text.size());
    fields.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  Journal journal;
  const auto refuse = [&]() -> Error {
    return Error(ErrorCode::unsafe_path, "this is no journal that hfload wrote")
        .with_path(path)
        .with_hint("Look at the file, and remove it if it is not yours.");
  };
  if (fields.empty() || fields[0] != kJournalHead) throw refuse();
  for (size_t i = 1; i < fields.size(); ++i) {
    const std::string name = fields[i].substr(std::min<size_t>(1, fields[i].size()));
    const char kind = fields[i].empty() ? '\0' : fields[i][0];
    if (kind == '>') {
      const bool sound =
          i + 1 < fields.size() && is_temporary_name(name) && is_plain(name) && is_plain(fields[i + 1]);
      if (!sound) throw refuse();
      journal.renames.emplace_back(name, fields[++i]);
    } else if ((kind == '-' || kind == '+') && is_plain(name)) {
      (kind == '-' ? journal.remove_first : journal.remove_after).push_back(name);
    } else {
      throw refuse();
    }
  }
  return journal;
}

void flush_parents(int directory, const std::string& path,
                   const std::vector<std::pair<std::string, std::string>>& renames) {
  std::set<std::string> parents;
  for (const auto& [temporary, name] : renames) {
    if (const size_t slash = name.rfind('/'); slash != std::string::npos)
      parents.insert(name.substr(0, slash));
  }
  for (const std::string& parent : parents) {
    const FileDescriptor fd(retry_interrupted(
        [&] { return openat(directory, parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
    if (!fd) throw system_error("opening the directory", errno, path + "/" + parent);
    flush_directory(fd.get(), path + "/" + parent);
  }
}

}  // namespace

std::string temporary_name(std::string_view name) {
  constexpr size_t kLongest = 200;
  uint32_t random = 0;
  while (getrandom(&random, sizeof random, 0) < 0 && errno == EINTR) {
  }
  return fmt::format(".{}{}{:06x}", name.substr(name.rfind('/') + 1).substr(0, kLongest), kMark,
                     random & 0xFFFFFF);
}

bool is_temporary_name(std::string_view entry) {
  if (entry.size() < kMark.size() + kRandomDigits + 1 || entry.front() != '.') return false;
  const std::string_view digits = entry.substr(entry.size() - kRandomDigits);
  const bool hexadecimal = digits.find_first_not_of("0123456789abcdef") == std::string_view::npos;
  return hexadecimal && entry.substr(0, entry.size() - kRandomDigits).ends_with(kMark);
}

bool is_temporary_name_of(std::string_view entry, std::string_view name) {
  const std::string sample = temporary_name(name);
  return is_temporary_name(entry) && entry.size() == sample.size() &&
         entry.substr(0, entry.size() - kRandomDigits) == sample.substr(0, sample.size() - kRandomDigits);
}

void write_journal(int directory, const std::string& path, const Journal& journal) {
  const std::string temporary = temporary_name("journal"), text = to_text(journal),
                    temporary_path = path + "/" + temporary;
  const FileDescriptor fd(retry_interrupted(
      [&] { return openat(directory, temporary.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600); }));
  if (!fd) throw system_error("creating a journal", errno, temporary_path);
  try {
    write_exactly(fd.get(), 0, std::as_bytes(std::span(text.data(), text.size())), temporary_path);
    if (retry_interrupted([&] { return fsync(fd.get()); }) != 0)
      throw system_error("flushing a journal", errno, temporary_path);
    if (retry_interrupted([&] { return renameat(directory, temporary.c_str(), directory, kJournalName); }) !=
        0)
      throw system_error("renaming a journal", errno, temporary_path);
  } catch (...) {
    unlinkat(directory, temporary.c_str(), 0);
    throw;
  }
}

void carry_out(int directory, const std::string& path, const Journal& journal) {
  // Once the new entry point has its name, which may be that of the old one, the old one is gone.
  if (!journal.renames.empty() && exists(directory, journal.renames.back().first)) {
    for (const std::string& name : journal.remove_first) remove_file(directory, path, name);
    flush_directory(directory, path);
  }
  for (size_t i = 0; i < journal.renames.size(); ++i) {
    const auto& [temporary, name] = journal.renames[i];
    // The entry point names the others, which must be on the disk before it.
    if (i > 0 && i + 1 == journal.renames.size()) {
      flush_parents(directory, path, journal.renames);
      flush_directory(directory, path);
    }
    const int status = retry_interrupted([&, &from = temporary, &to = name] {
      return renameat(directory, from.c_str(), directory, to.c_str());
    });
    if (status != 0 && errno != ENOENT)
      throw system_error("renaming a file to its final name", errno, path + "/" + name);
  }
  flush_directory(directory, path);
  for (const std::string& name : journal.remove_after) remove_file(directory, path, name);
  remove_file(directory, path, kJournalName);
  flush_directory(directory, path);
}

void recover_directory(int directory, const std::string& path) {
  const std::string journal_path = path + "/" + kJournalName;
  FileDescriptor fd(
      retry_interrupted([&] { return openat(directory, kJournalName, O_RDONLY | O_CLOEXEC | O_NOFOLLOW); }));
  if (fd) {
    struct stat status {};
    if (fstat(fd.get(), &status) != 0) throw system_error("reading a journal", errno, journal_path);
    RegularFile file{std::move(fd), {}, journal_path};
    if (!S_ISREG(status.st_mode) || static_cast<uint64_t>(status.st_size) > kMaxJournalBytes) {
      throw Error(ErrorCode::unsafe_path, "this is no journal that hfload wrote").with_path(journal_path);
    }
    std::string text(static_cast<size_t>(status.st_size), '\0');
    read_exactly(file, 0, std::as_writable_bytes(std::span(text)));
    carry_out(directory, path, parse_journal(text, journal_path));
  } else if (errno != ENOENT) {
    throw system_error("opening a journal", errno, journal_path);
  }
  for (const std::string& name : list_directory(directory, path)) {
    if (is_temporary_name(name)) remove_tree(directory, name);
  }
}

void remove_abandoned(int directory, const std::string& path, std::string_view name) {
  for (const std::string& entry : list_directory(directory, path)) {
    if (!is_temporary_name_of(entry, name)) continue;
    const FileDescriptor fd(retry_interrupted(
        [&] { return openat(directory, entry.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK); }));
    if (fd && flock(fd.get(), LOCK_EX | LOCK_NB) == 0) remove_tree(directory, entry);
  }
}

bool try_lock(int fd) {
  if (retry_interrupted([&] { return flock(fd, LOCK_EX | LOCK_NB); }) == 0) return true;
  return errno != EWOULDBLOCK;
}

void flush_directory(int directory, const std::string& path) {
  if (retry_interrupted([&] { return fsync(directory); }) == 0) return;
  // Some file systems cannot flush a directory, and need it not.
  if (errno != EINVAL) throw system_error("flushing the directory", errno, path);
}

void remove_tree(int directory, const std::string& name) noexcept {
  if (retry_interrupted([&] { return unlinkat(directory, name.c_str(), 0); }) == 0) return;
  if (errno != EISDIR && errno != EPERM) return;
  try {
    const FileDescriptor below(retry_interrupted(
        [&] { return openat(directory, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW); }));
    if (!below) return;
    for (const std::string& entry : list_directory(below.get(), name)) remove_tree(below.get(), entry);
  } catch (const std::exception&) {
    return;  // what cannot be listed stays
  }
  retry_interrupted([&] { return unlinkat(directory, name.c_str(), AT_REMOVEDIR); });
}

}  // namespace hfload
