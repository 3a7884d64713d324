#pragma once

// What a model directory holds: the weight files that transformers looks for, and those of other layouts.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.h"

namespace hfload {

/// The weights of a directory; without a file and shards where it has none that are loaded.
struct FolderWeights {
  std::string file = {};  ///< a weight file or a shard index, by its name in the directory
  /// The files of one model that no index lists ("model-00001-of-00002.safetensors", …), sorted by number.
  /// Those that are absent are among them.
  std::vector<std::string> shards = {};
  std::string note = {};  ///< one sentence on what is odd about them; may be empty
};

/// Whether a directory has a file of that name. A dangling link counts: it is a download that went wrong, and
/// opening it says so. Throws Error(io_error) where the directory cannot be searched.
bool holds_file(const std::string& directory, const std::string& name);

/// Looks for weights by the names of transformers 4.57 and in its order, then by those that other libraries
/// give: a diffusers component, a PEFT adapter, the only index of the directory (as accelerate does),
/// numbered shards without an index, the only file of weights. `variant` is that of `--variant`; may be
/// empty. Throws Error(io_error).
FolderWeights find_weights(const std::string& directory, const std::string& variant);

/// The variants that weight files in a directory have, for a hint: "fp16, fp32".
std::string variants_in(const std::string& directory);

/// Says what a directory holds in the place of weights that are loaded: files of a format that is not read,
/// the parts of a distributed checkpoint, several models, folders with weights. Error(unsupported_format) or
/// Error(weights_not_found), with the command that helps; nothing where it holds none of these.
std::optional<Error> explain_folder(const std::string& directory);

/// Another set of weights in the directory that is whole, by the names of transformers: a single file, or an
/// index of which all shards are there. Empty where there is none but `used`.
std::string whole_set_beside(const std::string& directory, std::string_view used);

}  // namespace hfload
