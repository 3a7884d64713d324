#include <fmt/core.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <numeric>
#include <set>
#include <utility>

#include "core/base/checked.h"
#include "core/base/error.h"
#include "core/base/glob.h"
#include "core/format/config_dtype.h"
#include "core/save/convert.h"
#include "core/save/destination.h"
#include "core/save/model_files.h"
#include "core/save/name_rules.h"
#include "core/save/pytorch_writer.h"
#include "core/save/safetensors_writer.h"
#include "core/save/tied.h"

namespace hfload {
namespace {

std::vector<std::string> globs_of(const std::vector<std::pair<std::string, std::optional<Dtype>>>& rules) {
  std::vector<std::string> globs;
  for (const auto& [glob, dtype] : rules) globs.push_back(glob);
  return globs;
}

/// Modules whose tensors belong to quantised weights: casting their scales would change what they mean.
std::set<std::string_view> quantized_modules(const Checkpoint& checkpoint) {
  std::set<std::string_view> modules;
  if (checkpoint.config.find("quantization_config") == nullptr) return modules;
  for (const CheckpointTensor& tensor : checkpoint.tensors) {
    const bool cast = tensor.dtype == Dtype::f32 || tensor.dtype == Dtype::f16 || tensor.dtype == Dtype::bf16;
    const std::string_view name = tensor.name;
    if (!cast) modules.insert(name.substr(0, std::min(name.rfind('.'), name.size())));
  }
  return modules;
}

class Planner {
 public:
  Planner(const Checkpoint& checkpoint, const TensorSource& source, std::unique_ptr<const ModuleTree> tree,
          const ConvertOptions& options, ConvertPlan& plan)
      : checkpoint_(checkpoint),
        source_(source),
        tree_(std::move(tree)),
        options_(options),
        plan_(plan),
        dtype_for_(globs_of(options.dtype_for)) {}

  void plan_tensors() {
    Renamer renamer(options_.renames);
    NameGlobs include(options_.include), exclude(options_.exclude);
    const std::set<std::string_view> quantized = quantized_modules(checkpoint_);
    const std::vector<Selected> all = select_tensors(checkpoint_, source_, tree_.get(), options_.tied, plan_);
    plan_.total_parameters = total_parameters();
    tree_.reset();
    plan_.tensors.reserve(all.size());
    plan_.sources.reserve(all.size());
    plan_.casts.reserve(all.size());
    same_elements_.reserve(all.size());
    for (const Selected& selected : all) {
      const std::string name(selected.name(source_));
      const bool is_excluded = exclude.match(name);
      if ((!include.empty() && !include.match(name)) || is_excluded) continue;
      const SourceTensor described = source_.tensor(selected.source);
      const OutputTensor tensor{kept(renamer.rename(name), described), described.dtype, described.shape,
                                described.bytes};
      const std::string_view module =
          std::string_view(name).substr(0, std::min(name.rfind('.'), name.size()));
      add(tensor, selected, target_dtype(name, described, quantized.contains(module)));
    }
    for (const std::string& name : plan_.dropped) exclude.match(name);
    require_matches(include);
    require_distinct_names();
    warn_of_unconverted();
    warn_of_unused("--exclude", exclude.unused(), "matches no tensor");
    warn_of_unused("--dtype-for", dtype_for_.unused(), "matches no tensor that is written");
    warn_of_unused("--rename", renamer.unused(), "changes no name");
  }

  void plan_files() {
    const uint64_t limit =
        options_.merge || plan_.single_file ? std::numeric_limits<uint64_t>::max() : options_.max_shard_bytes;
    std::string name = weights_name();
    if (plan_.single_file) name = plan_.destination.substr(plan_.destination.rfind('/') + 1);
    plan_.split = split_into_shards(split_tensors(), limit, name);
    plan_.tensor_bytes = plan_.split.total_size_bytes;
    for (const SplitFile& file : plan_.split.files) {
      plan_.files.push_back({file.name, layout(file)});
      plan_.output_bytes += plan_.files.back().layout.file_bytes;
    }
    plan_.entry_point = plan_.split.files.front().name;
    if (plan_.split.sharded()) {
      plan_.entry_point = fmt::format("{}.index.json", name);
      add_text({.name = plan_.entry_point, .is_index = true});
    }
  }

  void plan_other_files() {
    if (plan_.single_file) return;
    if (!checkpoint_.location.config_path.empty()) {
      const RegularFile file = open_regular_file(checkpoint_.location.config_path);
      const std::string text = read_text_file(file, kMaxConfigBytes);
      add_text(
          {.name = "config.json",
           .text = options_.dtype ? config_with_dtype(text, dtype_info(*options_.dtype).torch_name) : text});
    }
    for (CopiedFile& file : find_model_files(checkpoint_.location)) {
      plan_.output_bytes += file.bytes;
      plan_.copies.push_back(std::move(file));
    }
  }

