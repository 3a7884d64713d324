#include "cli/flag_values.h"

#include <fmt/core.h>

#include <charconv>
#include <cmath>
#include <utility>

#include "cli/text.h"
#include "core/base/error.h"
#include "core/base/join.h"
#include "core/base/units.h"
#include "core/format/dtype.h"
#include "core/save/destination.h"

namespace hfload::cli {
namespace {

/// A whole number from 1 to `most`; `fallback` where the flag is absent.
unsigned small_number(const FlagValues& values, FlagId id, unsigned most, unsigned fallback) {
  if (!is_given(values, id)) return fallback;
  const std::string text = last_value(values, id);
  unsigned number = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (fault == std::errc() && end == text.data() + text.size() && number >= 1 && number <= most)
    return number;
  throw usage_error(fmt::format("{} does not take '{}'", flag(id).name, text),
                    fmt::format("{} is a number from 1 to {}.", flag(id).name, most));
}

/// The parts before and after an equals sign: the first, or the last.
std::pair<std::string, std::string> divide(const std::string& text, FlagId id, bool at_first) {
  const size_t equals = at_first ? text.find('=') : text.rfind('=');
  if (equals != std::string::npos && equals > 0) return {text.substr(0, equals), text.substr(equals + 1)};
  throw usage_error(fmt::format("{} does not take '{}'", flag(id).name, text),
                    fmt::format("Write {}.", flag_synopsis(flag(id))));
}

std::optional<Dtype> parse_dtype(const std::string& name) {
  for (const std::string_view known : split_choices(flag(FlagId::output_dtype).choices)) {
    if (name == known) return dtype_from_torch_name(name);
  }
  const std::vector<std::string_view> choices = split_choices(flag(FlagId::output_dtype).choices);
  const std::string_view near = did_you_mean(usual_dtype_name(name), choices);
  throw Error(ErrorCode::invalid_dtype, fmt::format("--dtype-for does not take the dtype '{}'", name))
      .with_hint(fmt::format("{}It is one of {}.", near.empty() ? "" : fmt::format("Did you mean {}? ", near),
                             join(choices, ", ")));
}

/// --max-shard-size in bytes.
uint64_t parse_shard_size(const FlagValues& values) {
  const std::string text = last_value(values, FlagId::max_shard_size);
  const uint64_t bytes = parse_byte_size(text);
  if (bytes == 0) throw usage_error("--max-shard-size is 0", "Give a size such as 5GB.");
  if (!counts_bits(text)) return bytes;
  throw Error(ErrorCode::invalid_size, fmt::format("--max-shard-size {} may be bits or bytes", text))
      .with_hint(
          "A lower-case b counts bits in accelerate and bytes in the Hub library: write GB, MB or KB for "
          "bytes.");
}

ConvertOptions convert_options(const FlagValues& values) {
  ConvertOptions options;
  options.dtype = dtype_from_torch_name(choice(values, FlagId::output_dtype));
  for (const std::string& text : values_of(values, FlagId::dtype_for)) {
    const auto [glob, dtype] = divide(text, FlagId::dtype_for, false);
    options.dtype_for.emplace_back(glob, parse_dtype(dtype));
  }
  if (is_given(values, FlagId::max_shard_size)) options.max_shard_bytes = parse_shard_size(values);
  options.merge = is_given(values, FlagId::merge);
  options.include = values_of(values, FlagId::include);
  options.exclude = values_of(values, FlagId::exclude);
  for (const std::string& text : values_of(values, FlagId::rename))
    options.renames.push_back(divide(text, FlagId::rename, true));
  if (choice(values, FlagId::tied) == "duplicate") options.tied = TiedPolicy::duplicate;
  if (choice(values, FlagId::format) == "pytorch") options.format = WeightFormat::pytorch;
  return options;
}

/// Refuses a size for the shards of an output that is one file.
void require_shards(const ConvertCommand& command, const FlagValues& values) {
  if (!is_given(values, FlagId::max_shard_size)) return;
  if (command.options.merge) {
    throw usage_error("--merge and --max-shard-size contradict each other",
                      "--merge writes one file, however large; leave one of them out.");
  }
  if (command.destination.empty() || !is_single_file(command.destination, command.options.format)) return;
  throw usage_error(
      fmt::format("--max-shard-size says nothing for {}, which is one file", command.destination),
      "Leave it out, or give the name of a directory.");
}

}  // namespace

unsigned threads_of(const FlagValues& values, FlagId id) {
  constexpr unsigned kMostThreads = 256;
  return small_number(values, id, kMostThreads, 0);
}

DiffCommand diff_command(const std::vector<std::string>& arguments, const FlagValues& values) {
  if (arguments.size() != 2 || arguments[0].empty() || arguments[1].empty())
    throw usage_error("diff needs two models, A and B", "See hfload diff --help.");
  const std::string variant = last_value(values, FlagId::variant);
  const std::string subfolder = last_value(values, FlagId::subfolder);
  DiffCommand command{.a = {arguments[0], variant, subfolder, ""},
                      .b = {arguments[1], variant, subfolder, ""}};
  command.tensors = is_given(values, FlagId::compared_tensors);
  command.threads = threads_of(values, FlagId::check_threads);
  if (!is_given(values, FlagId::tolerance)) return command;
  const std::string text = last_value(values, FlagId::tolerance);
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), command.tolerance);
  const bool whole = fault == std::errc() && end == text.data() + text.size();
  if (whole && command.tolerance >= 0 && std::isfinite(command.tolerance)) return command;
  throw usage_error(fmt::format("--tolerance does not take '{}'", text),
                    "It is a number from 0, such as 1e-3.");
}

ConvertCommand convert_command(const std::vector<std::string>& arguments, const FlagValues& values) {
  constexpr unsigned kMostJobs = 64;
  ConvertCommand command;
  std::vector<std::string> models = arguments;
  command.output_directory = last_value(values, FlagId::output);
  if (!is_given(values, FlagId::output)) {
    if (models.size() < 2) throw usage_error("convert needs SRC and DST", "See hfload convert --help.");
    if (models.size() > 2) {
      throw usage_error(fmt::format("unexpected argument '{}'", models[2]),
                        "To convert several models, give the directory of their outputs with -o.");
    }
    if (is_given(values, FlagId::jobs))
      throw usage_error("--jobs says nothing without -o", "Give -o DIR too.");
    command.destination = models[1];
    models.resize(1);
  }
  for (const std::string& model : models) {
    if (model.empty()) throw usage_error("the name of a model is empty", "See hfload convert --help.");
    command.sources.push_back({model, last_value(values, FlagId::variant),
                               last_value(values, FlagId::subfolder), last_value(values, FlagId::key)});
  }
  if (command.output_directory.empty() && command.destination.empty())
    throw usage_error("DST is empty", "See hfload convert --help.");
  command.options = convert_options(values);
  if (!command.destination.empty()) require_destination_name(command.destination, command.options.format);
  require_shards(command, values);
  command.dry_run = is_given(values, FlagId::dry_run);
  command.force = is_given(values, FlagId::force);
  command.threads = threads_of(values);
  command.jobs = small_number(values, FlagId::jobs, kMostJobs, 1);
  return command;
}

}  // namespace hfload::cli
