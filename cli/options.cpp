#include "cli/options.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <iterator>
#include <utility>

#include "cli/flag_values.h"
#include "cli/text.h"
#include "core/base/join.h"
#include "core/base/units.h"
#include "core/plan/device.h"

namespace hfload::cli {

Error usage_error(std::string message, std::string hint) {
  return Error(ErrorCode::usage, std::move(message)).with_hint(std::move(hint));
}

std::string see_help(std::string_view command_name) {
  return command_name.empty() ? "See hfload --help." : fmt::format("See hfload {} --help.", command_name);
}

std::string usual_dtype_name(std::string_view text) {
  std::string name;
  std::ranges::transform(text, std::back_inserter(name),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (name.starts_with("torch.")) name.erase(0, 6);
  constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"fp16", "float16"}, {"f16", "float16"}, {"half", "float16"},  {"bf16", "bfloat16"},
      {"fp32", "float32"}, {"f32", "float32"}, {"float", "float32"}, {"single", "float32"}};
  for (const auto& [other, usual] : kNames) {
    if (name == other) return std::string(usual);
  }
  return name;
}

std::string choice(const FlagValues& values, FlagId id) {
  const std::vector<std::string_view> choices = split_choices(flag(id).choices);
  if (!is_given(values, id)) return std::string(choices.front());
  const std::string value = last_value(values, id);
  if (std::find(choices.begin(), choices.end(), value) != choices.end()) return value;
  const bool is_dtype = id == FlagId::dtype || id == FlagId::kv_dtype || id == FlagId::output_dtype;
  const std::string_view near = did_you_mean(is_dtype ? usual_dtype_name(value) : value, choices);
  const std::string list = fmt::format("{} is one of {}.", flag(id).name, join(choices, ", "));
  throw Error(is_dtype ? ErrorCode::invalid_dtype : ErrorCode::usage,
              fmt::format("{} does not take '{}'", flag(id).name, value))
      .with_hint(near.empty() ? list : fmt::format("Did you mean {}? {}", near, list));
}

When when(const FlagValues& values, FlagId id) {
  const std::string value = choice(values, id);
  return value == "always" ? When::always : value == "never" ? When::never : When::automatic;
}

