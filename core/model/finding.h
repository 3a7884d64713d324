#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hfload {

/// Something that is not as it should be about a checkpoint.
struct Finding {
  std::string_view code;  ///< stable: "missing_keys", docs/formats.md and docs/verify.md list them
  std::string message;    ///< one sentence
  std::vector<std::string>
      names;  ///< the tensors, or files, it is about, as the checkpoint names them, sorted; may be empty
  std::string hint = {};  ///< what to do about it; may be empty
};

}  // namespace hfload
