#include "core/model/folder.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <map>
#include <tuple>

#include "core/base/directory.h"
#include "core/base/file.h"
#include "core/base/join.h"
#include "core/base/system_error.h"
#include "core/format/model_config.h"
#include "core/format/shard_index.h"
#include "core/model/shard_tensors.h"

namespace hfload {
namespace {

namespace fs = std::filesystem;

// The order in which transformers 4.57 looks for weights in a directory.
constexpr std::array<std::string_view, 8> kWeightFiles = {
    "model.safetensors",  "model.safetensors.index.json",
    "pytorch_model.bin",  "pytorch_model.bin.index.json",
    "tf_model.h5",        "tf_model.h5.index.json",
    "flax_model.msgpack", "flax_model.msgpack.index.json",
};
// What diffusers and PEFT write.
constexpr std::array<std::string_view, 6> kOtherWeightFiles = {
    "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors.index.json",
    "diffusion_pytorch_model.bin",         "diffusion_pytorch_model.bin.index.json",
    "adapter_model.safetensors",           "adapter_model.bin",
};
constexpr std::string_view kTorchExtensions[] = {".bin", ".pt", ".pth", ".ckpt"};
constexpr size_t kMostNamed = 5;

/// transformers' `_add_variant`: "fp16" goes before the last extension.
std::string with_variant(std::string_view file, std::string_view variant) {
  if (variant.empty()) return std::string(file);
  const size_t dot = file.rfind('.');
  return fmt::format("{}.{}{}", file.substr(0, dot), variant, file.substr(dot));
}

template <size_t kCount>
std::string find_first(const std::string& directory, const std::array<std::string_view, kCount>& files,
                       std::string_view variant) {
  for (const std::string_view file : files) {
    std::string name = with_variant(file, variant);
    if (holds_file(directory, name)) return name;
  }
  return "";
}

/// Names in a directory but those of hidden files, among them the ones that macOS leaves on other file
/// systems
/// (._model.safetensors, .DS_Store). None where it cannot be listed.
std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  try {
    names = list_directory(directory.empty() ? "." : directory);
  } catch (const Error&) {
  }
  std::erase_if(names, [](const std::string& name) { return name.starts_with('.'); });
  return names;
}

bool is_torch_name(std::string_view name) {
  return std::ranges::any_of(kTorchExtensions, [&](std::string_view end) { return name.ends_with(end); });
}

/// What trainers write beside a model: the state of optimizers, schedulers and random numbers, arguments.
bool is_of_trainer(std::string_view name) {
  constexpr std::string_view kStarts[] = {"optimizer", "scheduler",     "rng_state",     "random_states",
                                          "scaler",    "training_args", "trainer_state", "zero_pp_rank_"};
  return name.find("optim_states") != std::string_view::npos ||
         std::ranges::any_of(kStarts, [&](std::string_view start) { return name.starts_with(start); });
}

/// The parts of "model.fp16-00001-of-00002.safetensors" or "model-00001-of-00002.fp16.safetensors".
struct NumberedName {
  std::string_view before, after;  ///< the numbers
  uint32_t number = 0, count = 0;
  size_t digits = 0;
};

std::optional<NumberedName> numbered_name(std::string_view name) {
  constexpr std::string_view kOf = "-of-", kDigits = "0123456789";
  const size_t of = name.rfind(kOf);
  if (of == std::string_view::npos || of == 0) return std::nullopt;
  const size_t dash = name.find_last_not_of(kDigits, of - 1);
  if (dash == std::string_view::npos || name[dash] != '-' || dash + 1 == of) return std::nullopt;
  const size_t end = std::min(name.find_first_not_of(kDigits, of + kOf.size()), name.size());
  NumberedName parts{name.substr(0, dash + 1), name.substr(end), 0, 0, of - dash - 1};
  const auto read = [&](size_t begin, size_t stop, uint32_t& into) {
    const auto [last, fault] = std::from_chars(name.data() + begin, name.data() + stop, into);
    return fault == std::errc() && last == name.data() + stop && begin < stop;
  };
  constexpr uint32_t kMostShards = 10'000;
  if (!read(dash + 1, of, parts.number) || !read(of + kOf.size(), end, parts.count)) return std::nullopt;
  return parts.count <= kMostShards ? std::optional(parts) : std::nullopt;
}

bool has_variant(const NumberedName& name, std::string_view variant) {
  if (variant.empty()) return true;
  return name.before.ends_with(fmt::format(".{}-", variant)) ||
         name.after.starts_with(fmt::format(".{}.", variant));
}

/// Numbered shards of safetensors, or else of PyTorch, where all names are of one model; else nothing.
FolderWeights find_numbered(const std::vector<std::string>& names, std::string_view variant) {
  using Key = std::tuple<std::string_view, std::string_view, uint32_t>;
  for (const bool wants_torch : {false, true}) {
    std::map<Key, NumberedName> models;
    bool from_zero = false;
    for (const std::string& name : names) {
      const auto parts = numbered_name(name);
      const bool is_kind = wants_torch ? is_torch_name(name) : name.ends_with(".safetensors");
      if (!parts || !is_kind || !has_variant(*parts, variant) || is_of_trainer(name)) continue;
      models.emplace(Key(parts->before, parts->after, parts->count), *parts);
      from_zero = from_zero || parts->number == 0;
    }
    if (models.size() != 1) continue;
    const NumberedName& parts = models.begin()->second;
    FolderWeights found;
    for (uint32_t i = 0; i < parts.count; ++i) {
      found.shards.push_back(fmt::format("{}{:0{}}-of-{:0{}}{}", parts.before, from_zero ? i : i + 1,
                                         parts.digits, parts.count, parts.digits, parts.after));
    }
    found.note =
        fmt::format("no index lists the shards: all {} that their names count are taken", parts.count);
    return found;
  }
  return {};
}

/// Whether a file of a name that tells little is one of PyTorch's, by its first bytes.
bool is_torch_file(const std::string& path) {
  try {
    std::vector<std::string> ignored;
    return format_of_file(open_regular_file(path), "", ignored) != ShardFormat::other;
  } catch (const Error&) {
    return false;
  }
}

/// Files that may each be a model: safetensors, or else PyTorch files.
std::vector<std::string> possible_models(const std::string& directory,
                                         const std::vector<std::string>& names) {
  std::vector<std::string> found;
  for (const std::string& name : names) {
    if (name.ends_with(".safetensors") && !is_of_trainer(name)) found.push_back(name);
  }
  if (!found.empty()) return found;
  for (const std::string& name : names) {
    if (is_torch_name(name) && !is_of_trainer(name) && is_torch_file((fs::path(directory) / name).string()))
      found.push_back(name);
  }
  return found;
}

/// "this is a PEFT adapter (LORA) of org/base: …".
std::string describe_adapter(const std::string& directory) {
  std::string type, base;
  try {
    const RegularFile file = open_regular_file((fs::path(directory) / "adapter_config.json").string());
    const ModelConfig config = parse_model_config(read_text_file(file, kMaxConfigBytes));
    type = config.get_string("peft_type", "");
    base = config.get_string("base_model_name_or_path", "");
  } catch (const Error&) {
    // The adapter's tensors can be read without it.
  }
  return fmt::format(
      "this is a PEFT adapter{}{}: its tensors are read by themselves, without the model that they adapt",
      type.empty() ? "" : fmt::format(" ({})", type), base.empty() ? "" : fmt::format(" of {}", base));
}

bool is_index_name(std::string_view name) {
  return name.ends_with(".json") && (name.find(".safetensors.index.") != std::string_view::npos ||
                                     name.find(".bin.index.") != std::string_view::npos);
}

bool is_of_variant(std::string_view index, std::string_view variant) {
  return variant.empty() ? index.ends_with(".index.json")
                         : index.ends_with(fmt::format(".index.{}.json", variant));
}

/// "a, b, c, …".
std::string list_names(std::vector<std::string> names) {
  if (names.size() > kMostNamed) {
    names.resize(kMostNamed);
    names.emplace_back("…");
  }
  return join(names, ", ");
}

std::vector<std::string> names_that(const std::vector<std::string>& names, auto&& matches) {
  std::vector<std::string> found;
  std::ranges::copy_if(names, std::back_inserter(found), matches);
  return found;
}

Error in_folder(ErrorCode code, const std::string& directory, std::string message, std::string hint) {
  return Error(code, std::move(message)).with_path(directory).with_hint(std::move(hint));
}

/// Folders in the directory that hold weights, each with its first weight file: "unet (model.safetensors)".
std::vector<std::string> folders_with_weights(const std::string& directory,
                                              const std::vector<std::string>& names, std::string& first) {
  std::vector<std::string> found;
  for (const std::string& name : names) {
    std::error_code ignored;
    const std::string path = (fs::path(directory) / name).string();
    if (!fs::is_directory(path, ignored)) continue;
    const auto weights = names_that(names_in(path), [](const std::string& file) {
      return (file.ends_with(".safetensors") || file.ends_with(".distcp") || is_torch_name(file) ||
              is_index_name(file)) &&
             !is_of_trainer(file);
    });
    if (weights.empty()) continue;
    if (first.empty()) first = name;
    found.push_back(fmt::format("{} ({})", name, weights.front()));
  }
  return found;
}

/// Formats that hfload names and does not read, by the end of a file's name.
struct OtherFormat {
  std::string_view end, name;
};
constexpr OtherFormat kOtherFormats[] = {
    {".gguf", "GGUF"},
    {".ggml", "GGML"},
    {".h5", "HDF5 (TensorFlow)"},
    {".msgpack", "msgpack (Flax)"},
    {".onnx", "ONNX"},
    {".ot", "Rust"},
    {".npz", "NumPy"},
    {"saved_model.pb", "TensorFlow"},
};

}  // namespace

