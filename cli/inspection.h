#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/options.h"
#include "core/model/checkpoint.h"
#include "core/model/findings.h"
#include "core/model/shell.h"

namespace hfload::cli {

/// One tensor as `inspect` shows it. Its texts and shape belong to the checkpoint or to the shell.
struct InspectedTensor {
  std::string_view name;
  std::optional<uint32_t> shard;    ///< into Checkpoint::shards; none for an empty shell
  std::string_view dtype;           ///< as in a safetensors header, "BF16"; empty when unknown
  std::span<const uint64_t> shape;  ///< meaningless when dtype is empty
  uint64_t parameters = 0;          ///< elements
  uint64_t bytes = 0;
  bool described = false;       ///< read from a header, and not from the model's shell
  bool in_place = true;         ///< its bytes lie in the file as they are
  bool repeats = false;         ///< it has the same elements as a tensor before it, whose bytes count
  uint64_t begin = 0, end = 0;  ///< data_offsets, when described and in place
};

struct DtypeTotal {
  std::string dtype;
  uint64_t tensors = 0, parameters = 0, bytes = 0;
};

/// Tensors whose names differ only in numbers, and that have one dtype and shape.
struct TensorPattern {
  std::string pattern;  ///< "model.layers.#.mlp.up_proj.weight"
  std::string dtype;
  std::vector<uint64_t> shape;
  uint64_t tensors = 0, parameters = 0, bytes = 0;
};

/// Everything that `inspect` shows, before it is text or JSON. Moves, and is not copied: its rows are views.
struct Inspection {
  Inspection() = default;
  Inspection(Inspection&&) noexcept = default;
  Inspection& operator=(Inspection&&) noexcept = default;
  Inspection(const Inspection&) = delete;
  Inspection& operator=(const Inspection&) = delete;
  ~Inspection() = default;

  Checkpoint checkpoint;
  std::optional<Shell> shell;               ///< none where it cannot be derived
  std::string quantization;                 ///< the method that config.json names; empty when none
  std::optional<uint64_t> parameters;       ///< of the model; unknown where shapes are
  std::optional<uint64_t> parameters_here;  ///< of the weights, where these are a part of the model's
  std::optional<uint64_t> total_bytes;      ///< of the weights
  std::vector<InspectedTensor> tensors;     ///< those that the filter lets through
  uint64_t tensors_in_all = 0;              ///< before the filter
  bool from_shell = false;  ///< some dtypes and shapes come from config.json, as the weights are not there
  std::vector<DtypeTotal> dtypes;     ///< by bytes, descending
  std::vector<uint64_t> shard_bytes;  ///< parallel to the shards: bytes of tensors, 0 when not known
  std::vector<Finding> findings;      ///< where the checkpoint differs from what its architecture saves
  std::vector<std::string> warnings;
};

/// Looks into a model. Throws Error for what is malformed; an unknown architecture is no failure, but
/// Error(unsupported_architecture) is thrown for a config that names none, where there are no weights.
Inspection inspect_checkpoint(Checkpoint checkpoint, const std::string& filter);

std::vector<TensorPattern> fold_patterns(const std::vector<InspectedTensor>& tensors);

}  // namespace hfload::cli
