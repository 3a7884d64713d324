#include "core/load/offload_folder.h"

#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/name_table.h"
#include "core/load/read_schedule.h"

namespace hfload {
namespace {

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

/// Passes on the entries of the folder's index.json, where there is one.
void read_existing_index(const std::string& folder, const OffloadEntrySink& sink) {
  struct stat status {};
  if (stat(folder.c_str(), &status) != 0) {
    if (errno == ENOENT) {
      require_parent(folder);
      return;
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
  if (lstat(path.c_str(), &index) != 0 && errno == ENOENT) return;
  try {
    read_offload_index(open_regular_file(path), sink);
  } catch (Error& error) {
    if (error.path().empty()) error.with_path(path);
    if (error.hint().empty())
      error.with_hint("The folder holds something else than offloaded weights: give another folder.");
    throw;
  }
}

size_t longest_name(const std::string& folder) {
  const long limit = pathconf(folder.c_str(), _PC_NAME_MAX);
  return limit > 0 ? static_cast<size_t>(limit) : kUsualNameBytes;
}

void require_safe_name(std::string_view name, const std::string& folder, size_t longest) {
  const std::string_view fault = name.empty()                                ? "is empty"
                                 : name.find('/') != std::string_view::npos  ? "has a slash"
                                 : name.find('\0') != std::string_view::npos ? "has a NUL character"
                                 : name.find("..") != std::string_view::npos ? "has two dots in a row"
                                                                             : "";
  if (!fault.empty()) {
    throw Error(
        ErrorCode::unsafe_path,
        fmt::format("the tensor's name {}, and cannot be the name of a file in the offload folder", fault))
        .with_path(folder)
        .with_tensor(std::string(name))
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
      .with_tensor(std::string(name))
      .with_hint(kUseInPlace);
}

/// An index of someone else's making may hold names that lead out of the folder.
bool is_file_name(std::string_view name) {
  return name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

/// A .dat file is ours to replace where the folder's index names it.
void require_replaceable(const std::string& path, std::string_view name, bool is_ours) {
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return;
    throw Error(ErrorCode::io_error,
                fmt::format("looking at the file failed: {}", std::generic_category().message(errno)))
        .with_path(path);
  }
  if (is_ours && S_ISREG(status.st_mode)) return;
  throw Error(ErrorCode::file_exists, "the file exists, and is no weight that the folder's index.json names")
      .with_path(path)
      .with_tensor(std::string(name))
      .with_hint("Remove it if it is not needed, or give another --offload-folder.");
}

class OffloadPlanner {
 public:
  OffloadPlanner(const ModuleTree& tree, const Checkpoint& checkpoint, const std::string& folder)
      : tree_(tree),
        checkpoint_(checkpoint),
        longest_name_(longest_name(folder)),
        first_place_(tree.tensors.size(), kNoId),
        next_place_(tree.tensors.size(), kNoId) {
    plan_.folder = folder;
    plan_.texts = tree.texts;
    for (auto place = static_cast<TensorId>(tree.tensors.size()); place-- > 0;) {
      TensorId& first = first_place_.at(tree.tensors[place].object);
      next_place_[place] = first;
      first = place;
    }
  }

  void add(const TensorPlacement& placement) {
    const CheckpointTensor& source = checkpoint_.tensors.at(placement.checkpoint);
    OffloadedTensor tensor{.checkpoint = placement.checkpoint,
                           .first_name = static_cast<uint32_t>(plan_.names.size()),
                           .dtype = tree_.tensors.at(placement.tensor).dtype};
    // accelerate opens the file of an entry in place as safetensors.
    tensor.is_written = source.dtype != tensor.dtype ||
                        checkpoint_.shards.at(source.shard).format != ShardFormat::safetensors;
    for (TensorId place = first_place_.at(placement.tensor); place != kNoId; place = next_place_[place]) {
      const PooledText& name = tree_.tensors[place].name;
      if (tensor.is_written) require_safe_name(name, plan_.folder, longest_name_);
      plan_.names.push_back({name, static_cast<uint32_t>(plan_.tensors.size())});
      ++tensor.name_count;
    }
    if (tensor.is_written) {
      ++plan_.written_tensors;
      plan_.source_bytes += source.bytes();
      plan_.written_bytes += written_bytes(checkpoint_, tensor);
    } else {
      ++plan_.in_place_tensors;
      find_path(source.shard);
    }
    plan_.tensors.push_back(tensor);
  }

  OffloadPlan finish() { return std::move(plan_); }

 private:
  /// Readable from any directory that Python is started in.
  void find_path(uint32_t shard) {
    plan_.shard_paths.resize(checkpoint_.shards.size());
    std::string& path = plan_.shard_paths[shard];
    if (!path.empty()) return;
    const std::string& directory = checkpoint_.location.directory;
    const std::string& file = checkpoint_.shards[shard].file;
    std::error_code fault;
    path = std::filesystem::absolute(directory.empty() ? file : path_in(directory, file), fault);
    if (fault)
      throw Error(ErrorCode::io_error, "there is no working directory: " + fault.message())
          .with_path(directory)
          .with_hint("It was deleted or moved: change to another one, or give absolute paths.");
  }

  const ModuleTree& tree_;
  const Checkpoint& checkpoint_;
  size_t longest_name_;
  std::vector<TensorId> first_place_;  ///< by object
  std::vector<TensorId> next_place_;   ///< of the same object, by place
  OffloadPlan plan_;
};

}  // namespace

std::string offloaded_file(const OffloadPlan& plan, std::string_view name) {
  return path_in(plan.folder, fmt::format("{}.dat", name));
}

uint64_t written_bytes(const Checkpoint& checkpoint, const OffloadedTensor& tensor) {
  const CheckpointTensor& source = checkpoint.tensors[tensor.checkpoint];
  const CastKind cast = cast_between(source.dtype, tensor.dtype);
  return source.bytes() / cast_source_bytes(cast) * cast_target_bytes(cast);
}

OffloadEntry offload_entry(const OffloadPlan& plan, const Checkpoint& checkpoint, uint32_t name) {
  const OffloadedTensor& tensor = plan.tensors[plan.names[name].tensor];
  const CheckpointTensor& source = checkpoint.tensors[tensor.checkpoint];
  // numpy's names are torch's; bfloat16 and those of 8 bits, which numpy lacks, accelerate calls by torch's
  // as well.
  OffloadEntry entry{.name = plan.names[name].text,
                     .dtype = std::string(dtype_info(tensor.dtype).torch_name),
                     .shape = {},
                     .safetensors_file = {},
                     .weight_name = {}};
  if (tensor.is_written) {
    entry.shape = source.shape;
  } else {
    entry.safetensors_file = plan.shard_paths[source.shard];
    entry.weight_name = source.name.str();
  }
  return entry;
}

OffloadPlan plan_offload(const LoadPlan& plan, const ModuleTree& tree, const Checkpoint& checkpoint,
                         const std::string& folder) {
  if (plan.disk_bytes == 0) {
    const auto on_disk = [](const TensorPlacement& p) { return p.device == Device::disk(); };
    if (std::none_of(plan.placements.begin(), plan.placements.end(), on_disk)) return {};
  }
  OffloadPlanner planner(tree, checkpoint, folder);
  for (const TensorPlacement& placement : plan.placements) {
    if (placement.device == Device::disk()) planner.add(placement);
  }
  OffloadPlan planned = planner.finish();
  // What is wrong with the folder is known before any weights are read.
  plan_index_change(planned);
  return planned;
}

IndexChange plan_index_change(const OffloadPlan& plan) {
  const auto name_of = [&](uint32_t name) { return plan.names[name].text.view(); };
  NameTable names(plan.names.size());
  for (uint32_t i = 0; i < plan.names.size(); ++i) names.insert(i, name_of);
  IndexChange change;
  std::vector<bool> has_file(plan.names.size(), false);
  read_existing_index(plan.folder, [&](OffloadEntry entry) {
    const uint32_t name = names.find(entry.name, name_of);
    if (name == NameTable::kNone) return change.kept.push_back({std::move(entry), false});
    if (!entry.in_place()) {
      has_file[name] = true;
      if (plan.tensors[plan.names[name].tensor].is_written) {
        change.replaces_files = true;
        return;
      }
      if (is_file_name(entry.name)) change.stale_names.push_back(name);
    }
    change.kept.push_back({std::move(entry), true});
  });
  for (uint32_t i = 0; i < plan.names.size(); ++i) {
    if (!plan.tensors[plan.names[i].tensor].is_written) continue;
    require_replaceable(offloaded_file(plan, name_of(i)), name_of(i), has_file[i]);
  }
  return change;
}

}  // namespace hfload