bool holds_file(const std::string& directory, const std::string& name) {
  std::error_code fault;
  const fs::file_status status = fs::symlink_status(fs::path(directory) / name, fault);
  if (!fs::status_known(status) && fault != std::errc::filename_too_long)
    throw system_error("searching the directory", fault.value(), directory, PathUse::read);
  return fs::status_known(status) && fs::exists(status);
}

FolderWeights find_weights(const std::string& directory, const std::string& variant) {
  FolderWeights found{.file = find_first(directory, kWeightFiles, variant)};
  if (!found.file.empty()) return found;
  found.file = find_first(directory, kOtherWeightFiles, variant);
  if (found.file.starts_with("adapter_")) found.note = describe_adapter(directory);
  if (!found.file.empty()) return found;

  const std::vector<std::string> names = names_in(directory);
  const auto indices = names_that(
      names, [&](const std::string& name) { return is_index_name(name) && is_of_variant(name, variant); });
  if (indices.size() == 1) return {.file = indices.front()};
  if (indices.size() > 1) return {};
  if (FolderWeights numbered = find_numbered(names, variant); !numbered.shards.empty()) return numbered;
  if (!variant.empty() || !variants_in(directory).empty()) return {};
  const std::vector<std::string> models = possible_models(directory, names);
  if (models.size() != 1) return {};
  return {.file = models.front(),
          .note = fmt::format("{} is the only weight file here, and is taken for the model", models.front())};
}

