#include "core/check/element_values.h"

#include <cmath>
#include <cstring>
#include <limits>

namespace hfload {
namespace {

double float_value(const FloatFormat& format, uint32_t bits) {
  using Specials = FloatFormat::Specials;
  const uint32_t mantissa = bits & ((1U << format.mantissa_bits) - 1);
  const uint32_t top = (1U << format.exponent_bits) - 1;
  const uint32_t exponent = bits >> format.mantissa_bits & top;
  const bool negative = (bits >> (format.mantissa_bits + format.exponent_bits) & 1) != 0;
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  const bool ones = exponent == top && mantissa == (1U << format.mantissa_bits) - 1;
  if (format.specials == Specials::fnuz && negative && exponent == 0 && mantissa == 0) return kNan;
  if (format.specials == Specials::all_ones && ones) return kNan;
  double value = 0;
  if (format.specials == Specials::ieee && exponent == top) {
    value = mantissa == 0 ? std::numeric_limits<double>::infinity() : kNan;
  } else {
    const int scale = static_cast<int>(exponent == 0 ? 1 : exponent) - format.bias;
    const uint32_t whole = mantissa + (exponent == 0 ? 0 : 1U << format.mantissa_bits);
    value = std::ldexp(whole, scale - static_cast<int>(format.mantissa_bits));
  }
  return negative ? -value : value;
}

double pattern_value(Dtype dtype, uint32_t bits) {
  if (const auto format = float_format(dtype)) return float_value(*format, bits);
  switch (dtype) {
    case Dtype::f8_e8m0:
      return bits == 0xFF ? std::numeric_limits<double>::quiet_NaN()
                          : std::ldexp(1.0, static_cast<int>(bits) - 127);
    case Dtype::i8:
      return static_cast<int8_t>(bits);
    case Dtype::i16:
      return static_cast<int16_t>(bits);
    default:
      return bits;
  }
}

template <class T>
void convert_all(const std::byte* from, std::span<double> into) {
  for (size_t i = 0; i < into.size(); ++i) {
    T value;
    std::memcpy(&value, from + i * sizeof(T), sizeof(T));
    into[i] = static_cast<double>(value);
  }
}

template <class T>
void look_up_all(const std::vector<double>& table, const std::byte* from, std::span<double> into) {
  for (size_t i = 0; i < into.size(); ++i) {
    T value;
    std::memcpy(&value, from + i * sizeof(T), sizeof(T));
    into[i] = table[value];
  }
}

}  // namespace

std::optional<FloatFormat> float_format(Dtype dtype) {
  using Specials = FloatFormat::Specials;
  switch (dtype) {
    case Dtype::f16:
      return FloatFormat{5, 10, 15, Specials::ieee};
    case Dtype::bf16:
      return FloatFormat{8, 7, 127, Specials::ieee};
    case Dtype::f32:
      return FloatFormat{8, 23, 127, Specials::ieee};
    case Dtype::f64:
      return FloatFormat{11, 52, 1023, Specials::ieee};
    case Dtype::f8_e5m2:
      return FloatFormat{5, 2, 15, Specials::ieee};
    case Dtype::f8_e4m3:
      return FloatFormat{4, 3, 7, Specials::all_ones};
    case Dtype::f8_e4m3fnuz:
      return FloatFormat{4, 3, 8, Specials::fnuz};
    case Dtype::f8_e5m2fnuz:
      return FloatFormat{5, 2, 16, Specials::fnuz};
    default:
      return std::nullopt;
  }
}

bool has_values(Dtype dtype) { return dtype_info(dtype).bits >= 8; }

unsigned value_bytes(Dtype dtype) { return dtype == Dtype::c64 ? 4 : dtype_info(dtype).bits / 8; }

std::vector<double> value_table(Dtype dtype) {
  std::vector<double> table(size_t{1} << dtype_info(dtype).bits);
  for (uint32_t bits = 0; bits < table.size(); ++bits) table[bits] = pattern_value(dtype, bits);
  return table;
}

ValueDecoder::ValueDecoder(Dtype dtype) : dtype_(dtype) {
  if (value_bytes(dtype) <= 2) table_ = value_table(dtype);
}

void ValueDecoder::decode(std::span<const std::byte> from, std::span<double> into) const {
  switch (dtype_) {
    case Dtype::f32:
    case Dtype::c64:
      return convert_all<float>(from.data(), into);
    case Dtype::f64:
      return convert_all<double>(from.data(), into);
    case Dtype::i32:
      return convert_all<int32_t>(from.data(), into);
    case Dtype::u32:
      return convert_all<uint32_t>(from.data(), into);
    case Dtype::i64:
      return convert_all<int64_t>(from.data(), into);
    case Dtype::u64:
      return convert_all<uint64_t>(from.data(), into);
    default:
      return value_bytes(dtype_) == 1 ? look_up_all<uint8_t>(table_, from.data(), into)
                                      : look_up_all<uint16_t>(table_, from.data(), into);
  }
}

}  // namespace hfload
