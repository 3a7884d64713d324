#pragma once

#include <functional>
#include <optional>
#include <string>

#include "core/model/checkpoint.h"

namespace hfload::cli {

/// Looks a variable up; nothing when it is unset or blank.
using VariableLookup = std::function<std::optional<std::string>(const std::string& name)>;

/// Everything hfload takes from its environment, read once, here and nowhere else.
struct Environment {
  HubCacheSettings hub_cache;
  std::string temporary_directory = "/tmp";  ///< TMPDIR
  bool no_color = false;                     ///< NO_COLOR (no-color.org)
  bool ci = false;                           ///< CI: no animation
  bool utf8 = false;           ///< the locale's characters (LC_ALL, else LC_CTYPE, else LANG) are UTF-8
  bool dumb_terminal = false;  ///< TERM is "dumb" or unset
};

/// Reads the process's variables.
Environment read_environment();

/// The same from any source of variables; `home` is what ~ stands for where HOME is unset.
Environment environment_from(const VariableLookup& lookup, const std::string& home);

/// Directory of the hub cache, by the rules of huggingface_hub 1.x: HF_HUB_CACHE, else the older
/// HUGGINGFACE_HUB_CACHE, else $HF_HOME/hub, where HF_HOME is by default
/// ${XDG_CACHE_HOME:-~/.cache}/huggingface. ~ and $NAME are expanded.
std::string hub_cache_directory(const VariableLookup& lookup, const std::string& home);

}  // namespace hfload::cli
