#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/model/checkpoint.h"
#include "core/model/module_builder.h"
#include "core/model/module_tree.h"

namespace hfload {

struct ShellOptions {
  /// What float weights are loaded as. Nothing means `auto`, by the rule of transformers 4.57: config.json's
  /// dtype, else the index's, else that of the first floating-point tensor of the first shard. Where no shard
  /// is there: the dtype of `text_config` or another part, else bfloat16 if the index's total_size is that of
  /// 16-bit weights, else float32. By the rules of transformers 4.57, `auto` makes each part of a model in
  /// the dtype of its own config, where that names one.
  std::optional<Dtype> dtype;
  Compat compat = Compat::v4;
};

/// The dtype that `auto` stands for (transformers 4.57, `_get_dtype`).
Dtype resolve_auto_dtype(const Checkpoint& checkpoint);

/// A shell and what was noticed while it was built.
struct Shell {
  ModuleTree tree;
  Dtype dtype = Dtype::f32;  ///< the resolved dtype
  std::vector<std::string> warnings;
};

/// Builds the model's empty shell from the architecture that config.json names; nothing where that is
/// unknown. Throws Error(unsupported_architecture) where it is known, and a part or a variant that the config
/// asks for is not; Error(invalid_config).
std::optional<Shell> build_known_shell(const Checkpoint& checkpoint, const ShellOptions& options);

/// Builds the model's empty shell: from the architecture that config.json names, or, where it is unknown,
/// from the names of the checkpoint's tensors (every run of numbered children becomes a list of layers that
/// are not split), with a warning. Throws Error(unsupported_architecture) when there is neither,
/// Error(invalid_config).
Shell build_shell(const Checkpoint& checkpoint, const ShellOptions& options);

}  // namespace hfload
