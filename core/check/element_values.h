#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/format/dtype.h"

namespace hfload {

/// How the bits of a dtype of at most 16 bits, or of float32 and float64, are a number. Sources: IEEE 754,
/// the OCP 8-bit floating point specification 1.0 (e4m3, e5m2), OCP Microscaling 1.0 (e8m0), ONNX's notes on
/// the fnuz types.
struct FloatFormat {
  unsigned exponent_bits, mantissa_bits;
  int bias;
  enum class Specials : uint8_t {
    ieee,      ///< the highest exponent is infinity or NaN
    all_ones,  ///< NaN where exponent and mantissa are all ones, no infinity
    fnuz       ///< NaN in the place of minus zero, no infinity
  } specials;
};

/// Nothing for a dtype that is no binary float with a sign.
std::optional<FloatFormat> float_format(Dtype dtype);

/// Whether elements are compared and counted one by one: all but unknown dtypes and those below one byte.
/// complex64 counts as pairs of float32.
bool has_values(Dtype dtype);

/// Bytes of one of the numbers of a dtype that has values: 4 for complex64.
unsigned value_bytes(Dtype dtype);

/// The numbers that all bit patterns of a dtype of 8 or 16 bits stand for.
std::vector<double> value_table(Dtype dtype);

/// The numbers that little-endian elements stand for. 64-bit integers are rounded to double.
class ValueDecoder {
 public:
  /// `dtype` has values.
  explicit ValueDecoder(Dtype dtype);
  /// `from` holds into.size() values.
  void decode(std::span<const std::byte> from, std::span<double> into) const;

 private:
  Dtype dtype_;
  std::vector<double> table_;
};

}  // namespace hfload
