#include "core/check/values.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>

#include "core/check/lost_weights.h"

namespace hfload {
namespace {

void add(std::vector<Finding>& findings, std::string_view code, std::string_view what,
         std::vector<std::string> names, std::string_view hint = "") {
  if (names.empty()) return;
  std::ranges::sort(names);
  const std::string message = fmt::format("{} tensor{} {}", names.size(), names.size() == 1 ? "" : "s", what);
  findings.push_back({code, message, std::move(names), std::string(hint)});
}

/// What DeepSpeed ZeRO-3 leaves in the place of a weight that was not gathered: no elements, one dimension.
bool is_placeholder(const CheckpointTensor& tensor) {
  const std::string_view name = tensor.name;
  return tensor.shape.size() == 1 && name.substr(name.rfind('.') + 1) == "weight";
}

}  // namespace

std::vector<Finding> check_values(const Checkpoint& checkpoint,
                                  const std::vector<std::optional<TensorStatistics>>& statistics) {
  std::vector<std::string> nan, infinite, placeholders, empty;
  for (size_t i = 0; i < statistics.size(); ++i) {
    if (!statistics[i]) continue;
    const CheckpointTensor& tensor = checkpoint.tensors[i];
    if (tensor.bytes() == 0) (is_placeholder(tensor) ? placeholders : empty).push_back(tensor.name.str());
    if (statistics[i]->nan > 0) nan.push_back(tensor.name.str());
    if (statistics[i]->infinite > 0) infinite.push_back(tensor.name.str());
  }
  std::vector<Finding> findings;
  add(findings, "nan", "with NaN", std::move(nan));
  add(findings, "infinity", "with infinite values", std::move(infinite));
  add(findings, "empty_weights", "named weight and of the shape [0]: the values were not saved",
      std::move(placeholders),
      "DeepSpeed ZeRO-3 saves such weights where they were not gathered. Make them of its checkpoint by "
      "zero_to_fp32.py, or save again with stage3_gather_16bit_weights_on_model_save.");
  add(findings, "empty_tensors", "without elements", std::move(empty));
  std::ranges::move(find_lost_weights(checkpoint, statistics), std::back_inserter(findings));
  return findings;
}

}  // namespace hfload
