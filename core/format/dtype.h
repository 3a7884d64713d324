#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace hfload {

/// The dtypes of safetensors 0.8 in its own order, and `unknown` for one that a newer writer may have used.
enum class Dtype : uint8_t {
  boolean,
  f4,
  f6_e2m3,
  f6_e3m2,
  u8,
  i8,
  f8_e5m2,
  f8_e4m3,
  f8_e8m0,
  f8_e4m3fnuz,
  f8_e5m2fnuz,
  i16,
  u16,
  f16,
  bf16,
  i32,
  u32,
  f32,
  c64,
  f64,
  i64,
  u64,
  unknown,
};

/// Names and width of a dtype.
struct DtypeInfo {
  Dtype dtype;
  std::string_view safetensors_name;  ///< "BF16", as in a safetensors header
  std::string_view torch_name;  ///< "bfloat16", as in config.json and `--dtype`; empty where torch has none
  unsigned bits;                ///< per element; 0 for unknown
  bool is_float;                ///< torch's is_floating_point: what `--dtype` converts
};

/// All dtypes in declaration order, `unknown` last.
std::span<const DtypeInfo> dtype_table();
const DtypeInfo& dtype_info(Dtype dtype);

/// By the name in a safetensors header ("F32"); nothing for an unknown name.
std::optional<Dtype> dtype_from_safetensors_name(std::string_view name);

/// By torch's name, with or without "torch." ("bfloat16", "torch.float16"); nothing for an unknown name.
std::optional<Dtype> dtype_from_torch_name(std::string_view name);

/// Elements of a tensor of this shape; nothing when the product does not fit in 64 bits.
std::optional<uint64_t> element_count(std::span<const uint64_t> shape);

/// Bytes of a tensor of this shape; nothing when the number of bits does not fit in 64 bits, is not a whole
/// number of bytes, or the dtype is unknown.
std::optional<uint64_t> tensor_bytes(Dtype dtype, std::span<const uint64_t> shape);

}  // namespace hfload
