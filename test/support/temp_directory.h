#pragma once

#include <string>
#include <string_view>

namespace hfload::test {

/// A directory of its own for one test, removed with all that is in it.
class TempDirectory {
 public:
  TempDirectory();
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;
  ~TempDirectory();

  const std::string& path() const { return path_; }
  /// The path of `name` in the directory.
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }
  /// Writes a file, with the directories above it; returns its path.
  std::string write(std::string_view name, std::string_view content) const;
  /// Makes `name` a symbolic link with that text, with the directories above it; returns its path.
  std::string link(std::string_view name, const std::string& target) const;

 private:
  std::string path_;
};

}  // namespace hfload::test