std::string variants_in(const std::string& directory) {
  std::vector<std::string> variants;
  const auto add = [&](const std::string& name, std::string_view file) {
    const size_t dot = file.rfind('.');
    const std::string_view stem = file.substr(0, dot), extension = file.substr(dot);
    if (name.size() <= file.size() + 1 || !name.starts_with(stem) || name[dot] != '.' ||
        !name.ends_with(extension))
      return;
    const std::string variant = name.substr(dot + 1, name.size() - file.size() - 1);
    const bool is_of_shard = variant.find("-of-") != std::string::npos;
    if (variant.find('.') == std::string::npos && !is_of_shard) variants.push_back(variant);
  };
  for (const std::string& name : names_in(directory)) {
    for (const std::string_view file : kWeightFiles) add(name, file);
    for (const std::string_view file : kOtherWeightFiles) add(name, file);
  }
  std::ranges::sort(variants);
  variants.erase(std::unique(variants.begin(), variants.end()), variants.end());
  return join(variants, ", ");
}

std::optional<Error> explain_folder(const std::string& directory) {
  const std::vector<std::string> names = names_in(directory);
  const auto ends_with = [&](std::string_view end) {
    return names_that(names, [&](const std::string& name) { return name.ends_with(end); });
  };
  if (const auto parts = ends_with(".distcp"); !parts.empty()) {
    return in_folder(
        ErrorCode::unsupported_format, directory,
        fmt::format("this is a distributed checkpoint of torch (DCP, FSDP): {}", list_names(parts)),
        "Join it first: python -m torch.distributed.checkpoint.format_utils dcp_to_torch DIR model.pt, or "
        "accelerate merge-weights DIR OUT.");
  }
  const auto zero =
      names_that(names, [](const std::string& name) { return name.starts_with("zero_pp_rank_"); });
  if (!zero.empty() || std::ranges::find(names, "zero_to_fp32.py") != names.end()) {
    return in_folder(
        ErrorCode::unsupported_format, directory, "this is a checkpoint of DeepSpeed (ZeRO)",
        "Join it first, in the folder that holds zero_to_fp32.py: python zero_to_fp32.py . OUT.");
  }
  const auto slices = names_that(names, [](const std::string& name) {
    return name.starts_with("consolidated.") && name.ends_with(".pth");
  });
  if (slices.size() > 1) {
    return in_folder(
        ErrorCode::unsupported_format, directory,
        fmt::format(
            "this is a checkpoint in Meta's own layout, a slice of every layer in each of {} files: {}",
            slices.size(), list_names(slices)),
        "Download the model's safetensors files, or join it with convert_llama_weights_to_hf.py of "
        "transformers.");
  }
  const std::vector<std::string> models = possible_models(directory, names);
  const auto indices = names_that(names, [](const std::string& name) { return is_index_name(name); });
  if (models.size() > 1 || indices.size() > 1) {
    const std::vector<std::string>& several = indices.size() > 1 ? indices : models;
    return in_folder(
        ErrorCode::weights_not_found, directory,
        fmt::format("the directory holds several weight files, and nothing says which is the model: {}",
                    list_names(several)),
        fmt::format("Name one: {}", (fs::path(directory) / several.front()).string()));
  }
  std::string first;
  const auto folders = folders_with_weights(directory, names, first);
  if (!folders.empty()) {
    const bool is_pipeline = std::ranges::find(names, "model_index.json") != names.end();
    return in_folder(
        ErrorCode::weights_not_found, directory,
        fmt::format("{}weights are in these folders: {}",
                    is_pipeline ? "this is a diffusers pipeline, whose " : "", list_names(folders)),
        fmt::format("Choose one: --subfolder {}", first));
  }
  for (const OtherFormat& format : kOtherFormats) {
    const auto files = ends_with(format.end);
    if (files.empty()) continue;
    return in_folder(
        ErrorCode::unsupported_format, directory,
        fmt::format("the weights here are {} files, which hfload does not read: {}", format.name,
                    list_names(files)),
        "hfload reads safetensors and PyTorch files: download the model in one of these formats, or save "
        "it as safetensors first.");
  }
  return std::nullopt;
}

std::string whole_set_beside(const std::string& directory, std::string_view used) {
  const auto is_file = [&](const std::string& name) {
    std::error_code ignored;
    return fs::is_regular_file(fs::path(directory) / name, ignored);
  };
  for (const std::string_view file : kWeightFiles) {
    const std::string name(file);
    if (name == used || !is_file(name)) continue;
    if (!name.ends_with(".index.json")) return name;
    try {
      const ShardIndex index = read_shard_index(open_regular_file((fs::path(directory) / name).string()));
      if (std::ranges::all_of(index.shards, is_file)) return name;
    } catch (const Error&) {
      // A damaged index names no whole set.
    }
  }
  return "";
}

}  // namespace hfload
