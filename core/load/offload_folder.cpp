#include "core/load/offload_folder.h"

#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <iterator>
#include <optional>
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

void read_index_of(const std::string& folder, const OffloadEntrySink& sink) {
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
  /// `tensors`: how many there will be.
  OffloadPlanner(const ModuleTree& tree, const Checkpoint& checkpoint, const std::string& folder,
                 size_t tensors)
      : tree_(tree),
        checkpoint_(checkpoint),
        longest_name_(longest_name(folder)),
        make_name_(tree.names),
        first_place_(tree.tensors.size(), kNoId),
        next_place_(tree.tensors.size(), kNoId) {
    plan_.folder = folder;
    plan_.tensors.reserve(tensors);
    plan_.names.reserve(tensors);
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
      const std::string_view name = make_name_(tree_.tensors[place].module, tree_.tensors[place].name);
      if (tensor.is_written) require_safe_name(name, plan_.folder, longest_name_);
      const std::string_view text = name == source.name ? source.name.view() : plan_.texts->add(name);
      plan_.names.push_back(PooledText::of_pool(text));
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
  NameMaker make_name_;
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

const OffloadedTensor& OffloadPlan::tensor_of(uint32_t name) const {
  return *std::prev(std::ranges::upper_bound(tensors, name, {}, &OffloadedTensor::first_name));
}

OffloadEntry offload_entry(const OffloadPlan& plan, const Checkpoint& checkpoint, uint32_t name) {
  const OffloadedTensor& tensor = plan.tensor_of(name);
  const CheckpointTensor& source = checkpoint.tensors[tensor.checkpoint];
  // numpy's names are torch's; bfloat16 and those of 8 bits, which numpy lacks, accelerate calls by torch's
  // as well.
  OffloadEntry entry{.name = plan.names[name],
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
  const auto on_disk = [](const TensorPlacement& p) { return p.device == Device::disk(); };
  const auto tensors = std::ranges::count_if(plan.placements, on_disk);
  if (tensors == 0) return {};
  OffloadPlanner planner(tree, checkpoint, folder, static_cast<size_t>(tensors));
  for (const TensorPlacement& placement : plan.placements) {
    if (on_disk(placement)) planner.add(placement);
  }
  return planner.finish();
}

void require_usable_folder(const OffloadPlan& plan) {
  if (!plan.empty()) plan_index_change(plan);
}

namespace {

/// OffloadPlan::names by their texts.
class PlannedNames {
 public:
  explicit PlannedNames(const OffloadPlan& plan) : plan_(plan) {}
  /// NameTable::kNone where there is none.
  uint32_t find(std::string_view name) {
    const auto name_of = [&](uint32_t i) { return plan_.names[i].view(); };
    // Most folders are new.
    if (!table_) {
      table_.emplace(plan_.names.size());
      for (uint32_t i = 0; i < plan_.names.size(); ++i) table_->insert(i, name_of);
    }
    return table_->find(name, name_of);
  }

 private:
  const OffloadPlan& plan_;
  std::optional<NameTable> table_;
};

/// `name`: into OffloadPlan::names, the entry's; NameTable::kNone where it is none of them.
EntryFate fate_of(const OffloadPlan& plan, const OffloadEntry& entry, uint32_t name) {
  if (name == NameTable::kNone) return EntryFate::kept;
  return !entry.in_place() && plan.tensor_of(name).is_written ? EntryFate::replaced : EntryFate::superseded;
}

}  // namespace

void read_existing_index(const OffloadPlan& plan,
                         const std::function<void(const OffloadEntry& entry, EntryFate fate)>& sink) {
  PlannedNames names(plan);
  read_index_of(plan.folder, [&](const OffloadEntry& entry) {
    sink(entry, fate_of(plan, entry, names.find(entry.name)));
  });
}

IndexChange plan_index_change(const OffloadPlan& plan) {
  PlannedNames names(plan);
  IndexChange change;
  std::vector<bool> has_file(plan.names.size(), false);
  read_index_of(plan.folder, [&](const OffloadEntry& entry) {
    const uint32_t name = names.find(entry.name);
    const EntryFate fate = fate_of(plan, entry, name);
    change.kept_entries += fate == EntryFate::kept;
    change.replaces_files = change.replaces_files || fate == EntryFate::replaced;
    if (name == NameTable::kNone || entry.in_place()) return;
    has_file[name] = true;
    if (fate == EntryFate::superseded && is_file_name(entry.name)) change.stale_names.push_back(name);
  });
  for (const OffloadedTensor& tensor : plan.tensors) {
    if (!tensor.is_written) continue;
    for (uint32_t i = tensor.first_name; i < tensor.first_name + tensor.name_count; ++i) {
      const std::string_view name = plan.names[i];
      require_replaceable(offloaded_file(plan, name), name, has_file[i]);
    }
  }
  return change;
}

}  // namespace hfload
