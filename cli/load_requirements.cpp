#include "cli/load_requirements.h"

#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <vector>

#include "cli/text.h"
#include "core/load/query_devices.h"
#include "core/model/folder.h"

namespace hfload::cli {
namespace {

std::string path_in(const Checkpoint& checkpoint, const std::string& file) {
  const std::string& directory = checkpoint.location.directory;
  return fmt::format("{}{}{}", directory, directory.empty() || directory.ends_with('/') ? "" : "/", file);
}

/// What brings missing shards.
std::string describe_download(const ModelLocation& location) {
  const std::string repository = repository_name(location);
  return repository.empty() ? "Put the missing shards into the model directory. "
                            : fmt::format("Download them: hf download {}. ", repository);
}

/// A set of weights that is whole, where the one that is looked for first is not.
std::string describe_other_set(const Checkpoint& checkpoint) {
  const std::string& path = checkpoint.location.weights_path;
  const std::string other = whole_set_beside(checkpoint.location.directory, path.substr(path.rfind('/') + 1));
  return other.empty() ? ""
                       : fmt::format("All that {} names is here: give {} as MODEL. ", other,
                                     path_in(checkpoint, other));
}

/// Refuses to emulate GPUs of which there are none or that have no budget.
void require_emulated_gpus(PlannedModel& model, const std::set<uint32_t>& gpus, Messages& messages) {
  for (const uint32_t ordinal : gpus) {
    if (gpu_budget(model.max_memory, ordinal)) continue;
    throw Error(ErrorCode::usage, fmt::format("--emulate-gpus has no budget for GPU {}", ordinal))
        .with_hint(fmt::format("Name it in --max-memory, as in --max-memory {}=8GiB,cpu=16GiB.", ordinal));
  }
  if (!gpus.empty()) return;
  const auto is_gpu = [](const DeviceMemory& memory) { return memory.device.is_gpu(); };
  if (std::ranges::none_of(model.max_memory, is_gpu)) {
    throw Error(ErrorCode::usage, "--emulate-gpus has nothing to emulate: no GPU is named")
        .with_hint(
            "Name one in --max-memory, as in --max-memory 0=8GiB,cpu=16GiB, or leave --emulate-gpus out.");
  }
  model.warnings.emplace_back("--emulate-gpus emulates nothing: the device map puts no module on a GPU");
  messages.warning(model.warnings.back());
}

}  // namespace

void require_weights(const Checkpoint& checkpoint) {
  if (checkpoint.shards.empty()) {
    if (checkpoint.location.obstacle) throw Error(*checkpoint.location.obstacle);
    const std::string& directory = checkpoint.location.directory;
    if (checkpoint.location.is_config) {
      throw Error(ErrorCode::weights_not_found, "this is a config alone, which has no weights to load")
          .with_path(checkpoint.location.config_path)
          .with_hint(
              fmt::format("Give the model directory: hfload load {}", directory.empty() ? "." : directory));
    }
    Error error(ErrorCode::weights_not_found, "there are no weights to load");
    error.with_path(checkpoint.location.directory);
    const std::string& variants = checkpoint.location.variants_hint;
    throw error.with_hint(
        variants.empty() ? "Put model.safetensors, or a shard index and its shards, beside config.json."
                         : fmt::format("Weights of these variants are there: {}. Use --variant.", variants));
  }
}

void require_shards(const Checkpoint& checkpoint, const KeyMatches* needed) {
  std::vector<bool> is_needed(checkpoint.shards.size(), needed == nullptr);
  if (needed != nullptr) {
    for (const KeyMatch& match : needed->matches)
      is_needed[checkpoint.tensors[match.checkpoint].shard] = true;
  }
  const Shard* absent = nullptr;
  uint64_t absent_shards = 0;
  for (size_t i = 0; i < checkpoint.shards.size(); ++i) {
    if (!is_needed[i] || checkpoint.shards[i].present) continue;
    if (absent_shards++ == 0) absent = &checkpoint.shards[i];
  }
  if (absent != nullptr) {
    const auto count = static_cast<uint64_t>(std::count(is_needed.begin(), is_needed.end(), true));
    throw Error(ErrorCode::shard_missing,
                fmt::format("this shard does not exist ({} of {} {} missing)", absent_shards,
                            count_of(count, "shard"), absent_shards == 1 ? "is" : "are"))
        .with_path(path_in(checkpoint, absent->file))
        .with_hint(describe_other_set(checkpoint) + describe_download(checkpoint.location) +
                   "hfload plan needs no weights.");
  }
  for (size_t i = 0; i < checkpoint.shards.size(); ++i) {
    const Shard& shard = checkpoint.shards[i];
    if (!is_needed[i] || shard.is_read()) continue;
    throw Error(ErrorCode::unsupported_format,
                "this is neither a safetensors file nor a PyTorch checkpoint, and load reads no other format")
        .with_path(path_in(checkpoint, shard.file))
        .with_hint("Save the model as safetensors first, for example with save_pretrained of transformers.");
  }
}

std::set<uint32_t> gpus_of(const DeviceMap& map) {
  std::set<uint32_t> gpus;
  for (const DeviceMapEntry& entry : map) {
    if (entry.device.is_gpu()) gpus.insert(entry.device.ordinal);
  }
  return gpus;
}

std::optional<uint64_t> gpu_budget(const MaxMemory& max_memory, uint32_t ordinal) {
  for (const DeviceMemory& memory : max_memory) {
    if (memory.device == Device::gpu(ordinal)) return static_cast<uint64_t>(memory.bytes);
  }
  return std::nullopt;
}

void require_gpus(PlannedModel& model, bool emulate, Messages& messages) {
  const std::set<uint32_t> gpus = gpus_of(model.plan.device_map);
  if (emulate) {
    require_emulated_gpus(model, gpus, messages);
    return;
  }
  if (gpus.empty()) return;
  const CudaStatus status = cuda_status();
  const std::string hint = "Use --emulate-gpus to run the whole path in host memory, or --device-map cpu.";
  if (status.devices == 0) {
    throw Error(ErrorCode::no_cuda, fmt::format("the plan uses GPU {}, but {}", *gpus.begin(), status.reason))
        .with_hint(hint);
  }
  for (const uint32_t ordinal : gpus) {
    if (ordinal < static_cast<uint32_t>(status.devices)) continue;
    throw Error(ErrorCode::no_cuda, fmt::format("the plan uses GPU {}, but this machine has {}", ordinal,
                                                count_of(static_cast<uint64_t>(status.devices), "GPU")))
        .with_hint(hint);
  }
}

}  // namespace hfload::cli
