#pragma once

#include <string>
#include <string_view>

#include "core/model/checkpoint.h"
#include "core/save/commit.h"
#include "core/save/convert.h"

namespace hfload {

/// "model.safetensors" or "pytorch_model.bin".
std::string_view weights_file_name(WeightFormat format);

/// Whether DST names one weight file of the format: no directory that exists, and no name with a slash at its
/// end.
bool is_single_file(const std::string& destination, WeightFormat format);

/// As require_apart, of the shards that an index names.
void require_shards_apart(const Checkpoint& checkpoint, const std::string& destination, bool single_file);

/// The path of a name in a directory.
std::string in_directory(const std::string& directory, const std::string& name);

/// Where a file of the plan's output is, or will be.
std::string output_path(const ConvertPlan& plan, const std::string& name);

/// The path without slashes at its end.
std::string without_slashes(std::string path);

/// What a directory holds that a plan concerns.
struct ExistingSet {
  std::string
      first;  ///< a file that the plan would replace or that is the entry point of weights; may be empty
  CommitSteps steps;  ///< how the plan takes the set's place
};
ExistingSet find_existing_set(const ConvertPlan& plan);

/// What the files at a destination are to a plan, by their sizes, headers and texts. Tensors are not read.
struct OutputForm {
  bool has_weights = false;  ///< the weight files and the index are those of the plan
  std::string differing;     ///< the first file that is not as a finished run leaves it; empty: none
};
OutputForm compare_form(const ConvertPlan& plan);

}  // namespace hfload
