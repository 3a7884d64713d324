#include "cli/key_report.h"

#include <fmt/core.h>

#include <algorithm>
#include <span>
#include <string>

#include "cli/text.h"
#include "core/base/join.h"

namespace hfload::cli {
namespace {

std::string describe(const MismatchedKey& key) {
  return fmt::format("{}: {} in the checkpoint, {} in the model", key.name,
                     format_shape(key.checkpoint_shape), format_shape(key.model_shape));
}

std::string list_mismatched(const KeyMatches& keys) {
  std::string text;
  for (const MismatchedKey& key : keys.mismatched_keys) text += "  " + escape_text(describe(key)) + '\n';
  return text;
}

std::string render_keys(const KeyMatches& keys, bool with_mismatched, bool with_unexpected) {
  std::string text;
  if (!keys.missing_keys.empty()) text += "Missing from the checkpoint:\n";
  for (const std::string& name : keys.missing_keys) text += "  " + escape_text(name) + '\n';
  if (with_mismatched && !keys.mismatched_keys.empty()) text += "Of another shape:\n" + list_mismatched(keys);
  if (!with_unexpected || keys.unexpected_keys.empty()) return text;
  text += "Not used by the model:\n";
  for (const std::string& name : keys.unexpected_keys) text += "  " + escape_text(name) + '\n';
  return text;
}

/// "1 tensor is", "2 tensors are".
std::string tensors_are(size_t count) {
  return fmt::format("{} {}", count_of(count, "tensor"), count == 1 ? "is" : "are");
}

Error missing_keys_error(const KeyMatches& keys, Compat compat) {
  return Error(ErrorCode::missing_keys,
               fmt::format("the checkpoint lacks {} of the model; the first is {}",
                           count_of(keys.missing_keys.size(), "tensor"), keys.missing_keys.front()))
      .with_tensor(keys.missing_keys.front())
      .with_hint(compat == Compat::v5 && !keys.unexpected_keys.empty()
                     ? "transformers 5 gives modules of this class other names than the checkpoint has, and "
                       "converts the weights while it loads them (it makes one tensor of a layer's experts). "
                       "hfload converts none: load with --compat 4."
                     : "Check that config.json names the class the weights were saved from (architectures).");
}

Error mismatched_keys_error(const KeyMatches& keys, KeyMode mode) {
  const MismatchedKey& first = keys.mismatched_keys.front();
  std::string hint =
      "config.json and the weights are of different models; compare them with hfload inspect --tensors.";
  if (mode == KeyMode::complete) hint += " --ignore-mismatched-sizes loads the rest.";
  return Error(ErrorCode::mismatched_keys,
               fmt::format("{} of the checkpoint {} another shape than the model's; the first is {}",
                           count_of(keys.mismatched_keys.size(), "tensor"),
                           keys.mismatched_keys.size() == 1 ? "has" : "have", describe(first)))
      .with_tensor(first.name)
      .with_hint(std::move(hint));
}

Error unexpected_keys_error(const KeyMatches& keys) {
  return Error(ErrorCode::unexpected_keys,
               fmt::format("the model does not use {} of the checkpoint; the first is {}",
                           count_of(keys.unexpected_keys.size(), "tensor"), keys.unexpected_keys.front()))
      .with_tensor(keys.unexpected_keys.front())
      .with_hint("Without --strict they are left out with a warning.");
}

}  // namespace

void write_key_lists(JsonWriter& json, const KeyLists& keys) {
  json.key("missing_keys").strings(keys.missing_keys);
  json.key("unexpected_keys").strings(keys.unexpected_keys);
  json.key("mismatched_keys").begin_array();
  for (const MismatchedKey& key : keys.mismatched_keys) json.string(key.name);
  json.end_array();
  json.key("mismatched_shapes").begin_array();
  for (const MismatchedKey& key : keys.mismatched_keys) {
    json.begin_object().key("name").string(key.name);
    json.key("checkpoint_shape").numbers(key.checkpoint_shape);
    json.key("model_shape").numbers(key.model_shape).end_object();
  }
  json.end_array();
}

void require_keys(const KeyMatches& keys, KeyMode mode, const Checkpoint& checkpoint, Compat compat,
                  Messages& messages) {
  const bool missing = !keys.missing_keys.empty();
  const bool mismatched = mode != KeyMode::ignore_mismatched && !keys.mismatched_keys.empty();
  const bool unexpected = mode == KeyMode::strict && !keys.unexpected_keys.empty();
  if (!missing && !mismatched && !unexpected) return;
  messages.block(render_keys(keys, mismatched, unexpected));
  Error error = missing      ? missing_keys_error(keys, compat)
                : mismatched ? mismatched_keys_error(keys, mode)
                             : unexpected_keys_error(keys);
  std::string message = error.message();
  if (missing && mismatched)
    message += fmt::format("; {} of another shape", tensors_are(keys.mismatched_keys.size()));
  if ((missing || mismatched) && unexpected)
    message += fmt::format("; {} not used by the model", tensors_are(keys.unexpected_keys.size()));
  throw KeyError(Error(error.code(), std::move(message))
                     .with_path(checkpoint.location.directory)
                     .with_tensor(error.tensor())
                     .with_hint(error.hint()),
                 keys);
}

void report_keys(const KeyMatches& keys, Messages& messages) {
  if (!keys.renamed_keys.empty()) {
    const auto& [legacy, modern] = keys.renamed_keys.front();
    messages.detail(fmt::format("{} had a legacy name, such as {} for {}",
                                count_of(keys.renamed_keys.size(), "tensor"), legacy, modern));
  }
  if (!keys.mismatched_keys.empty()) {
    messages.warning(
        fmt::format("{} not loaded, of another shape in the checkpoint than in the model, and left to be "
                    "newly initialised",
                    tensors_are(keys.mismatched_keys.size())));
    messages.table(list_mismatched(keys));
  }
  if (keys.unexpected_keys.empty()) return;
  constexpr size_t kShown = 10;
  const std::span<const std::string> shown(keys.unexpected_keys.data(),
                                           std::min(kShown, keys.unexpected_keys.size()));
  messages.warning(fmt::format("the model does not use {} of the checkpoint: {}{}",
                               count_of(keys.unexpected_keys.size(), "tensor"), join(shown, ", "),
                               shown.size() < keys.unexpected_keys.size() ? ", …" : ""));
}

}  // namespace hfload::cli
