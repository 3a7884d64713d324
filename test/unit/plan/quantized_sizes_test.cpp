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
    // accelerate counts a boolean as a bit.
    double not_saved = 0;
    for (TensorId i = 0; i < shell.tree.tensors.size(); ++i) {
      const ShellTensor& t = shell.tree.tensors[i];
      if (!t.persistent && t.object == i)
        not_saved += static_cast<double>(shell_tensor_bytes(t)) / (t.dtype == Dtype::boolean ? 8 : 1);
    }
    const double total = compute_module_sizes(shell.tree, std::nullopt).total();
    CHECK(total - not_saved == static_cast<double>(uint_of(at(c, "total_size"))));

    // The narrowest dtype a model can be loaded in changes nothing about what is quantised.
    const ModuleSizes sizes = compute_module_sizes(shell.tree, Dtype::f16);
    for (ModuleId m = 0; m < shell.tree.modules.size(); ++m) {
      const std::string name = shell.tree.module_name(m);
      if (!name.ends_with(".mlp")) continue;
      uint64_t bytes = 0;
      for (const CheckpointTensor& t : checkpoint.tensors) {
        if (t.name.view().starts_with(name + ".")) bytes += t.bytes();
      }
      CHECK(sizes.module_bytes[m] == static_cast<double>(bytes));
    }
  }
}

}  // namespace hfload