namespace {

ReadPath read_path(const FlagValues& values) {
  const std::string name = choice(values, FlagId::io);
  return name == "pread"    ? ReadPath::pread
         : name == "direct" ? ReadPath::direct
         : name == "mmap"   ? ReadPath::mapping
                            : ReadPath::automatic;
}

/// A flag that counts something: a whole number from 1.
uint64_t parse_count(const FlagValues& values, FlagId id) {
  const std::string text = last_value(values, id);
  uint64_t count = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (fault == std::errc() && end == text.data() + text.size() && count > 0) return count;
  throw usage_error(fmt::format("{} does not take '{}'", flag(id).name, text),
                    fmt::format("{} is a whole number, 1 or more.", flag(id).name));
}

void read_cache_options(const FlagValues& values, PlanningOptions& planning) {
  for (const FlagId id : {FlagId::batch, FlagId::kv_dtype}) {
    if (!is_given(values, id) || is_given(values, FlagId::context)) continue;
    throw usage_error(fmt::format("{} says nothing without --context", flag(id).name),
                      "Give the number of tokens too, as in --context 8192.");
  }
  if (is_given(values, FlagId::context)) planning.context_tokens = parse_count(values, FlagId::context);
  if (is_given(values, FlagId::batch)) planning.batch = parse_count(values, FlagId::batch);
  const std::string dtype = choice(values, FlagId::kv_dtype);
  if (dtype != "auto") planning.kv_dtype = dtype_from_torch_name(dtype);
}

std::string_view strip(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  return text.substr(0, text.find_last_not_of(' ') + 1);
}

/// The items of all values of a flag that takes a list, which is apart by commas, by repeating it, or both.
std::vector<std::string> list_items(const FlagValues& values, FlagId id) {
  std::vector<std::string> items;
  for (const std::string& list : values_of(values, id)) {
    for (size_t begin = 0; begin <= list.size();) {
      const size_t end = std::min(list.find(',', begin), list.size());
      items.emplace_back(strip(std::string_view(list).substr(begin, end - begin)));
      begin = end + 1;
    }
  }
  return items;
}

/// accelerate's rule, which hardly anybody means.
void warn_of_bits(const std::vector<std::string>& budgets, std::vector<std::string>& warnings) {
  std::vector<std::string> in_bits;
  std::string_view size;
  for (const std::string& budget : budgets) {
    if (!counts_bits(budget)) continue;
    in_bits.push_back(budget);
    if (size.empty()) size = strip(std::string_view(budget).substr(budget.find('=') + 1));
  }
  if (in_bits.empty()) return;
  warnings.push_back(
      fmt::format("--max-memory {}: a lower-case b counts bits, as in accelerate, and {} is {} bytes; write "
                  "KB, MB or GB for bytes",
                  join(in_bits, ", "), size, group_digits(parse_byte_size(size))));
}

ModelOptions model_options(const std::string& model, const FlagValues& values) {
  return {model, last_value(values, FlagId::variant), last_value(values, FlagId::subfolder),
          last_value(values, FlagId::key)};
}

PlanningOptions planning_options(const FlagValues& values) {
  PlanningOptions planning;
  planning.compat = choice(values, FlagId::compat) == "5" ? Compat::v5 : Compat::v4;
  if (is_given(values, FlagId::max_memory)) {
    const std::vector<std::string> budgets = list_items(values, FlagId::max_memory);
    planning.max_memory = parse_max_memory(join(budgets, ","));
    warn_of_bits(budgets, planning.warnings);
  }
  const std::string dtype = choice(values, FlagId::dtype);
  if (dtype != "auto") planning.dtype = dtype_from_torch_name(dtype);
  if (is_given(values, FlagId::no_split)) planning.no_split = list_items(values, FlagId::no_split);
  planning.offload_folder = last_value(values, FlagId::offload_folder);
  planning.offload_buffers = is_given(values, FlagId::offload_buffers);
  planning.fallback_allocation = is_given(values, FlagId::fallback_allocation);
  planning.explain = is_given(values, FlagId::explain);
  read_cache_options(values, planning);
  planning.svg = last_value(values, FlagId::svg);
  if (is_given(values, FlagId::device_map)) {
    planning.device_map = parse_device_map_choice(last_value(values, FlagId::device_map));
  }
  return planning;
}

KeyMode key_mode(const FlagValues& values) {
  const bool strict = is_given(values, FlagId::strict);
  const bool ignore = is_given(values, FlagId::ignore_mismatched_sizes);
  if (strict && ignore) {
    throw usage_error("--strict and --ignore-mismatched-sizes contradict each other",
                      "--strict fails for every tensor of another shape; leave one of them out.");
  }
  return strict ? KeyMode::strict : ignore ? KeyMode::ignore_mismatched : KeyMode::complete;
}

LoadCommand load_command(const std::string& model, const FlagValues& values) {
  if (is_given(values, FlagId::gds) && is_given(values, FlagId::emulate_gpus)) {
    throw usage_error("--gds and --emulate-gpus contradict each other",
                      "GPUDirect Storage reads into the memory of a real GPU; leave one of them out.");
  }
  return {model_options(model, values),
          planning_options(values),
          is_given(values, FlagId::verify),
          is_given(values, FlagId::emulate_gpus),
          threads_of(values),
          read_path(values),
          is_given(values, FlagId::map),
          is_given(values, FlagId::gds),
          key_mode(values),
          values_of(values, FlagId::subset),
          is_given(values, FlagId::load_dry_run)};
}

GemmCommand gemm_command(const FlagValues& values) {
  const GemmCommand gemm{is_given(values, FlagId::check), is_given(values, FlagId::bench),
                         is_given(values, FlagId::cpu), threads_of(values, FlagId::product_threads)};
  if (!gemm.check && !gemm.bench) throw usage_error("gemm needs --check or --bench", see_help("gemm"));
  if (gemm.threads != 0 && !gemm.cpu) {
    throw usage_error("--threads says nothing without --cpu", "Add --cpu, or leave --threads out.");
  }
  return gemm;
}

}  // namespace

ParsedCommand typed_command(CommandId id, const std::vector<std::string>& arguments,
                            const FlagValues& values) {
  const std::string& argument = arguments.front();
  switch (id) {
    case CommandId::inspect: {
      InspectCommand inspect{model_options(argument, values),    is_given(values, FlagId::tensors),
                             is_given(values, FlagId::tree),     is_given(values, FlagId::patterns),
                             is_given(values, FlagId::metadata), last_value(values, FlagId::filter)};
      if (!inspect.filter.empty() && !inspect.tree && !inspect.patterns) inspect.tensors = true;
      return inspect;
    }
    case CommandId::plan:
      return PlanCommand{model_options(argument, values), planning_options(values)};
    case CommandId::load:
      return load_command(argument, values);
    case CommandId::scan:
      return ScanCommand{arguments};
    case CommandId::convert:
      return convert_command(arguments, values);
    case CommandId::verify:
      return VerifyCommand{
          model_options(argument, values),           is_given(values, FlagId::verified_tensors),
          last_value(values, FlagId::write_hashes),  last_value(values, FlagId::against),
          threads_of(values, FlagId::check_threads), !is_given(values, FlagId::no_hash)};
    case CommandId::diff:
      return diff_command(arguments, values);
    case CommandId::gemm:
      return gemm_command(values);
    case CommandId::completion:
      return CompletionCommand{argument};
    case CommandId::help:
      return HelpRequest{find_command(argument)};
    case CommandId::version:
      return VersionRequest{};
  }
  return HelpRequest{};
}

}  // namespace hfload::cli
