#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/planning.h"
#include "cli/render_verify.h"
#include "cli/signals.h"
#include "cli/text.h"
#include "core/base/atomic_file.h"
#include "core/base/file.h"
#include "core/check/checksums.h"
#include "core/check/copies.h"
#include "core/check/saved_hashes.h"
#include "core/check/structure.h"
#include "core/check/values.h"

namespace hfload::cli {
namespace {

template <class T>
void append(std::vector<T>& to, std::vector<T> from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

/// Refuses a model of which no weight can be read: what is not looked at is not clean.
void require_weights(const Checkpoint& checkpoint) {
  const ModelLocation& location = checkpoint.location;
  if (checkpoint.shards.empty()) {
    if (location.obstacle) throw Error(*location.obstacle);
    throw Error(ErrorCode::weights_not_found, "there are no weights to verify")
        .with_path(location.directory)
        .with_hint(location.variants_hint.empty()
                       ? "hfload inspect shows what a config.json alone says."
                       : fmt::format("Weights of these variants are there: {}. Use --variant.",
                                     location.variants_hint));
  }
  if (std::ranges::any_of(checkpoint.shards, &Shard::is_read)) return;
  throw Error(ErrorCode::unsupported_format,
              "these are neither safetensors files nor PyTorch checkpoints, and verify reads no other format")
      .with_path(location.weights_path)
      .with_hint("Save the model as safetensors first, for example with save_pretrained of transformers.");
}

void add(std::vector<Finding>& findings, std::string_view code, std::string_view what,
         std::vector<std::string> names) {
  if (names.empty()) return;
  std::ranges::sort(names);
  const std::string message = fmt::format("{} {}", count_of(names.size(), "tensor"), what);
  findings.push_back({code, message, std::move(names)});
}

RegularFile open_hashes(const std::string& path) {
  try {
    return open_regular_file(path);
  } catch (Error& error) {
    if (error.path().empty()) error.with_path(path);
    if (error.code() == ErrorCode::not_found)
      error.with_hint("Give --against a file that hfload verify MODEL --write-hashes FILE wrote.");
    throw;
  }
}

void add_hash_findings(HashDifferences found, std::vector<Finding>& findings) {
  add(findings, "hash_differs", "differ from the file of hashes", std::move(found.differing));
  add(findings, "hash_missing", "of the file of hashes are not there", std::move(found.missing));
  add(findings, "hash_new", "are not in the file of hashes", std::move(found.fresh));
}

/// Hashes files that have a checksum; a pass of its own, so that each is read from its start to its end.
void compare_checksums(Verified& verified, KnownChecksums known, CheckRun run, const Context& context) {
  ProgressBar bar(context.common, context.environment, "hashing");
  run.progress = [&](const ConvertProgress& done) {
    bar.update({done.done_bytes, done.total_bytes, done.seconds});
  };
  verified.checksums = {check_checksums(verified.checkpoint, std::move(known.known), run),
                        std::move(known.without)};
  append(verified.findings, checksum_findings(verified.checksums.files));
}

void write_hashes(const Verified& verified, const TextSink& sink) {
  JsonWriter json(sink);
  json.begin_object().key("schema").string("hfload.hashes/1").key("tensors").begin_object();
  for (size_t i = 0; i < verified.statistics.size(); ++i) {
    if (!verified.statistics[i]) continue;
    const CheckpointTensor& tensor = verified.checkpoint.tensors[i];
    json.key(tensor.name).begin_object().key("dtype").string(tensor.dtype_name());
    json.key("shape").numbers(tensor.shape).key("hash");
    json.string(fmt::format("{:016x}", verified.statistics[i]->hash)).end_object();
  }
  json.end_object().end_object();
  json.finish();
}

}  // namespace

void run_verify(const VerifyCommand& command, const Context& context) {
  std::optional<RegularFile> against;
  if (!command.against.empty()) against = open_hashes(command.against);
  std::optional<SavedHashes> expected;
  Verified verified;
  {
    const SignalWatch watch;
    const ModelLocation location = locate(command.model, context.environment);
    verified.checkpoint = open_damaged_checkpoint(location, verified.findings);
    require_weights(verified.checkpoint);
    KnownChecksums known;
    if (command.checksums) known = find_known_checksums(verified.checkpoint);
    StructureReport structure = check_structure(verified.checkpoint);
    append(verified.findings, std::move(structure.findings));
    append(verified.warnings, verified.checkpoint.warnings);
    append(verified.warnings, verified.checkpoint.load_warnings());
    append(verified.warnings, std::move(structure.warnings));
    append(verified.warnings, std::move(known.warnings));
    for (const std::string& warning : verified.warnings) context.messages.warning(warning);
    CheckRun run{command.threads, nullptr, [] { return received_signal() != 0; }};
    if (against) expected.emplace(verified.checkpoint, *against);
    append(verified.findings, check_archives(verified.checkpoint, run));
    const CheckRun copies_run = run;
    compare_checksums(verified, std::move(known), run, context);
    ProgressBar bar(context.common, context.environment, "verifying");
    run.progress = [&](const ConvertProgress& done) {
      bar.update({done.done_bytes, done.total_bytes, done.seconds});
    };
    const auto source = open_tensor_source(verified.checkpoint, AbsentShards::allow);
    verified.statistics = scan_tensors(verified.checkpoint, *source, run);
    append(verified.findings,
           check_copies(verified.checkpoint, *source, structure.copies, verified.statistics, copies_run));
    append(verified.findings, check_values(verified.checkpoint, verified.statistics));
    stop_if_interrupted();
  }
  if (expected) add_hash_findings(expected->compare(verified.statistics), verified.findings);
  if (!command.write_hashes.empty()) {
    write_file_atomically(command.write_hashes, [&](const TextSink& sink) { write_hashes(verified, sink); });
  }
  if (context.common.json) {
    write_verified_json(verified, write_standard_output);
  } else {
    write_verified(verified, command.tensors, write_standard_output);
  }
  if (std::ranges::any_of(verified.findings, is_fault)) throw CheckFailed{};
}

}  // namespace hfload::cli
