#pragma once

#include <string>
#include <string_view>

namespace hfload {

/// The text of a config.json whose dtype is `torch_name` ("bfloat16"), and which is otherwise unchanged: the
/// values of `dtype` and `torch_dtype` are replaced where they stand, at the top and in the configs of parts
/// (`text_config`; not `quantization_config`); where the top has neither, `torch_dtype`, which every version
/// of transformers reads, is added. Pure. Throws Error of exit status 3 for a text that is no object.
std::string config_with_dtype(std::string_view json, std::string_view torch_name);

}  // namespace hfload
