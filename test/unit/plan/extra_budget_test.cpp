#include "core/plan/extra_budget.h"

#include <catch2/catch.hpp>

#include "core/base/error.h"
#include "core/model/shell.h"
#include "core/plan/tight.h"
#include "test/unit/plan/plan_fixtures.h"
#include "test/unit/plan/random_trees.h"

namespace hfload {
namespace {

using namespace test;

bool is_on(const DevicePlan& plan, Device::Kind kind) {
  return std::ranges::any_of(plan.device_map, [&](const DeviceMapEntry& e) { return e.device.kind == kind; });
}

MaxMemory with_extra(MaxMemory memory, Device device, uint64_t bytes) {
  for (DeviceMemory& m : memory) {
    if (m.device == device) m.bytes += static_cast<double>(bytes);
  }
  return memory;
}

struct Tally {
  size_t found = 0, none = 0, smallest = 0;
};

/// Tries every rise up to one that no greater one could differ from, as all sizes here are small.
void check_rise(const ExtraBudget& extra, const MaxMemory& memory, bool cpu_too, const Replan& replan,
                uint64_t most, Tally& tally) {
  const auto is_enough = [&](uint64_t bytes) {
    const DevicePlan plan = replan(with_extra(memory, extra.device, bytes));
    return !is_on(plan, Device::Kind::disk) && !(cpu_too && is_on(plan, Device::Kind::cpu));
  };
  INFO("device " << to_string(extra.device) << (cpu_too ? ", all on GPUs" : ", off the disk"));
  if (!extra.bytes) {
    ++tally.none;
    CHECK_FALSE(is_enough(most));
    return;
  }
  ++tally.found;
  CHECK(*extra.bytes > 0);
  CHECK(is_enough(*extra.bytes));
  CHECK_FALSE(is_enough(*extra.bytes - 1));
  uint64_t smallest = 0;
  while (!is_enough(smallest)) ++smallest;
  CHECK(smallest <= *extra.bytes);
  tally.smallest += smallest == *extra.bytes;
}

Tally check_strategy(Strategy strategy, int cases) {
  RandomTrees random(11);
  Tally tally;
  for (int i = 0; i < cases; ++i) {
    const ModuleTree tree = random.tree(2, 8);
    const ModuleSizes sizes = compute_module_sizes(tree, Dtype::f16);
    MaxMemory memory = random.budgets(sizes.total(), 3);
    if (memory.empty() || memory.back().device != Device::cpu()) memory.push_back({Device::cpu(), 0});
    const PlanOptions options{.no_split_modules = tree.no_split_modules};
    const Replan replan = [&](const MaxMemory& m) {
      return plan_device_map(tree, sizes, m, strategy, true, options);
    };
    const auto most = static_cast<uint64_t>(20 * sizes.total()) + 1000;
    const DevicePlan plan = replan(memory);
    const ExtraBudgets extra = find_extra_budgets(memory, plan, replan);
    INFO("case " << i << "\n" << format_device_map(plan.device_map));
    const bool on_disk = is_on(plan, Device::Kind::disk),
               offloaded = on_disk || is_on(plan, Device::Kind::cpu);
    CHECK(extra.without_disk.size() == (on_disk ? memory.size() : 0));
    CHECK(extra.without_offload.size() == (offloaded ? memory.size() - 1 : 0));
    for (const ExtraBudget& e : extra.without_disk) check_rise(e, memory, false, replan, most, tally);
    for (const ExtraBudget& e : extra.without_offload) check_rise(e, memory, true, replan, most, tally);
  }
  return tally;
}

}  // namespace

TEST_CASE("the extra budget of tight is the smallest", "[plan]") {
  const Tally tally = check_strategy(Strategy::tight, 250);
  CHECK(tally.found > 300);
  CHECK(tally.smallest == tally.found);
}

TEST_CASE("an extra budget of the greedy solver is enough, and a byte less is not", "[plan]") {
  for (const Strategy strategy : {Strategy::sequential, Strategy::balanced}) {
    const Tally tally = check_strategy(strategy, 200);
    INFO(tally.smallest << " of " << tally.found << " are the smallest of all");
    CHECK(tally.found > 300);
    CHECK(tally.smallest * 100 >= tally.found * 98);
    CHECK((tally.none > 30) == (strategy == Strategy::balanced));
  }
}

TEST_CASE("extra budgets by hand", "[plan]") {
  ModuleTree tree;
  tree.add_module(kNoId, "", "Model");
  for (const std::string name : {"a", "b"}) {
    const auto id = static_cast<TensorId>(tree.tensors.size());
    const ModuleId module = tree.add_module(0, name, "Linear");
    tree.modules[module].parameters.push_back(id);
    tree.tensors.push_back({"weight", module, Dtype::f16, Dtype::f16, {10}, false, true, false, id});
  }
  const ModuleSizes sizes = compute_module_sizes(tree, Dtype::f16);
  const auto extra_of = [&](Strategy strategy, std::string_view budgets) {
    const MaxMemory memory = parse_max_memory(budgets);
    const Replan replan = [&](const MaxMemory& m) {
      return plan_device_map(tree, sizes, m, strategy, true, {});
    };
    return find_extra_budgets(memory, replan(memory), replan);
  };
  // a does not fit beside the 20 bytes held back for b, so both are on the disk.
  for (const Strategy strategy : {Strategy::tight, Strategy::sequential}) {
    const ExtraBudgets extra = extra_of(strategy, "0=30");
    REQUIRE(extra.without_disk.size() == 2);
    CHECK(extra.without_disk[0].device == Device::gpu(0));
    CHECK(extra.without_disk[0].bytes == 10);
    CHECK(extra.without_disk[1].device == Device::cpu());
    CHECK(extra.without_disk[1].bytes == 40);
    REQUIRE(extra.without_offload.size() == 1);
    CHECK(extra.without_offload[0].bytes == 10);
  }
  CHECK(extra_of(Strategy::tight, "0=40").without_disk.empty());
  CHECK(extra_of(Strategy::tight, "0=40").without_offload.empty());
  CHECK(extra_of(Strategy::tight, "cpu=39").without_offload.empty());
  CHECK(extra_of(Strategy::tight, "cpu=39").without_disk[0].bytes == 1);
}

TEST_CASE("budgets that a strategy refuses are not enough", "[plan]") {
  const MaxMemory memory{{Device::gpu(0), 1}};
  DevicePlan offloaded;
  offloaded.device_map = {{"", Device::cpu()}};
  const Replan refuse = [](const MaxMemory&) -> DevicePlan {
    throw Error(ErrorCode::invalid_device_map, "no");
  };
  const ExtraBudgets extra = find_extra_budgets(memory, offloaded, refuse);
  REQUIRE(extra.without_offload.size() == 1);
  CHECK_FALSE(extra.without_offload[0].bytes);
}

}  // namespace hfload
