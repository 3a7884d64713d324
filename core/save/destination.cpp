#include "core/save/destination.h"

#include <fmt/core.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <iterator>
#include <optional>
#include <set>

#include "core/base/directory.h"
#include "core/base/error.h"
#include "core/save/output_age.h"

namespace hfload {
namespace {

namespace fs = std::filesystem;

// The first two are those of weights_file_name; the others are what diffusers and PEFT look for.
constexpr std::array<std::string_view, 6> kWeightsFiles = {
    "model.safetensors",           "pytorch_model.bin",         "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.bin", "adapter_model.safetensors", "adapter_model.bin"};

/// What a name that ends so says that it is.
struct FileKind {
  std::string_view extension, name;
  std::optional<WeightFormat> written_as = std::nullopt;
};

constexpr FileKind kFileKinds[] = {
    {".safetensors", "a safetensors", WeightFormat::safetensors},
    {".bin", "a PyTorch", WeightFormat::pytorch},
    {".pt", "a PyTorch", WeightFormat::pytorch},
    {".pth", "a PyTorch", WeightFormat::pytorch},
    {".ckpt", "a PyTorch Lightning"},
    {".gguf", "a GGUF"},
    {".ggml", "a GGML"},
    {".h5", "an HDF5"},
    {".msgpack", "a Flax"},
    {".onnx", "an ONNX"},
    {".index.json", "an index"},
};

std::optional<struct stat> status_of(const std::string& path) {
  struct stat status {};
  if (stat(path.empty() ? "." : path.c_str(), &status) != 0) return std::nullopt;
  return status;
}

bool same_file(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/// The kind of weight file that a destination names; null for a directory, which what exists as one or ends
/// in a slash is under any name.
const FileKind* named_kind(const std::string& destination) {
  const auto status = status_of(destination);
  if (status && S_ISDIR(status->st_mode)) return nullptr;
  const auto kind =
      std::ranges::find_if(kFileKinds, [&](const FileKind& k) { return destination.ends_with(k.extension); });
  return kind == std::end(kFileKinds) ? nullptr : kind;
}

std::string existing_ancestor(const std::string& path) {
  std::error_code ignored;
  fs::path at = fs::absolute(path, ignored);
  while (!status_of(at.string()) && at.has_parent_path() && at != at.parent_path()) at = at.parent_path();
  return at.string();
}

/// Whether `directory`, or one above it, is the directory of `status`.
bool lies_in(const std::string& directory, const struct stat& status) {
  std::error_code fault;
  fs::path at = fs::canonical(directory, fault);
  if (fault) return false;
  for (;; at = at.parent_path()) {
    const auto found = status_of(at.string());
    if (found && same_file(*found, status)) return true;
    if (at == at.root_path()) return false;
  }
}

[[noreturn]] void refuse(const std::string& destination, std::string reason) {
  throw Error(ErrorCode::destination_is_input, std::move(reason))
      .with_path(destination)
      .with_hint("Choose another destination; a conversion never writes to its input.");
}

/// Refuses a destination that is the input file, or a directory in which the file would be replaced.
void refuse_to_replace(const std::string& input, const std::string& name, const std::string& destination,
                       bool single_file) {
  const auto file = status_of(input), target = status_of(destination);
  if (!file || !target) return;
  if (single_file) {
    if (same_file(*file, *target)) refuse(destination, "the output is the input");
    return;
  }
  const std::string place = in_directory(destination, name);
  const auto inside = status_of(place);
  if (inside && same_file(*file, *inside)) refuse(place, "the output would replace the input");
}

bool has_bytes(const std::string& path, uint64_t bytes) {
  const auto status = status_of(path);
  return status && S_ISREG(status->st_mode) && static_cast<uint64_t>(status->st_size) == bytes;
}

/// Whether a file holds a text at `offset`, but for the CRCs, of which `checksums` are the offsets, sorted.
bool holds_at(const RegularFile& file, uint64_t offset, std::string_view expected,
              const std::vector<uint64_t>& checksums = {}) {
  constexpr uint64_t kCrcBytes = 4;
  std::string found(expected.size(), '\0');
  read_exactly(file, offset, std::as_writable_bytes(std::span(found)));
  const uint64_t end = offset + found.size();
  auto crc = std::ranges::lower_bound(checksums, offset < kCrcBytes ? 0 : offset - kCrcBytes + 1);
  for (; crc != checksums.end() && *crc < end; ++crc) {
    for (uint64_t at = std::max(*crc, offset); at < std::min(*crc + kCrcBytes, end); ++at)
      found[at - offset] = '\0';
  }
  return found == expected;
}

std::vector<uint64_t> checksum_offsets(const FileLayout& layout) {
  std::vector<uint64_t> offsets;
  if (!layout.archive) return offsets;
  offsets.reserve(2 * layout.archive->checksums.size());
  for (const ChecksumPlace& place : layout.archive->checksums) {
    offsets.push_back(place.first_offset);
    offsets.push_back(place.second_offset);
  }
  std::sort(offsets.begin(), offsets.end());
  return offsets;
}

}  // namespace

std::string in_directory(const std::string& directory, const std::string& name) {
  return directory.empty() || directory.ends_with('/') ? directory + name : directory + "/" + name;
}

std::string output_path(const ConvertPlan& plan, const std::string& name) {
  return plan.single_file ? plan.destination : in_directory(plan.destination, name);
}

std::string_view weights_file_name(WeightFormat format) {
  return kWeightsFiles[format == WeightFormat::pytorch ? 1 : 0];
}

bool is_single_file(const std::string& destination, WeightFormat format) {
  const FileKind* kind = named_kind(destination);
  return kind != nullptr && kind->written_as == format;
}

void require_destination_name(const std::string& destination, WeightFormat format) {
  const FileKind* kind = named_kind(destination);
  if (kind == nullptr || kind->written_as == format) return;
  std::string hint =
      !kind->written_as
          ? "hfload writes .safetensors files, and with --format pytorch .bin, .pt and .pth files. "
            "Give such a name, or that of a directory (with a / at its end it is one)."
      : *kind->written_as == WeightFormat::pytorch
          ? "Add --format pytorch, or give the name of a directory (with a / at its end it is one)."
          : "Leave --format pytorch out, or give the name of a .bin, .pt or .pth file or of a directory "
            "(with a / "
            "at its end it is one).";
  if (kind->extension == ".gguf")
    hint += " convert_hf_to_gguf.py of llama.cpp makes GGUF files of what hfload writes into a directory.";
  throw Error(ErrorCode::usage, fmt::format("this is the name of {} file", kind->name))
      .with_path(destination)
      .with_hint(std::move(hint));
}

std::string without_slashes(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path;
}

void require_apart(const ModelLocation& location, const std::string& destination, WeightFormat format) {
  const std::string path = without_slashes(destination);
  // A file that was named alone may have its output beside it.
  if (!location.is_file) {
    const std::string ancestor = existing_ancestor(path);
    std::vector<std::string> roots = location.own_folders;
    roots.push_back(location.directory);
    for (const std::string& root : roots) {
      const auto status = status_of(root);
      if (status && lies_in(ancestor, *status)) refuse(path, "the output would lie in the input");
    }
  }
  if (!location.weights_path.empty()) {
    const std::string& file = location.weights_path;
    refuse_to_replace(file, file.substr(file.rfind('/') + 1), path, is_single_file(destination, format));
  }
}

void require_shards_apart(const Checkpoint& checkpoint, const std::string& destination, bool single_file) {
  for (const Shard& shard : checkpoint.shards)
    refuse_to_replace(in_directory(checkpoint.location.directory, shard.file), shard.file, destination,
                      single_file);
}

ExistingSet find_existing_set(const ConvertPlan& plan) {
  ExistingSet existing;
  existing.steps.last = plan.entry_point;
  if (plan.single_file) {
    if (status_of(plan.destination)) existing.first = plan.destination;
    return existing;
  }
  std::set<std::string> written;
  for (const PlannedFile& file : plan.files) written.insert(file.name);
  for (const TextFile& file : plan.texts) written.insert(file.name);
  for (const CopiedFile& file : plan.copies) written.insert(file.name);
  std::set<std::string> names;
  if (status_of(plan.destination)) {
    const std::vector<std::string> listed = list_directory(plan.destination);
    names.insert(listed.begin(), listed.end());
  }
  std::vector<std::string> old_files;
  for (const std::string_view weights : kWeightsFiles) {
    for (const std::string& name : {std::string(weights), fmt::format("{}.index.json", weights)}) {
      if (names.contains(name)) existing.steps.remove_first.push_back(name);
    }
    for (const std::string& name : names) {
      if (is_shard_name(name, weights) && !written.contains(name))
        existing.steps.remove_after.push_back(name);
    }
  }
  for (const std::string& name : written) {
    if (status_of(in_directory(plan.destination, name))) old_files.push_back(name);
  }
  if (!existing.steps.remove_first.empty())
    old_files.insert(old_files.begin(), existing.steps.remove_first[0]);
  if (!old_files.empty()) existing.first = in_directory(plan.destination, old_files.front());
  return existing;
}

namespace {

/// Whether a text of the plan is at the destination.
bool has_text(const ConvertPlan& plan, const TextFile& file) {
  const std::string path = output_path(plan, file.name);
  if (!has_bytes(path, file.bytes)) return false;
  const RegularFile opened = open_regular_file(path);
  uint64_t offset = 0;
  bool is_equal = true;
  write_text(plan, file, [&](std::string_view part) {
    is_equal = is_equal && holds_at(opened, offset, part);
    offset += part.size();
  });
  return is_equal;
}

/// Whether a weight file of the plan is at the destination, but for its tensors.
bool has_weight_file(const ConvertPlan& plan, const PlannedFile& file) {
  const std::string path = output_path(plan, file.name);
  if (!has_bytes(path, file.layout.file_bytes)) return false;
  const RegularFile opened = open_regular_file(path);
  const std::vector<uint64_t> checksums = checksum_offsets(file.layout);
  bool is_equal = true;
  write_around_tensors(plan.tensors, file.layout, [&](uint64_t offset, std::string_view part) {
    is_equal = is_equal && holds_at(opened, offset, part, checksums);
  });
  return is_equal;
}

}  // namespace

OutputForm compare_form(const ConvertPlan& plan) {
  for (const PlannedFile& file : plan.files) {
    if (!has_weight_file(plan, file)) return {false, file.name};
  }
  for (const TextFile& file : plan.texts) {
    if (file.is_index && !has_text(plan, file)) return {false, file.name};
  }
  if (!plan.single_file) {
    // An entry point of another layout would be read instead.
    for (const std::string& name : find_existing_set(plan).steps.remove_first) {
      if (name != plan.entry_point) return {false, name};
    }
  }
  OutputForm form{true, {}};
  for (const TextFile& file : plan.texts) {
    if (!file.is_index && !has_text(plan, file)) form.differing = file.name;
  }
  for (const CopiedFile& file : plan.copies) {
    if (form.differing.empty() && !has_bytes(output_path(plan, file.name), file.bytes))
      form.differing = file.name;
  }
  return form;
}

namespace {

/// What to throw for files that are no output of this plan. `existing`: one of them.
Error other_output(const ConvertPlan& plan, const OutputForm& form, const std::string& existing) {
  const std::string path = form.differing.empty() ? existing : output_path(plan, form.differing);
  const bool is_there = status_of(path).has_value();
  return Error(ErrorCode::destination_exists,
               is_there ? "this exists already, and is not what would be written"
                        : "the destination holds another output, which has no such file")
      .with_path(path)
      .with_hint("Replace the output with --force, or choose another destination.");
}

}  // namespace

DestinationState check_destination(const ConvertPlan& plan, const TensorSource& source,
                                   const ConvertRun& run) {
  const OutputForm form = run.force ? OutputForm{} : compare_form(plan);
  bool is_outdated = false;
  if (form.has_weights && form.differing.empty()) {
    const OutputAge age = compare_with_source(plan, source, run);
    if (age == OutputAge::current) return {.is_complete = true};
    if (age == OutputAge::other_weights) {
      throw Error(ErrorCode::destination_exists,
                  "this has the form of the output and other contents, and the source is not newer")
          .with_path(output_path(plan, plan.entry_point))
          .with_hint(
              "It is of another source, or was changed since. Replace it with --force, or choose "
              "another destination.");
    }
    is_outdated = true;
  } else if (form.has_weights) {
    is_outdated = has_newer_source(plan);
  }
  const std::string existing = find_existing_set(plan).first;
  if (!run.force && !is_outdated && !existing.empty()) throw other_output(plan, form, existing);
  const uint64_t free = free_bytes_at(plan.destination);
  if (plan.output_bytes > free) {
    throw Error(ErrorCode::no_space,
                fmt::format("the output takes {} bytes, and its disk has {} left", plan.output_bytes, free))
        .with_path(plan.destination)
        .with_hint("Make room on that disk, or write to another one.");
  }
  return {.is_outdated = is_outdated, .replaces = !existing.empty()};
}

uint64_t free_bytes_at(const std::string& path) {
  struct statvfs space {};
  if (statvfs(existing_ancestor(path).c_str(), &space) != 0) return 0;
  return uint64_t{space.f_bavail} * space.f_frsize;
}

}  // namespace hfload