 private:
  /// A diffusers component and a PEFT adapter keep the names that their libraries look for.
  std::string weights_name() const {
    const ModelLocation& location = checkpoint_.location;
    const std::string source = location.weights_path.substr(location.weights_path.rfind('/') + 1);
    const std::string name(weights_file_name(plan_.format));
    for (const std::string_view stem : {"diffusion_pytorch_model", "adapter_model"}) {
      if (!location.is_file && source.starts_with(stem))
        return std::string(stem) + name.substr(name.rfind('.'));
    }
    return name;
  }

  /// Every pattern of --include is to match, and something is to be left.
  void require_matches(const NameGlobs& include) const {
    if (const auto unused = include.unused(); !unused.empty()) {
      const auto dropped = std::ranges::find_if(
          plan_.dropped, [&](const std::string& name) { return matches_glob(unused.front(), name); });
      throw Error(ErrorCode::empty_subset, fmt::format("--include '{}' matches no tensor", unused.front()))
          .with_hint(
              dropped == plan_.dropped.end()
                  ? "hfload inspect --tensors lists the names; * also matches dots."
                  : fmt::format("{} is tied to another parameter, under whose name alone it is written; "
                                "--tied duplicate writes both.",
                                *dropped));
    }
    if (plan_.tensors.empty() && !checkpoint_.tensors.empty()) {
      throw Error(ErrorCode::empty_subset, "--exclude leaves no tensor")
          .with_hint("hfload inspect --tensors lists the names; * also matches dots.");
    }
  }

  void warn_of_unconverted() {
    if (unconverted_ == 0) return;
    plan_.warnings.push_back(
        fmt::format("{} stays {}, which hfload does not convert{}", first_unconverted_,
                    dtype_info(unconverted_dtype_).torch_name,
                    unconverted_ > 1 ? fmt::format(" (and {} more like it)", unconverted_ - 1) : ""));
  }

  void warn_of_unused(std::string_view flag, const std::vector<std::string>& patterns,
                      std::string_view what) {
    for (const std::string& pattern : patterns)
      plan_.warnings.push_back(fmt::format("{} '{}' {}", flag, pattern, what));
  }

  Dtype target_dtype(const std::string& name, const SourceTensor& described, bool quantized) {
    Dtype wanted = quantized ? described.dtype : options_.dtype.value_or(described.dtype);
    for (size_t i = 0; i < options_.dtype_for.size(); ++i) {
      if (!dtype_for_.match(i, name)) continue;
      wanted = options_.dtype_for[i].second.value_or(described.dtype);
    }
    if (!dtype_info(described.dtype).is_float) return described.dtype;
    if (conversion_between(described.dtype, wanted)) return wanted;
    if (unconverted_++ == 0) {
      first_unconverted_ = name;
      unconverted_dtype_ = described.dtype;
    }
    return described.dtype;
  }

  /// A name that lives as long as the plan: the source's own, where it is that.
  std::string_view kept(std::string name, const SourceTensor& described) {
    if (name == described.name) return described.name;
    return *plan_.new_names.emplace_back(std::make_unique<const std::string>(std::move(name)));
  }

  void require_distinct_names() const {
    std::vector<uint32_t> order(plan_.tensors.size());
    std::iota(order.begin(), order.end(), 0U);
    const auto name_of = [&](uint32_t i) { return plan_.tensors[i].name; };
    std::ranges::sort(order, {}, name_of);
    const auto equal = std::ranges::adjacent_find(order, {}, name_of);
    if (equal == order.end()) return;
    throw Error(
        ErrorCode::name_collision,
        fmt::format("'{}' and '{}' would both be called '{}'", source_.tensor(plan_.sources[equal[0]]).name,
                    source_.tensor(plan_.sources[equal[1]]).name, name_of(equal[0])))
        .with_tensor(std::string(name_of(equal[0])))
        .with_hint("Change --rename, or leave one of them out with --exclude.");
  }

  void add(OutputTensor tensor, const Selected& selected, Dtype target) {
    const Dtype from = tensor.dtype;
    const CheckpointTensor& stored = checkpoint_.tensors[selected.source];
    if (stored.unreadable) throw unreadable_tensor(checkpoint_, stored);
    if (from == Dtype::unknown) {
      throw Error(ErrorCode::unsupported_dtype,
                  fmt::format("the dtype {} has no place in what is written", stored.dtype_name()))
          .with_tensor(std::string(tensor.name))
          .with_hint("Leave the tensor out with --exclude.");
    }
    if (target != from) {
      const std::optional<uint64_t> bytes = tensor_bytes(target, tensor.shape);
      if (!bytes) {
        throw Error(ErrorCode::shape_overflow, "the size of the tensor does not fit in 64 bits")
            .with_tensor(std::string(tensor.name));
      }
      tensor.dtype = target;
      tensor.bytes = *bytes;
      ++plan_.converted_tensors;
    }
    plan_.tensors.push_back(tensor);
    plan_.sources.push_back(selected.source);
    plan_.casts.push_back(conversion_between(from, target).value_or(CastKind::none));
    // Equal elements cast to different dtypes are no longer the same.
    constexpr uint64_t kDtypes = 64;
    same_elements_.push_back(selected.same_elements ? std::optional(*selected.same_elements * kDtypes +
                                                                    static_cast<uint64_t>(target))
                                                    : std::nullopt);
  }

