#include "core/check/links.h"

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <string>

namespace hfload {
namespace {

namespace fs = std::filesystem;

bool lies_in(const fs::path& file, const fs::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), file.begin(), file.end()).first == folder.end();
}

}  // namespace

std::vector<Finding> find_links_that_leave(const Checkpoint& checkpoint) {
  const ModelLocation& location = checkpoint.location;
  if (location.is_file) return {};
  std::vector<fs::path> own;
  for (const std::string& folder : location.own_folders) {
    std::error_code fault;
    const fs::path canonical = fs::canonical(folder.empty() ? "." : folder, fault);
    if (!fault) own.push_back(canonical);
  }
  std::vector<std::string> leaving;
  const auto look_at = [&](const fs::path& path) {
    std::error_code fault;
    const fs::path target = fs::canonical(path, fault);
    if (fault || std::ranges::any_of(own, [&](const fs::path& folder) { return lies_in(target, folder); }))
      return;
    leaving.push_back(fmt::format("{} -> {}", path.filename().string(), target.string()));
  };
  if (!location.config_path.empty()) look_at(location.config_path);
  if (location.weights_path.ends_with(".json")) look_at(location.weights_path);
  for (const Shard& shard : checkpoint.shards) {
    if (shard.present) look_at(fs::path(location.directory) / shard.file);
  }
  if (leaving.empty()) return {};
  std::ranges::sort(leaving);
  const bool one = leaving.size() == 1;
  return {{"links_leave",
           fmt::format("{} of the model {} out of its folder",
                       one ? "a link" : fmt::format("{} links", leaving.size()), one ? "leads" : "lead"),
           std::move(leaving)}};
}

}  // namespace hfload
