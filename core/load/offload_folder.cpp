#include "core/load/offload_folder.h"

#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/name_hash.h"
#include "core/load/read_schedule.h"

namespace hfload {
namespace {

constexpr uint64_t kMaxIndexBytes = 100'000'000;
/// NAME_MAX of Linux, for a folder that does not exist yet.
constexpr size_t kUsualNameBytes = 255;
constexpr const char* kUseInPlace =
    "Leave out --offload-folder: the checkpoint's files are then used in place.";

std::string path_in(const std::string& folder, std::string_view file) {
  return fmt::format("{}{}{}", folder, folder.ends_with('/') ? "" : "/", file);
}

/// As for a conversion's destination: a mistyped path makes no directories.
void require_parent(std::string folder) {
  while (folder.size() > 1 && folder.ends_with('/')) folder.pop_back();
  const std::string parent = std::filesystem::path(folder).parent_path().string();
  std::error_code ignored;
  if (parent.empty() || std::filesystem::exists(parent, ignored)) return;
  throw Error(ErrorCode::not_found, "the directory does not exist")
      .with_path(parent)
      .with_hint("Make the directory first; hfload makes only the last one of a path.");
}

std::vector<OffloadEntry> read_existing_index(const std::string& folder) {
  struct stat status {};
  if (stat(folder.c_str(), &status) != 0) {
    if (errno == ENOENT) {
      require_parent(folder);
      return {};
    }
    throw Error(ErrorCode::io_error,
                fmt::format("the offload folder cannot be used: {}", std::generic_category().message(errno)))
        .with_path(folder);
  }
  if (!S_ISDIR(status.st_mode)) {
    throw Error(ErrorCode::io_error, "the offload folder is not a directory")
        .with_path(folder)
        .with_hint("Give --offload-folder a directory, or a name that does not exist yet.");
  }
  const std::string path = path_in(folder, "index.json");
  struct stat index {};
  if (lstat(path.c_str(), &index) != 0 && errno == ENOENT) return {};
  try {
    return parse_offload_index(read_text_file(open_regular_file(path), kMaxIndexBytes));
  } catch (Error& error) {
    if (error.path().empty()) error.with_path(path);
    if (error.hint().empty())
      error.with_hint("The folder holds something else than offloaded weights: give another folder.");
    throw;
  }
}

/// By the name of a tensor, its entry in a list of entries.
using EntryLookup = NameMap<size_t>;

EntryLookup look_up(const std::vector<OffloadEntry>& entries) {
  EntryLookup lookup;
  for (size_t i = 0; i < entries.size(); ++i) lookup.emplace(entries[i].name, i);
  return lookup;
}

size_t longest_name(const std::string& folder) {
  const long limit = pathconf(folder.c_str(), _PC_NAME_MAX);
  return limit > 0 ? static_cast<size_t>(limit) : kUsualNameBytes;
}

void require_safe_name(const std::string& name, const std::string& folder, size_t longest) {
  const std::string_view fault = name.empty()                           ? "is empty"
                                 : name.find('/') != std::string::npos  ? "has a slash"
                                 : name.find('\0') != std::string::npos ? "has a NUL character"
                                 : name.find("..") != std::string::npos ? "has two dots in a row"
                                                                        : "";
  if (!fault.empty()) {
    throw Error(
        ErrorCode::unsafe_path,
        fmt::format("the tensor's name {}, and cannot be the name of a file in the offload folder", fault))
        .with_path(folder)
        .with_tensor(name)
        .with_hint(kUseInPlace);
  }
  const size_t bytes = name.size() + std::string_view(".dat").size();
  if (bytes <= longest) return;
  throw Error(
      ErrorCode::unsafe_path,
      fmt::format("the tensor's file in the offload folder would have a name of {} bytes, and the file "
                  "system takes {}",
                  bytes, longest))
      .with_path(folder)
      .with_tensor(name)
      .with_hint(kUseInPlace);
}

/// An index of someone else's making may hold names that lead out of the folder.
bool is_file_name(std::string_view name) {
  return name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

/// A .dat file is ours to replace where the folder's index names it.
void require_replaceable(const std::string& path, const std::string& name,
                         const std::vector<OffloadEntry>& existing, const EntryLookup& lookup) {
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return;
    throw Error(ErrorCode::io_error,
                fmt::format("looking at the file failed: {}", std::generic_category().message(errno)))
        .with_path(path);
  }
  const auto known = lookup.find(name);
  const bool is_ours = known != lookup.end() && !existing[known->second].in_place();
  if (is_ours && S_ISREG(status.st_mode)) return;
  throw Error(ErrorCode::file_exists, "the file exists, and is no weight that the folder's index.json names")
      .with_path(path)
      .with_tensor(name)
      .with_hint("Remove it if it is not needed, or give another --offload-folder.");
}

class OffloadPlanner {
 public:
  OffloadPlanner(const ModuleTree& tree, const Checkpoint& checkpoint, const std::string& folder)
      : checkpoint_(checkpoint), longest_name_(longest_name(folder)) {
    plan_.folder = folder;
    for (const ShellTensor& tensor : tree.tensors) places_[tensor.object].push_back(tensor.name);
  }

