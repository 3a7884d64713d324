#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <iterator>

#include "cli/flag_values.h"
#include "cli/text.h"
#include "core/base/file.h"
#include "core/base/join.h"

namespace hfload::cli {
namespace {

constexpr uint64_t kMaxDeviceMapBytes = 16'000'000;

/// A hint of the core's, and how a map is given.
std::string with_example(const std::string& hint) {
  return fmt::format(
      "{}{}A map is given as --device-map \"{{'encoder': 0, 'lm_head': 'cpu'}}\", or as a file that holds "
      "such a "
      "map or what hfload plan printed, with --json or without.",
      hint, hint.empty() ? "" : " ");
}

std::string device_map_forms() {
  return fmt::format("--device-map takes {}, the number of a GPU, a map, or a FILE that holds one.",
                     join(split_choices(flag(FlagId::device_map).choices), ", "));
}

/// Parses a map. What is wrong with it gets the code that `code_of` makes of the parser's.
template <class CodeOf>
DeviceMap parse_map(std::string_view text, CodeOf&& code_of) {
  try {
    return parse_device_map(text);
  } catch (const Error& error) {
    Error named(code_of(error), fmt::format("--device-map: {}", error.message()));
    if (error.offset()) named.with_offset(*error.offset());
    throw named.with_hint(with_example(error.hint()));
  }
}

DeviceMap read_inline_map(std::string_view text) {
  return parse_map(text, [](const Error& error) {
    return error.exit_status() == 3 ? ErrorCode::invalid_device_map : error.code();
  });
}

DeviceMap read_map_file(const std::string& path) {
  try {
    return parse_map(read_text_file(open_regular_file(path), kMaxDeviceMapBytes), [](const Error& error) {
      return error.exit_status() == 2 ? ErrorCode::malformed_device_map : error.code();
    });
  } catch (Error& error) {
    if (error.path().empty()) error.with_path(path);
    if (error.code() == ErrorCode::not_found) error.with_hint(device_map_forms());
    throw;
  }
}

std::string lower_case(std::string_view text) {
  std::string lower;
  std::ranges::transform(text, std::back_inserter(lower),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower;
}

std::string hint_for(std::string_view text) {
  const std::string lower = lower_case(text);
  if (lower.starts_with("gpu") || lower.starts_with("cuda"))
    return "A GPU is named by its number, such as 0 or cuda:0.";
  const std::string_view near = did_you_mean(lower, split_choices(flag(FlagId::device_map).choices));
  return near.empty() ? device_map_forms() : fmt::format("Did you mean {}?", near);
}

}  // namespace

DeviceMapChoice parse_device_map_choice(const std::string& text) {
  constexpr std::pair<std::string_view, Strategy> kStrategies[] = {
      {"auto", Strategy::balanced_auto},
      {"balanced", Strategy::balanced},
      {"balanced_low_0", Strategy::balanced_low_0},
      {"sequential", Strategy::sequential},
      {"tight", Strategy::tight}};
  for (const auto& [name, strategy] : kStrategies) {
    if (text == name) return strategy;
  }
  const size_t start = text.find_first_not_of(" \t\r\n");
  if (start != std::string::npos && text[start] == '{') return read_inline_map(text);
  try {
    return DeviceMap{{"", parse_device(text)}};
  } catch (const Error&) {
    struct stat status {};
    if (text.ends_with(".json") || stat(text.c_str(), &status) == 0) return read_map_file(text);
  }
  throw Error(ErrorCode::invalid_device_map,
              fmt::format("'{}' is no strategy, no device, and no file with a device map", text))
      .with_hint(hint_for(text));
}

}  // namespace hfload::cli
