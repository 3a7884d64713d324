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
  // By its first tensor a checkpoint says what dtype the whole has, where the config does not.
  CheckpointTensor& first = checkpoint.tensors.emplace_back();
  first.name = "first";
  first.dtype = dtype_of(at(row, "state_dtype")).value();
  first.described = true;
  checkpoint.shards.emplace_back();
  const std::string& argument = string_of(at(row, "argument"));
  return build_shell(
      checkpoint,
      {.dtype = argument == "auto" ? std::nullopt : dtype_from_torch_name(argument), .compat = compat});
}

/// The parameters at which the dtype changes, with that dtype, as the fixture has them.
std::vector<std::string> changes(const ModuleTree& tree, uint64_t& bytes) {
  std::vector<std::string> changed;
  Dtype last = Dtype::unknown;
  for (TensorId id = 0; id < tree.tensors.size(); ++id) {
    const ShellTensor& t = tree.tensors[id];
    if (t.is_buffer || t.object != id) continue;
    bytes += shell_tensor_bytes(t);
    if (t.dtype != last)
      changed.push_back(tree.tensor_name(t) + " " + std::string(dtype_info(t.dtype).torch_name));
    last = t.dtype;
  }
  return changed;
}

Strategy strategy_of(const std::string& name) {
  return name == "sequential" ? Strategy::sequential : Strategy::balanced;
}

void replay(const std::string& fixture, Compat compat) {
  size_t rows = 0;
  for (const ConfigValue& row : read_xz_jsonl_fixture(fixture)) {
    ++rows;
    const Shell shell = shell_of(row, compat);
    INFO(string_of(at(row, "class")) << " row " << rows);
    CHECK(dtype_info(shell.dtype).torch_name == string_of(at(row, "dtype")));
    uint64_t bytes = 0;
    std::vector<std::string> expected;
    for (const ConfigValue& pair : array_of(at(row, "parameters")))
      expected.push_back(string_of(array_of(pair)[0]) + " " + string_of(array_of(pair)[1]));
    CHECK(changes(shell.tree, bytes) == expected);
    CHECK(bytes == uint_of(at(row, "bytes")));
    const ModuleSizes sizes = compute_module_sizes(shell.tree, shell.dtype);
    for (const ConfigValue& c : array_of(at(row, "maps"))) {
      PlanOptions options;
      options.no_split_modules = shell.tree.no_split_modules;
      const DevicePlan plan = plan_device_map(shell.tree, sizes, max_memory_of(at(c, "max_memory")),
                                              strategy_of(string_of(at(c, "device_map"))), true, options);
      CHECK(dictionary(plan.device_map) == dictionary(at(c, "expected")));
    }
  }
  CHECK(rows == 40);
}

}  // namespace

TEST_CASE("parts with dtypes of their own are made and planned as transformers 4.57 does", "[plan]") {
  replay("nested_dtypes/v4.jsonl.xz", Compat::v4);
}

TEST_CASE("transformers 5 makes all parts in the dtype of the whole", "[plan]") {
  replay("nested_dtypes/v5.jsonl.xz", Compat::v5);
}

}  // namespace hfload
