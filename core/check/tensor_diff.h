#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/boxed.h"
#include "core/check/tensor_pieces.h"
#include "core/save/tensor_source.h"

namespace hfload {

using UlpHistogram = std::array<uint64_t, 66>;

/// A tensor of both checkpoints. Differences are of the values as doubles; the difference of two 64-bit
/// integers is rounded once. complex64 counts as pairs of float32.
struct TensorDifference {
  uint32_t a = 0, b = 0;    ///< into the checkpoints' tensors
  bool same_shape = false;  ///< false: nothing else is known
  uint64_t values = 0;
  /// Of equal dtypes: values whose bits differ. Else values that differ as doubles, 0 and -0 among them, NaN
  /// and NaN not.
  uint64_t differing = 0;
  uint64_t nan_mismatches = 0;                  ///< values that are NaN on one side alone
  double max_absolute = 0;                      ///< infinite where one side is, or both with different signs
  double max_relative = 0;                      ///< |a - b| / max(|a|, |b|), of finite pairs
  std::optional<double> cosine = std::nullopt;  ///< of the finite pairs; nothing where a side is zero
  /// Of equal float dtypes: values by their distance in units in the last place. Pairs with a NaN are left
  /// out, and -0 and 0 are 0 apart.
  bool has_ulps = false;
  uint64_t zero_ulps = 0;  ///< values 0 apart
  Boxed<UlpHistogram> ulps =
      {};  ///< [k] values 2^(k-2) + 1 to 2^(k-1) apart, k > 0; nothing where there are none
  /// Whether the difference is within the tolerance: |a - b| at most so much, and NaN nowhere against a
  /// number; with 0 no value may differ.
  bool within(double tolerance) const {
    if (!same_shape || tolerance == 0) return same_shape && differing == 0;
    return max_absolute <= tolerance && nan_mismatches == 0;
  }
};

struct CheckpointDifference {
  std::vector<uint32_t> only_a, only_b;  ///< into the checkpoints' tensors
  std::vector<TensorDifference> common;  ///< in the order of a
};

/// Compares two checkpoints tensor by tensor, by name. Reads both once, with 1 MiB a thread. The result is
/// the same for any number of threads. Throws Interrupted, Error(changed_during_read, io_error).
CheckpointDifference diff_checkpoints(const Checkpoint& a, const TensorSource& source_a, const Checkpoint& b,
                                      const TensorSource& source_b, const CheckRun& run);

}  // namespace hfload
