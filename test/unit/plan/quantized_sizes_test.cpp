#include <catch2/catch.hpp>

#include "core/model/shell.h"
#include "core/plan/module_sizes.h"
#include "test/support/quantized_fixtures.h"

namespace hfload {
namespace {

using namespace test;

}  // namespace

TEST_CASE("planning counts quantised weights as they are stored", "[plan]") {
  for (const ConfigValue& c : quantized_cases()) {
    INFO(string_of(at(c, "case")));
    const Checkpoint checkpoint = quantized_checkpoint(c, true);
    const Shell shell = build_shell(checkpoint, {});
    double not_saved = 0;
    for (const ShellTensor& t : shell.tree.tensors) {
      if (!t.persistent) not_saved += static_cast<double>(shell_tensor_bytes(t));
    }
    const ModuleSizes sizes = compute_module_sizes(shell.tree, shell.dtype);
    CHECK(sizes.total() - not_saved == static_cast<double>(uint_of(at(c, "total_size"))));

    // A layer, which has no buffers of its own in these models.
    for (ModuleId m = 0; m < shell.tree.modules.size(); ++m) {
      const std::string& name = shell.tree.modules[m].name;
      if (!name.ends_with(".mlp")) continue;
      uint64_t bytes = 0;
      for (const CheckpointTensor& t : checkpoint.tensors) {
        if (t.name.starts_with(name + ".")) bytes += t.bytes();
      }
      CHECK(sizes.module_bytes[m] == static_cast<double>(bytes));
    }
  }
}

}  // namespace hfload
