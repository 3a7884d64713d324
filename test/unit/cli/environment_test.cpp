#include "cli/environment.h"

#include <catch2/catch.hpp>
#include <map>

namespace hfload::cli {
namespace {

VariableLookup lookup_in(std::map<std::string, std::string> variables) {
  return [variables = std::move(variables)](const std::string& name) -> std::optional<std::string> {
    const auto at = variables.find(name);
    return at == variables.end() ? std::nullopt : std::optional(at->second);
  };
}

std::string cache_of(std::map<std::string, std::string> variables) {
  return hub_cache_directory(lookup_in(std::move(variables)), "/of/passwd");
}

TEST_CASE("The hub cache is found as huggingface_hub finds it") {
  CHECK(cache_of({}) == "/of/passwd/.cache/huggingface/hub");
  CHECK(cache_of({{"HOME", "/home/u"}}) == "/home/u/.cache/huggingface/hub");
  CHECK(cache_of({{"HOME", "/home/u"}, {"XDG_CACHE_HOME", "/x"}}) == "/x/huggingface/hub");
  CHECK(cache_of({{"XDG_CACHE_HOME", "/x"}, {"HF_HOME", "/hf"}}) == "/hf/hub");
  CHECK(cache_of({{"HF_HOME", "/hf"}, {"HUGGINGFACE_HUB_CACHE", "/old"}}) == "/old");
  CHECK(cache_of({{"HUGGINGFACE_HUB_CACHE", "/old"}, {"HF_HUB_CACHE", "/new"}}) == "/new");
  CHECK(cache_of({{"HOME", "/home/u"}, {"HF_HOME", "~/hf"}}) == "/home/u/hf/hub");
  CHECK(cache_of({{"HOME", "/home/u"}, {"HF_HOME", "~"}}) == "/home/u/hub");
  CHECK(cache_of({{"HOME", "/home/u"}, {"HF_HOME", "~other/hf"}}) == "~other/hf/hub");
}

TEST_CASE("Variables in a cache path are expanded as os.path.expandvars does") {
  const std::map<std::string, std::string> base{{"A", "/a"}, {"A_B", "/ab"}};
  const auto with = [&](const std::string& path) {
    auto variables = base;
    variables["HF_HUB_CACHE"] = path;
    return cache_of(variables);
  };
  CHECK(with("$A/x") == "/a/x");
  CHECK(with("${A}x") == "/ax");
  CHECK(with("$A_B") == "/ab");
  CHECK(with("$NONE/x") == "$NONE/x");
  CHECK(with("${NONE}") == "${NONE}");
  CHECK(with("${A") == "${A");
  CHECK(with("cost$") == "cost$");
  CHECK(with("$$A") == "$/a");
}

TEST_CASE("What the environment says about the terminal") {
  const Environment plain = environment_from(lookup_in({{"TERM", "xterm"}}), "/");
  CHECK_FALSE(plain.no_color);
  CHECK_FALSE(plain.ci);
  CHECK_FALSE(plain.dumb_terminal);
  CHECK(environment_from(lookup_in({}), "/").dumb_terminal);
  CHECK(environment_from(lookup_in({{"TERM", "dumb"}}), "/").dumb_terminal);
  CHECK(environment_from(lookup_in({{"NO_COLOR", "1"}}), "/").no_color);
  CHECK(environment_from(lookup_in({{"CI", "true"}}), "/").ci);
  CHECK_FALSE(environment_from(lookup_in({{"CI", "false"}}), "/").ci);
  CHECK_FALSE(plain.utf8);
  CHECK(environment_from(lookup_in({{"LANG", "de_DE.UTF-8"}}), "/").utf8);
  CHECK(environment_from(lookup_in({{"LANG", "C"}, {"LC_CTYPE", "C.utf8"}}), "/").utf8);
  CHECK_FALSE(
      environment_from(lookup_in({{"LANG", "C.UTF-8"}, {"LC_CTYPE", "C.UTF-8"}, {"LC_ALL", "C"}}), "/").utf8);
}

}  // namespace
}  // namespace hfload::cli