  void add(const TensorPlacement& placement, Dtype memory_dtype) {
    const CheckpointTensor& source = checkpoint_.tensors.at(placement.checkpoint);
    const std::vector<std::string>& names = places_.at(placement.tensor);
    // accelerate opens the file of an entry in place as safetensors.
    const bool is_safetensors = checkpoint_.shards.at(source.shard).format == ShardFormat::safetensors;
    if (source.dtype == memory_dtype && is_safetensors) {
      add_in_place(source, names);
    } else {
      add_written(placement.checkpoint, memory_dtype, names);
    }
  }

  OffloadPlan finish() { return std::move(plan_); }

 private:
  void add_in_place(const CheckpointTensor& source, const std::vector<std::string>& names) {
    const std::string& directory = checkpoint_.location.directory;
    const std::string& file = checkpoint_.shards.at(source.shard).file;
    // Readable from any directory that Python is started in.
    std::error_code fault;
    const std::string path =
        std::filesystem::absolute(directory.empty() ? file : path_in(directory, file), fault);
    if (fault)
      throw Error(ErrorCode::io_error, "there is no working directory: " + fault.message())
          .with_path(directory)
          .with_hint("It was deleted or moved: change to another one, or give absolute paths.");
    for (const std::string& name : names) {
      plan_.entries.push_back({.name = name,
                               .dtype = std::string(dtype_info(source.dtype).torch_name),
                               .shape = {},
                               .safetensors_file = path,
                               .weight_name = source.name.str()});
    }
    ++plan_.in_place_tensors;
  }

  void add_written(uint32_t checkpoint, Dtype dtype, const std::vector<std::string>& names) {
    const CheckpointTensor& source = checkpoint_.tensors[checkpoint];
    for (const std::string& name : names) {
      require_safe_name(name, plan_.folder, longest_name_);
      // numpy's names are torch's; bfloat16 and those of 8 bits, which numpy lacks, accelerate calls by
      // torch's as well.
      plan_.entries.push_back({.name = name,
                               .dtype = std::string(dtype_info(dtype).torch_name),
                               .shape = source.shape,
                               .safetensors_file = {},
                               .weight_name = {}});
    }
    const CastKind cast = cast_between(source.dtype, dtype);
    const uint64_t bytes = source.bytes() / cast_source_bytes(cast) * cast_target_bytes(cast);
    plan_.written.push_back({checkpoint, cast, bytes, names});
    plan_.source_bytes += source.bytes();
    plan_.written_bytes += bytes;
  }

  const Checkpoint& checkpoint_;
  size_t longest_name_;
  std::unordered_map<TensorId, std::vector<std::string>> places_;
  OffloadPlan plan_;
};

}  // namespace

std::string offloaded_file(const OffloadPlan& plan, const std::string& name) {
  return path_in(plan.folder, name + ".dat");
}

OffloadPlan plan_offload(const LoadPlan& plan, const ModuleTree& tree, const Checkpoint& checkpoint,
                         const std::string& folder) {
  if (plan.disk_bytes == 0) {
    const auto on_disk = [](const TensorPlacement& p) { return p.device == Device::disk(); };
    if (std::none_of(plan.placements.begin(), plan.placements.end(), on_disk)) return {};
  }
  OffloadPlanner planner(tree, checkpoint, folder);
  for (const TensorPlacement& placement : plan.placements) {
    if (placement.device == Device::disk()) planner.add(placement, tree.tensors.at(placement.tensor).dtype);
  }
  OffloadPlan planned = planner.finish();
  // What is wrong with the folder is known before any weights are read.
  plan_index_change(planned);
  return planned;
}

IndexChange plan_index_change(const OffloadPlan& plan) {
  const std::vector<OffloadEntry> existing = read_existing_index(plan.folder);
  const EntryLookup lookup = look_up(existing);
  for (const WrittenTensor& tensor : plan.written) {
    for (const std::string& name : tensor.names)
      require_replaceable(offloaded_file(plan, name), name, existing, lookup);
  }
  IndexChange change;
  change.entries = existing;
  std::vector<bool> is_replaced(existing.size(), false);
  for (const OffloadEntry& entry : plan.entries) {
    const auto known = lookup.find(entry.name);
    if (known == lookup.end()) {
      change.entries.push_back(entry);
      continue;
    }
    const bool had_file = !existing[known->second].in_place();
    if (had_file && !entry.in_place()) is_replaced[known->second] = change.replaces_files = true;
    if (had_file && entry.in_place() && is_file_name(entry.name))
      change.stale_files.push_back(offloaded_file(plan, entry.name));
    change.entries[known->second] = entry;
  }
  for (size_t i = 0; i < existing.size(); ++i) {
    if (!is_replaced[i]) change.interim_entries.push_back(existing[i]);
  }
  return change;
}

}  // namespace hfload
