#include <algorithm>
#include <catch2/catch.hpp>

#include "core/model/shell.h"
#include "test/unit/plan/plan_fixtures.h"

namespace hfload {
namespace {

using namespace test;

Shell shell_of(const ConfigValue& configs, const ConfigValue& c) {
  Checkpoint checkpoint;
  checkpoint.has_config = true;
  ConfigValue::Object config = object_of(at(configs, string_of(at(c, "config"))));
  std::erase_if(config, [](const auto& member) { return member.first == "architectures"; });
  config.emplace_back("architectures", ConfigValue{ConfigValue::Array{at(c, "class")}});
  checkpoint.config = ModelConfig(ConfigValue{config});
  return build_shell(checkpoint, {.dtype = dtype_of(at(c, "dtype"))});
}

DevicePlan plan_of(const Shell& shell, const ConfigValue& c) {
  PlanOptions options;
  options.no_split_modules =
      at(c, "no_split").is_null() ? shell.tree.no_split_modules : strings_of(at(c, "no_split"));
  options.offload_buffers = bool_of(at(c, "offload_buffers"));
  options.fallback_allocation = bool_of(at(c, "fallback_allocation"));
  const ModuleSizes sizes = compute_module_sizes(shell.tree, shell.dtype);
  const MaxMemory memory = max_memory_of(at(c, "max_memory"));
  if (c.find("api") != nullptr) return infer_device_map(shell.tree, sizes, memory, options);
  const std::string& name = string_of(at(c, "device_map"));
  const Strategy strategy = name == "sequential"       ? Strategy::sequential
                            : name == "balanced_low_0" ? Strategy::balanced_low_0
                                                       : Strategy::balanced;
  return plan_device_map(shell.tree, sizes, memory, strategy, true, options);
}

}  // namespace

TEST_CASE("device maps equal those of transformers 4.57 and accelerate 1.x", "[plan]") {
  const ConfigValue configs = read_json_fixture("device_maps/configs.json");
  const ConfigValue& by_name = configs.find("configs") != nullptr ? at(configs, "configs") : configs;
  const std::vector<ConfigValue> cases = read_jsonl_fixture("device_maps/cases.jsonl");
  REQUIRE(cases.size() >= 1500);
  size_t equal = 0, answered = 0;
  for (const ConfigValue& c : cases) {
    INFO(string_of(at(c, "case")));
    const Shell shell = shell_of(by_name, c);
    const auto error = error_of(at(c, "expected"));
    if (!error) {
      const DevicePlan plan = plan_of(shell, c);
      const Dictionary ours = dictionary(plan.device_map), python = dictionary(at(c, "expected"));
      CHECK(ours == python);
      equal += ours == python;
      if (const ConfigValue* balanced = c.find("balanced")) check_budgets(plan, *balanced);
      CHECK(plan.warnings.empty() == (c.find("buffer_warning_bytes") == nullptr));
      continue;
    }
    ++answered;
    // Where Python fails, hfload refuses what cannot be meant and answers the rest.
    const bool bad_input = error->find("not recognized") != std::string::npos ||
                           error->find("valid format") != std::string::npos ||
                           error->starts_with("OverflowError");
    const bool readable =
        error->find("cuda:0") != std::string::npos || error->find("`size` 5 ") != std::string::npos;
    if (bad_input && !readable) {
      CHECK_THROWS_AS(plan_of(shell, c), Error);
      continue;
    }
    try {
      check_covers_everything(shell.tree, plan_of(shell, c).device_map);
      CHECK_FALSE(error->starts_with("KeyError"));
    } catch (const Error& e) {
      CHECK(e.code() == ErrorCode::invalid_device_map);
      CHECK(string_of(at(c, "device_map")) == "balanced_low_0");
    }
  }
  CHECK(equal + answered == cases.size());
  CHECK(answered < 100);
}

}  // namespace hfload
