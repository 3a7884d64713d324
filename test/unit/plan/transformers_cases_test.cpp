#include <algorithm>
#include <catch2/catch.hpp>

#include "core/model/shell.h"
#include "test/unit/plan/plan_fixtures.h"

namespace hfload {
namespace {

using namespace test;

Shell shell_of(const ConfigValue& row, Compat compat) {
  Checkpoint checkpoint;
  checkpoint.has_config = true;
  checkpoint.config = ModelConfig(at(row, "config"));
  return build_shell(checkpoint, {.dtype = dtype_of(at(row, "dtype")), .compat = compat});
}

bool flag(const ConfigValue& c, std::string_view key) {
  const ConfigValue* found = c.find(key);
  return found != nullptr && bool_of(*found);
}

DevicePlan plan_of(const Shell& shell, const ModuleSizes& sizes, const ConfigValue& c) {
  PlanOptions options;
  options.no_split_modules =
      at(c, "no_split").is_null() ? shell.tree.no_split_modules : strings_of(at(c, "no_split"));
  options.offload_buffers = flag(c, "offload_buffers");
  options.fallback_allocation = flag(c, "fallback_allocation");
  const MaxMemory memory = max_memory_of(at(c, "max_memory"));
  if (c.find("api") != nullptr) return infer_device_map(shell.tree, sizes, memory, options);
  const std::string& name = string_of(at(c, "device_map"));
  const Strategy strategy = name == "sequential"       ? Strategy::sequential
                            : name == "balanced_low_0" ? Strategy::balanced_low_0
                                                       : Strategy::balanced;
  return plan_device_map(shell.tree, sizes, memory, strategy, true, options);
}

/// What Python plans, in any of the orders in which its set of tied groups may come.
bool is_one_of_pythons(const Dictionary& ours, const ConfigValue& c) {
  if (ours == dictionary(at(c, "expected"))) return true;
  const ConfigValue* any = c.find("expected_any");
  return any != nullptr && std::ranges::any_of(array_of(*any), [&](const ConfigValue& expected) {
           return !error_of(expected) && ours == dictionary(expected);
         });
}

/// Where Python fails, hfload refuses what cannot be meant and answers the rest.
void check_answer(const Shell& shell, const ModuleSizes& sizes, const ConfigValue& c,
                  const std::string& error) {
  const bool bad_input = error.find("not recognized") != std::string::npos ||
                         error.find("valid format") != std::string::npos ||
                         error.starts_with("OverflowError");
  const bool readable =
      error.find("cuda:0") != std::string::npos || error.find("`size` 5 ") != std::string::npos;
  INFO(error);
  if (bad_input && !readable) {
    CHECK_THROWS_AS(plan_of(shell, sizes, c), Error);
    return;
  }
  try {
    check_covers_everything(shell.tree, plan_of(shell, sizes, c).device_map);
    CHECK_FALSE(error.starts_with("KeyError"));
  } catch (const Error& e) {
    // A budget that hfload reads may stand beside one that nobody does.
    if (bad_input) return;
    CHECK(e.code() == ErrorCode::invalid_device_map);
    CHECK(string_of(at(c, "device_map")) == "balanced_low_0");
  }
}

/// A user's map is refused for exactly the tensors that accelerate finds it to forget.
void check_user_map(const Shell& shell, const ConfigValue& user_map) {
  DeviceMap map;
  for (const auto& [module, device] : object_of(array_of(user_map)[0]))
    map.push_back({module, parse_device(device_name(device))});
  const std::vector<std::string> forgotten = strings_of(array_of(user_map)[1]);
  INFO("user's map " << format_device_map(map));
  if (forgotten.empty()) {
    CHECK_NOTHROW(check_device_map(shell.tree, map));
    return;
  }
  try {
    check_device_map(shell.tree, map);
    FAIL_CHECK("accepted");
  } catch (const Error& e) {
    CHECK(e.code() == ErrorCode::device_map_incomplete);
    CHECK(e.message().find(forgotten[0]) != std::string::npos);
  }
}

void replay(const std::string& fixture, Compat compat, size_t least_cases) {
  size_t equal = 0, answered = 0, all = 0, user_maps = 0;
  for (const ConfigValue& row : read_xz_jsonl_fixture(fixture)) {
    const Shell shell = shell_of(row, compat);
    const ModuleSizes sizes = compute_module_sizes(shell.tree, shell.dtype);
    size_t index = 0;
    for (const ConfigValue& c : array_of(at(row, "cases"))) {
      INFO(string_of(at(row, "name")) << " " << string_of(at(row, "dtype")) << " case " << index++);
      ++all;
      if (const auto error = error_of(at(c, "expected"))) {
        ++answered;
        check_answer(shell, sizes, c, *error);
        continue;
      }
      const DevicePlan plan = plan_of(shell, sizes, c);
      const bool is_equal = is_one_of_pythons(dictionary(plan.device_map), c);
      if (!is_equal) CHECK(dictionary(plan.device_map) == dictionary(at(c, "expected")));
      equal += is_equal;
      if (const ConfigValue* balanced = c.find("balanced")) check_budgets(plan, *balanced);
      CHECK(plan.warnings.empty() == (c.find("buffer_warning_bytes") == nullptr));
    }
    for (const ConfigValue& user_map : array_of(at(row, "user_maps"))) {
      INFO(string_of(at(row, "name")));
      check_user_map(shell, user_map);
      ++user_maps;
    }
  }
  CHECK(equal + answered == all);
  CHECK(all >= least_cases);
  CHECK(answered < all / 15);
  CHECK(user_maps >= all / 20);
}

}  // namespace

TEST_CASE("device maps equal those of transformers 4.57 and accelerate 1.x", "[plan]") {
  replay("device_maps/v4/cases.jsonl.xz", Compat::v4, 9000);
}

TEST_CASE("device maps equal those of transformers 5", "[plan]") {
  replay("device_maps/v5/cases.jsonl.xz", Compat::v5, 9000);
}

}  // namespace hfload
