#include "core/plan/tight.h"

#include <catch2/catch.hpp>

#include "core/model/shell.h"
#include "test/unit/plan/plan_fixtures.h"
#include "test/unit/plan/random_trees.h"
#include "test/unit/plan/tight_oracle.h"

namespace hfload {
namespace {

using namespace test;

PlanOptions options_of(const ModuleTree& tree) { return {.no_split_modules = tree.no_split_modules}; }

/// The plan says of itself what its map says.
void check_accounts(const TightOracle& oracle, const DevicePlan& plan) {
  const std::vector<double> used = oracle.used(plan.device_map), reserves = oracle.reserves(plan.device_map);
  size_t gpus = 0;
  for (const DeviceUsage& usage : plan.devices) {
    const size_t place = usage.device.is_gpu()                    ? gpus++
                         : usage.device.kind == Device::Kind::cpu ? used.size() - 2
                                                                  : used.size() - 1;
    INFO("device " << to_string(usage.device));
    CHECK(usage.used_bytes == used[place]);
    CHECK(usage.reserved_bytes == reserves[place]);
  }
}

/// A model of leaves with one parameter each, `f16`, so that n elements are 2n bytes.
ModuleTree leaves(const std::vector<std::pair<std::string, uint64_t>>& names_and_elements) {
  ModuleTree tree;
  tree.add_module(kNoId, "", "Model");
  for (const auto& [name, elements] : names_and_elements) {
    const ModuleId id = tree.add_module(0, name, elements == 0 ? "Dropout" : "Linear");
    if (elements == 0) continue;
    const auto t = static_cast<TensorId>(tree.tensors.size());
    tree.tensors.push_back({"weight", id, Dtype::f16, Dtype::f16, {elements}, false, true, false, t});
    tree.modules[id].parameters.push_back(t);
  }
  return tree;
}

std::string tight_map(const ModuleTree& tree, std::string_view memory) {
  const ModuleSizes sizes = compute_module_sizes(tree, Dtype::f16);
  return format_device_map(
      infer_tight_device_map(tree, sizes, parse_max_memory(memory), options_of(tree)).device_map);
}

}  // namespace

TEST_CASE("tight is as good as the best of all divisions in order", "[plan]") {
  RandomTrees random(2024);
  std::map<size_t, size_t> cases_by_devices;
  size_t tied = 0, split_by_reserve = 0;
  for (int i = 0; i < 12000; ++i) {
    const ModuleTree tree = random.tree(6, 14);
    const ModuleSizes sizes = random.sizes(tree);
    const MaxMemory memory = random.budgets(sizes.total(), 4);
    const TightOracle oracle(tree, sizes, tree.no_split_modules, memory);
    const DevicePlan plan = infer_tight_device_map(tree, sizes, memory, options_of(tree));
    const auto found = oracle.objective(plan.device_map);
    INFO("case " << i << "\n" << format_device_map(plan.device_map));
    REQUIRE(found.has_value());
    const auto [best, best_devices] = oracle.best();
    CHECK(found->disk_bytes == best.disk_bytes);
    CHECK(found->cpu_bytes == best.cpu_bytes);
    CHECK(found->boundaries == best.boundaries);
    CHECK(found->fullest_share == best.fullest_share);
    CHECK(oracle.devices(plan.device_map) == best_devices);
    check_accounts(oracle, plan);
    check_covers_everything(tree, plan.device_map);
    ++cases_by_devices[found->boundaries];
    tied += !tree.tied_groups().empty();
    split_by_reserve += std::ranges::any_of(plan.devices, [](const DeviceUsage& usage) {
      return usage.device.is_gpu() && usage.reserved_bytes > 0;
    });
  }
  // The cases are worth something only if they divide the models.
  CHECK(cases_by_devices[1] > 1000);
  CHECK(cases_by_devices[2] > 500);
  CHECK(cases_by_devices[3] > 150);
  CHECK(tied > 1000);
  CHECK(split_by_reserve > 500);
}

TEST_CASE("tight is never worse than the greedy solver on random models", "[plan]") {
  RandomTrees random(7);
  size_t comparable = 0, better = 0;
  for (int i = 0; i < 5000; ++i) {
    const ModuleTree tree = random.tree(6, 25);
    const ModuleSizes sizes = compute_module_sizes(tree, Dtype::f16);
    const MaxMemory memory = random.budgets(sizes.total(), 4);
    const TightOracle oracle(tree, sizes, tree.no_split_modules, memory);
    const auto tight =
        oracle.objective(infer_tight_device_map(tree, sizes, memory, options_of(tree)).device_map);
    REQUIRE(tight.has_value());
    for (const Strategy strategy : {Strategy::sequential, Strategy::balanced, Strategy::balanced_low_0}) {
      INFO("case " << i);
      const auto greedy =
          oracle.objective(plan_device_map(tree, sizes, memory, strategy, true, options_of(tree)).device_map);
      if (!greedy) continue;
      CHECK(*tight <= *greedy);
      ++comparable;
      better += *tight < *greedy;
    }
  }
  CHECK(comparable > 5000);
  CHECK(better > 500);
}

TEST_CASE("tight is never worse than the greedy solver on real architectures", "[plan]") {
  for (const Compat compat : {Compat::v4, Compat::v5}) {
    size_t comparable = 0, better = 0, all = 0;
    const std::string fixture =
        compat == Compat::v4 ? "device_maps/v4/cases.jsonl.xz" : "device_maps/v5/cases.jsonl.xz";
    for (const ConfigValue& row : read_xz_jsonl_fixture(fixture)) {
      Checkpoint checkpoint;
      checkpoint.has_config = true;
      checkpoint.config = ModelConfig(at(row, "config"));
      const Shell shell = build_shell(checkpoint, {.dtype = dtype_of(at(row, "dtype")), .compat = compat});
      const ModuleSizes sizes = compute_module_sizes(shell.tree, shell.dtype);
      for (const ConfigValue& c : array_of(at(row, "cases"))) {
        if (error_of(at(c, "expected"))) continue;
        INFO(string_of(at(row, "name")));
        const PlanOptions options{.no_split_modules = at(c, "no_split").is_null()
                                                          ? shell.tree.no_split_modules
                                                          : strings_of(at(c, "no_split"))};
        const MaxMemory memory = max_memory_of(at(c, "max_memory"));
        const TightOracle oracle(shell.tree, sizes, options.no_split_modules, memory);
        const DevicePlan plan = infer_tight_device_map(shell.tree, sizes, memory, options);
        const auto tight = oracle.objective(plan.device_map);
        REQUIRE(tight.has_value());
        check_accounts(oracle, plan);
        ++all;
        const auto greedy = oracle.objective(infer_device_map(shell.tree, sizes, memory, options).device_map);
        if (!greedy) continue;
        CHECK(*tight <= *greedy);
        ++comparable;
        better += *tight < *greedy;
      }
    }
    CHECK(all > 1500);
    CHECK(comparable > all / 2);
    CHECK(better > 100);
  }
}

TEST_CASE("tight holds nothing back where nothing is offloaded", "[plan]") {
  const ModuleTree tree = leaves({{"a", 10}, {"b", 30}, {"c", 10}});
  CHECK(tight_map(tree, "0=100") == "{'': 0}");
  CHECK(tight_map(tree, "0=40,1=80") == "{'a': 0,\n 'b': 1,\n 'c': 1}");
  // The greedy solver holds b's 60 bytes back on the first GPU and leaves it empty.
  CHECK(tight_map(tree, "0=80,1=20") == "{'a': 0,\n 'b': 0,\n 'c': 1}");
}

TEST_CASE("tight holds the largest layer that is elsewhere back on the first GPU with weights", "[plan]") {
  const ModuleTree tree = leaves({{"a", 10}, {"b", 30}, {"c", 10}});
  CHECK(tight_map(tree, "0=100,cpu=1KB") == "{'': 0}");
  CHECK(tight_map(tree, "0=99,cpu=1KB") == "{'a': 0,\n 'b': 'cpu',\n 'c': 'cpu'}");
  CHECK(tight_map(tree, "0=80,cpu=1KB") == "{'a': 0,\n 'b': 'cpu',\n 'c': 'cpu'}");
  // c, of 20 bytes, could run beside a and b with 100 bytes; b could not run beside a with 79.
  CHECK(tight_map(tree, "0=79,cpu=1KB") == "{'': 'cpu'}");
  CHECK(tight_map(tree, "0=79,1=80,cpu=1KB") == "{'a': 0,\n 'b': 1,\n 'c': 1}");
}

TEST_CASE("tight prefers the earlier of equal GPUs", "[plan]") {
  const ModuleTree tree = leaves({{"a", 10}, {"b", 10}, {"c", 10}, {"d", 10}});
  // GPU 2 is full whether GPU 0 or GPU 1 takes the first.
  CHECK(tight_map(tree, "0=20,1=40,2=60") == "{'a': 0,\n 'b': 2,\n 'c': 2,\n 'd': 2}");
  CHECK(tight_map(tree, "0=80,1=80,2=80") == "{'': 0}");
}

TEST_CASE("tight gives one entry to a model on one device", "[plan]") {
  CHECK(tight_map(leaves({{"only", 10}}), "0=20") == "{'': 0}");
}

TEST_CASE("tight without a GPU fills the CPU, then the disk", "[plan]") {
  const ModuleTree tree = leaves({{"a", 10}, {"b", 10}, {"c", 10}});
  CHECK(tight_map(tree, "cpu=60") == "{'': 'cpu'}");
  CHECK(tight_map(tree, "cpu=59") == "{'a': 'cpu',\n 'b': 'disk',\n 'c': 'disk'}");
  CHECK(tight_map(tree, "cpu=39") == "{'': 'disk'}");
  CHECK(tight_map(tree, "0=0,cpu=0") == "{'': 'disk'}");
  const ModuleSizes sizes = compute_module_sizes(tree, Dtype::f16);
  CHECK(format_device_map(infer_tight_device_map(tree, sizes, {{Device::gpu(0), -5}, {Device::cpu(), -1}}, {})
                              .device_map) == "{'': 'disk'}");
  CHECK(format_device_map(infer_tight_device_map(tree, sizes, {}, {}).device_map) == "{'': 'disk'}");
}

TEST_CASE("tight uses few devices and fills them evenly", "[plan]") {
  const ModuleTree tree = leaves({{"a", 10}, {"b", 10}, {"c", 10}, {"d", 10}});
  CHECK(tight_map(tree, "0=80,1=80") == "{'': 0}");
  CHECK(tight_map(tree, "0=20,1=80") == "{'': 1}");
  CHECK(tight_map(tree, "0=60,1=60") == "{'a': 0,\n 'b': 0,\n 'c': 1,\n 'd': 1}");
  CHECK(tight_map(tree, "0=60,1=60,2=60") == "{'a': 0,\n 'b': 0,\n 'c': 1,\n 'd': 1}");
  CHECK(tight_map(tree, "0=20,1=120,2=20") == "{'': 1}");
}

TEST_CASE("a unit without bytes goes with its neighbour in the same module", "[plan]") {
  ModuleTree tree = leaves({{"drop", 0}, {"a", 10}, {"between", 0}, {"b", 10}, {"last", 0}});
  CHECK(tight_map(tree, "0=20,1=20") == "{'drop': 0,\n 'a': 0,\n 'between': 0,\n 'b': 1,\n 'last': 1}");

  // The dropout that opens the second layer goes with that layer.
  tree = leaves({{"x", 10}});
  for (const std::string layer : {"0", "1"}) {
    const ModuleId id = tree.add_module(0, layer, "Layer");
    tree.add_module(id, "drop", "Dropout");
    const ModuleId linear = tree.add_module(id, "fc", "Linear");
    const auto t = static_cast<TensorId>(tree.tensors.size());
    tree.modules[linear].parameters.push_back(t);
    tree.tensors.push_back({"weight", linear, Dtype::f16, Dtype::f16, {10}, false, true, false, t});
  }
  CHECK(tight_map(tree, "0=40,1=20") == "{'x': 0,\n '0': 0,\n '1': 1}");
  CHECK(tight_map(leaves({{"drop", 0}}), "0=1,cpu=1") == "{'': 0}");
}

TEST_CASE("a tied head costs nothing and goes where the embedding is", "[plan]") {
  ModuleTree tree = leaves({{"embed", 10}, {"a", 10}, {"b", 10}, {"head", 10}});
  tree.tensors[3].object = 0;
  CHECK(tight_map(tree, "0=20,1=40") == "{'embed': 0,\n 'head': 0,\n 'a': 1,\n 'b': 1}");
  CHECK(tight_map(tree, "0=60") == "{'': 0}");
  // Where the embedding is on the CPU, so is the head, and room is held back for it but once.
  const ModuleSizes sizes = compute_module_sizes(tree, Dtype::f16);
  const DevicePlan plan = infer_tight_device_map(tree, sizes, parse_max_memory("cpu=60"), options_of(tree));
  CHECK(plan.devices[0].used_bytes == 60);
}

TEST_CASE("the steps of tight say what was full", "[plan]") {
  const ModuleTree tree = leaves({{"a", 10}, {"b", 30}, {"c", 10}});
  const ModuleSizes sizes = compute_module_sizes(tree, Dtype::f16);
  const DevicePlan plan =
      infer_tight_device_map(tree, sizes, parse_max_memory("0=90,cpu=1KB"), options_of(tree));
  REQUIRE(plan.steps.size() == 4);
  CHECK(plan.steps[0].action == PlacementStep::Action::placed);
  CHECK(plan.steps[0].module == "a");
  CHECK(plan.steps[0].available_bytes == 30);
  CHECK(plan.steps[0].reserved_bytes == 60);
  CHECK(plan.steps[0].reserved_for == "b");
  CHECK(plan.steps[1].action == PlacementStep::Action::next_device);
  CHECK(plan.steps[1].module == "b");
  CHECK(plan.steps[1].device == Device::gpu(0));
  CHECK(plan.steps[1].module_bytes == 60);
  CHECK(plan.steps[1].available_bytes == 10);
  CHECK(plan.steps[3].module == "c");
  CHECK(plan.steps[3].used_bytes == 60);
  CHECK(plan.steps[3].reserved_for.empty());
}

}  // namespace hfload
