#include "cli/environment.h"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <vector>

namespace hfload::cli {
namespace {

bool is_blank(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isspace(c) != 0; });
}

bool is_name_character(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

/// As Python's os.path.expandvars: $NAME and ${NAME}; an unknown variable stays as written.
std::string expand_variables(const std::string& text, const VariableLookup& lookup) {
  std::string expanded;
  for (size_t at = 0; at < text.size();) {
    if (text[at] != '$') {
      expanded += text[at++];
      continue;
    }
    const bool braced = at + 1 < text.size() && text[at + 1] == '{';
    const size_t begin = at + (braced ? 2 : 1);
    size_t end = begin;
    while (end < text.size() && is_name_character(text[end])) ++end;
    const bool closed = !braced || (end < text.size() && text[end] == '}');
    const size_t next = braced && closed ? end + 1 : end;
    const auto value = closed && end > begin ? lookup(text.substr(begin, end - begin)) : std::nullopt;
    expanded += value ? *value : text.substr(at, next - at);
    at = next;
  }
  return expanded;
}

std::string expand_path(const std::string& text, const VariableLookup& lookup, const std::string& home) {
  const bool from_home = text == "~" || text.starts_with("~/");
  return expand_variables(from_home ? home + text.substr(1) : text, lookup);
}

bool is_utf8_locale(const VariableLookup& lookup) {
  std::string locale;
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    if (locale.empty()) locale = lookup(name).value_or("");
  }
  std::transform(locale.begin(), locale.end(), locale.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return locale.find("utf-8") != std::string::npos || locale.find("utf8") != std::string::npos;
}

std::string passwd_home() {
  std::vector<char> buffer(16384);
  passwd entry{};
  passwd* found = nullptr;
  if (getpwuid_r(getuid(), &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr) return "/";
  return found->pw_dir;
}

}  // namespace

std::string hub_cache_directory(const VariableLookup& lookup, const std::string& home_without_variable) {
  const std::string home = lookup("HOME").value_or(home_without_variable);
  if (const auto cache = lookup("HF_HUB_CACHE")) return expand_path(*cache, lookup, home);
  if (const auto cache = lookup("HUGGINGFACE_HUB_CACHE")) return expand_path(*cache, lookup, home);
  if (const auto hf_home = lookup("HF_HOME")) return expand_path(*hf_home, lookup, home) + "/hub";
  const std::string cache_home = expand_path(lookup("XDG_CACHE_HOME").value_or("~/.cache"), lookup, home);
  return cache_home + "/huggingface/hub";
}

Environment environment_from(const VariableLookup& lookup, const std::string& home) {
  Environment environment;
  environment.hub_cache.hub_cache = hub_cache_directory(lookup, home);
  environment.temporary_directory = lookup("TMPDIR").value_or("/tmp");
  environment.no_color = lookup("NO_COLOR").has_value();
  const std::string ci = lookup("CI").value_or("false");
  environment.ci = ci != "false" && ci != "0";
  environment.utf8 = is_utf8_locale(lookup);
  environment.dumb_terminal = lookup("TERM").value_or("dumb") == "dumb";
  return environment;
}

Environment read_environment() {
  const VariableLookup lookup = [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    if (value == nullptr || is_blank(value)) return std::nullopt;
    return value;
  };
  return environment_from(lookup, lookup("HOME") ? "" : passwd_home());
}

}  // namespace hfload::cli
