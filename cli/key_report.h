#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cli/json_writer.h"
#include "cli/terminal.h"
#include "core/model/checkpoint.h"
#include "core/model/match_keys.h"

namespace hfload::cli {

/// What `load` makes of keys that do not match.
enum class KeyMode : uint8_t {
  complete,           ///< the model must be whole: missing and mismatched keys are failures
  strict,             ///< unexpected ones are too, as torch's load_state_dict(strict=True) has it
  ignore_mismatched,  ///< as complete, but a tensor of another shape is left out, as transformers does
};

/// The three lists, and the shapes of the mismatched ones, as members of an open object.
void write_key_lists(JsonWriter& json, const KeyLists& keys);

/// A refusal of keys. Its sentence names the first, its document under --json all.
class KeyError : public Error {
 public:
  KeyError(const Error& error, KeyLists keys) : Error(error), keys_(std::move(keys)) {}
  const KeyLists& keys() const { return keys_; }

 private:
  KeyLists keys_;
};

/// Lists all keys that the mode does not allow together, and throws for them. Throws KeyError(missing_keys,
/// mismatched_keys, unexpected_keys): the first of the three that applies, naming the first key.
void require_keys(const KeyMatches& keys, KeyMode mode, const Checkpoint& checkpoint, Compat compat,
                  Messages& messages);

/// Says, once require_keys let them pass, which keys had legacy names, are not used, or have another shape.
void report_keys(const KeyMatches& keys, Messages& messages);

}  // namespace hfload::cli
