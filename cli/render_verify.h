#pragma once

#include <optional>
#include <vector>

#include "cli/json_writer.h"
#include "cli/render_checksums.h"
#include "core/check/tensor_diff.h"
#include "core/check/tensor_scan.h"
#include "core/model/checkpoint.h"

namespace hfload::cli {

/// Everything that `verify` found, before it is text or JSON.
struct Verified {
  Checkpoint checkpoint;
  std::vector<Finding> findings;
  std::vector<std::string> warnings;
  VerifiedChecksums checksums;                              ///< empty with --no-hash
  std::vector<std::optional<TensorStatistics>> statistics;  ///< by tensor; nothing for one that was not read
};

/// Findings, a line for each tensor with values that are worth a look (`all`: for each tensor), a total.
void write_verified(const Verified& verified, bool all, const TextSink& sink);
void write_verified_json(const Verified& verified, const TextSink& sink);

/// Two models and what `diff` found.
struct Compared {
  Checkpoint a, b;
  CheckpointDifference difference;
  double tolerance = 0;

  bool is_equal() const;
};

/// Tensors that only one has, and a line for each that changed (`all`: for each), a total.
void write_compared(const Compared& compared, bool all, const TextSink& sink);
void write_compared_json(const Compared& compared, const TextSink& sink);

}  // namespace hfload::cli
