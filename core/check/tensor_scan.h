#pragma once

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "core/check/tensor_pieces.h"
#include "core/save/tensor_source.h"

namespace hfload {

/// A number of a tensor: of a float, of an integer, of an unsigned 64-bit integer.
using ElementValue = std::variant<double, int64_t, uint64_t>;

/// What the elements of a tensor are like. complex64 counts as pairs of float32; of dtypes that hfload does
/// not decode (unknown ones, those below a byte) there is the hash alone.
struct TensorStatistics {
  bool decoded = false;
  bool constant = false;  ///< one value alone, finite; of what is not decoded: all bytes are equal
  uint64_t values = 0;    ///< elements; twice as many for complex64
  uint64_t nan = 0, infinite = 0, denormal = 0, zero = 0;
  std::optional<ElementValue> min = std::nullopt,
                              max = std::nullopt;  ///< of the finite values; nothing where there are none
  std::optional<double> mean = std::nullopt;       ///< of the finite values, summed in double precision
  uint64_t hash = 0;  ///< kernels/hash.h, of the contiguous little-endian elements

  bool all_zero() const { return decoded && values > 0 && zero == values; }
  bool operator==(const TensorStatistics&) const = default;
};

/// Reads every tensor of a checkpoint that is described, once, in 512 KiB a thread; names of the same
/// elements are read once. By tensor; nothing for one that is not described. The result is the same for any
/// number of threads. Throws Interrupted, Error(changed_during_read, io_error).
std::vector<std::optional<TensorStatistics>> scan_tensors(const Checkpoint& checkpoint,
                                                          const TensorSource& source, const CheckRun& run);

}  // namespace hfload
