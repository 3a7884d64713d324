#include "core/format/dtype.h"

#include <utility>

#include "core/base/checked.h"

namespace hfload {
namespace {

constexpr DtypeInfo kTable[] = {
    {Dtype::boolean, "BOOL", "bool", 8, false},
    {Dtype::f4, "F4", "float4_e2m1fn_x2", 4, true},
    {Dtype::f6_e2m3, "F6_E2M3", "", 6, true},
    {Dtype::f6_e3m2, "F6_E3M2", "", 6, true},
    {Dtype::u8, "U8", "uint8", 8, false},
    {Dtype::i8, "I8", "int8", 8, false},
    {Dtype::f8_e5m2, "F8_E5M2", "float8_e5m2", 8, true},
    {Dtype::f8_e4m3, "F8_E4M3", "float8_e4m3fn", 8, true},
    {Dtype::f8_e8m0, "F8_E8M0", "float8_e8m0fnu", 8, true},
    {Dtype::f8_e4m3fnuz, "F8_E4M3FNUZ", "float8_e4m3fnuz", 8, true},
    {Dtype::f8_e5m2fnuz, "F8_E5M2FNUZ", "float8_e5m2fnuz", 8, true},
    {Dtype::i16, "I16", "int16", 16, false},
    {Dtype::u16, "U16", "uint16", 16, false},
    {Dtype::f16, "F16", "float16", 16, true},
    {Dtype::bf16, "BF16", "bfloat16", 16, true},
    {Dtype::i32, "I32", "int32", 32, false},
    {Dtype::u32, "U32", "uint32", 32, false},
    {Dtype::f32, "F32", "float32", 32, true},
    {Dtype::c64, "C64", "complex64", 64, false},
    {Dtype::f64, "F64", "float64", 64, true},
    {Dtype::i64, "I64", "int64", 64, false},
    {Dtype::u64, "U64", "uint64", 64, false},
    {Dtype::unknown, "unknown", "", 0, false},
};

/// Other names of the same dtype objects in torch's namespace, which config.json may use too.
constexpr std::pair<std::string_view, Dtype> kTorchAliases[] = {
    {"half", Dtype::f16},  {"float", Dtype::f32}, {"double", Dtype::f64}, {"cfloat", Dtype::c64},
    {"short", Dtype::i16}, {"int", Dtype::i32},   {"long", Dtype::i64},
};

}  // namespace

std::span<const DtypeInfo> dtype_table() { return kTable; }

const DtypeInfo& dtype_info(Dtype dtype) { return kTable[static_cast<size_t>(dtype)]; }

std::optional<Dtype> dtype_from_safetensors_name(std::string_view name) {
  for (const DtypeInfo& info : kTable) {
    if (info.dtype != Dtype::unknown && info.safetensors_name == name) return info.dtype;
  }
  return std::nullopt;
}

std::optional<Dtype> dtype_from_torch_name(std::string_view name) {
  if (name.starts_with("torch.")) name.remove_prefix(6);
  if (name.empty()) return std::nullopt;
  for (const DtypeInfo& info : kTable) {
    if (info.torch_name == name) return info.dtype;
  }
  for (const auto& [alias, dtype] : kTorchAliases) {
    if (alias == name) return dtype;
  }
  return std::nullopt;
}

std::optional<uint64_t> element_count(std::span<const uint64_t> shape) {
  uint64_t count = 1;
  for (const uint64_t dimension : shape) {
    const std::optional<uint64_t> product = checked_mul(count, dimension);
    if (!product) return std::nullopt;
    count = *product;
  }
  return count;
}

std::optional<uint64_t> tensor_bytes(Dtype dtype, std::span<const uint64_t> shape) {
  const unsigned bits_per_element = dtype_info(dtype).bits;
  const std::optional<uint64_t> count = element_count(shape);
  if (!count || bits_per_element == 0) return std::nullopt;
  const std::optional<uint64_t> bits = checked_mul(*count, bits_per_element);
  if (!bits || *bits % 8 != 0) return std::nullopt;
  return *bits / 8;
}

}  // namespace hfload