  /// Tensors without elements share the storage at no address, as in torch.
  std::vector<SplitTensor> split_tensors() const {
    constexpr uint64_t kNoAddress = std::numeric_limits<uint64_t>::max();
    std::vector<SplitTensor> sizes;
    sizes.reserve(plan_.tensors.size());
    for (size_t i = 0; i < plan_.tensors.size(); ++i) {
      const OutputTensor& tensor = plan_.tensors[i];
      SplitTensor size{tensor.bytes};
      if (plan_.format == WeightFormat::pytorch) size.storage = same_elements_[i];
      if (tensor.bytes == 0) size.storage = kNoAddress;
      sizes.push_back(size);
    }
    return sizes;
  }

  FileLayout layout(const SplitFile& file) const {
    return plan_.format == WeightFormat::pytorch
               ? pytorch_layout(plan_.tensors, file.tensors, same_elements_, file.name)
               : safetensors_layout(plan_.tensors, file.tensors);
  }

  /// What save_pretrained writes to the index; nothing where the output is no longer that model.
  std::optional<uint64_t> total_parameters() const {
    const bool whole = options_.include.empty() && options_.exclude.empty() && options_.renames.empty();
    if (tree_ == nullptr || tree_->from_tensor_names || !whole) return std::nullopt;
    return tree_->parameter_count();
  }

  void add_text(TextFile file) {
    write_text(plan_, file, [&](std::string_view part) { file.bytes += part.size(); });
    plan_.output_bytes += file.bytes;
    plan_.texts.push_back(std::move(file));
  }

  const Checkpoint& checkpoint_;
  const TensorSource& source_;
  std::unique_ptr<const ModuleTree> tree_;  ///< until the tensors are selected: it may be most of the memory
  const ConvertOptions& options_;
  ConvertPlan& plan_;
  std::vector<std::optional<uint64_t>> same_elements_;  ///< by output tensor
  NameGlobs dtype_for_;
  uint64_t unconverted_ = 0;
  std::string first_unconverted_;
  Dtype unconverted_dtype_ = Dtype::unknown;
};

}  // namespace

std::optional<CastKind> conversion_between(Dtype from, Dtype to) {
  struct Pair {
    Dtype from, to;
    CastKind kind;
  };
  constexpr Pair kPairs[] = {
      {Dtype::f32, Dtype::f16, CastKind::f32_to_f16},   {Dtype::f32, Dtype::bf16, CastKind::f32_to_bf16},
      {Dtype::f16, Dtype::f32, CastKind::f16_to_f32},   {Dtype::f16, Dtype::bf16, CastKind::f16_to_bf16},
      {Dtype::bf16, Dtype::f32, CastKind::bf16_to_f32}, {Dtype::bf16, Dtype::f16, CastKind::bf16_to_f16},
  };
  if (from == to) return CastKind::none;
  for (const Pair& pair : kPairs) {
    if (pair.from == from && pair.to == to) return pair.kind;
  }
  return std::nullopt;
}

void write_text(const ConvertPlan& plan, const TextFile& file, const TextSink& sink) {
  if (!file.is_index) {
    sink(file.text);
    return;
  }
  write_shard_index(
      plan.split, [&](uint32_t tensor) { return plan.tensors[tensor].name; }, plan.total_parameters, sink);
}

ConvertPlan plan_conversion(const Checkpoint& checkpoint, const TensorSource& source,
                            std::unique_ptr<const ModuleTree> tree, const std::string& destination,
                            const ConvertOptions& options) {
  ConvertPlan plan;
  plan.destination = without_slashes(destination);
  plan.format = options.format;
  plan.single_file = is_single_file(destination, options.format);
  require_apart(checkpoint.location, destination, options.format);
  require_shards_apart(checkpoint, plan.destination, plan.single_file);
  Planner planner(checkpoint, source, std::move(tree), options, plan);
  planner.plan_tensors();
  planner.plan_files();
  planner.plan_other_files();
  const ModelLocation& location = checkpoint.location;
  for (const Shard& shard : checkpoint.shards)
    plan.source_files.push_back(in_directory(location.directory, shard.file));
  for (const std::string& path : {location.weights_path, location.config_path}) {
    if (!path.empty()) plan.source_files.push_back(path);
  }
  return plan;
}

}  // namespace hfload
