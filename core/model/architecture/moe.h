#pragma once

#include <string_view>
#include <vector>

#include "core/model/architecture/decoder.h"

/// Mixture-of-experts layers, which transformers 4 builds of one module an expert and transformers 5 of two
/// parameters for all experts.
namespace hfload {

/// `experts` of transformers 5: gate_up_proj (experts, 2 * intermediate_size, hidden_size), down_proj
/// (experts, hidden_size, intermediate_size) and act_fn.
inline void stacked_experts(ModuleBuilder& b, const DecoderConfig& c, uint64_t num_experts,
                            uint64_t intermediate_size) {
  b.module("experts", c.class_name("Experts"), [&] {
    b.parameter("gate_up_proj", {num_experts, 2 * intermediate_size, c.hidden_size});
    b.parameter("down_proj", {num_experts, c.hidden_size, intermediate_size});
    b.activation("act_fn", c.hidden_act);
  });
}

/// `experts`, in transformers 4 a list of the family's gated MLPs.
inline void gated_experts(ModuleBuilder& b, const DecoderConfig& c, uint64_t num_experts,
                          uint64_t intermediate_size) {
  if (b.is_v5()) return stacked_experts(b, c, num_experts, intermediate_size);
  b.list("experts", num_experts, [&](uint64_t i) {
    gated_mlp(b, index_name(i), c.class_name("MLP"), c.hidden_size, intermediate_size, c.mlp_bias,
              c.hidden_act);
  });
}

/// The scores of the experts, weight (experts, hidden_size): a linear layer in transformers 4, a class of the
/// family's own in transformers 5.
inline void router(ModuleBuilder& b, const DecoderConfig& c, std::string_view name, uint64_t num_experts) {
  b.module(name, b.is_v5() ? c.class_name("TopKRouter") : "Linear", [&] {
    b.parameter("weight", {num_experts, c.hidden_size});
  });
}

/// Which layers have experts, and how many of which size.
struct Moe {
  uint64_t num_experts, intermediate_size;
  std::vector<bool> is_sparse;
};

/// Qwen's keys, with these defaults: `num_experts`, `moe_intermediate_size`, and the experts in every
/// `decoder_sparse_step`-th layer that is not in `mlp_only_layers`.
inline Moe read_moe(const DecoderConfig& c, const ModelConfig& config, uint64_t num_experts,
                    uint64_t intermediate_size) {
  Moe moe{.num_experts = config.get_count({"num_experts", "num_local_experts"}, num_experts),
          .intermediate_size = config.get_uint("moe_intermediate_size", intermediate_size),
          .is_sparse = std::vector<bool>(c.num_layers, false)};
  const uint64_t step = config.get_uint("decoder_sparse_step", 1);
  for (uint64_t i = 0; i < c.num_layers; ++i)
    moe.is_sparse[i] = moe.num_experts != 0 && step != 0 && (i + 1) % step == 0;
  for (const uint64_t i : config.get_uints("mlp_only_layers").value_or(std::vector<uint64_t>{}))
    if (i < c.num_layers) moe.is_sparse[i] = false;
  return moe;
}

}  // namespace hfload
