#include "core/model/quantized_shape.h"

#include <fmt/core.h>

#include <algorithm>

namespace hfload {
namespace {

using Method = Quantization::Method;
using Scales = Quantization::Scales;
using Stored = std::optional<StoredTensor>;

uint64_t ceil_divide(uint64_t a, uint64_t b) { return a / b + (a % b != 0 ? 1 : 0); }

/// A linear layer's weight and how the method divides it.
struct Weight {
  uint64_t out = 0, in = 0;
  uint64_t elements = 0;
  uint64_t groups = 1;  ///< along the input
  Dtype dtype = Dtype::f16;
};

uint64_t divide_into_groups(uint64_t columns, uint64_t group_columns) {
  return group_columns == 0 ? 1 : ceil_divide(columns, group_columns);
}

/// 32-bit words that hold `count` numbers of `bits` bits, at most 32. A dimension may be huge where another
/// one is 0.
uint64_t words(uint64_t count, uint64_t bits) {
  return count / 32 * bits + ceil_divide(count % 32 * bits, 32);
}

/// bitsandbytes writes this as a JSON text. Only the length of the nested offset, a number that Python prints
/// in full, is not known.
StoredTensor quant_state(const Quantization& q, const Weight& w) {
  std::string text =
      fmt::format(R"({{"quant_type": "nf4", "blocksize": 64, "dtype": "{}", "shape": [{}, {}])",
                  dtype_info(w.dtype).torch_name, w.out, w.in);
  if (q.double_quantized)
    text += R"(, "nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": 0.01234567890123456)";
  return {Dtype::u8, {text.size() + 1}, !q.double_quantized};
}

Stored bitsandbytes_4bit(const Quantization& q, std::string_view suffix, const Weight& w) {
  const uint64_t blocks = ceil_divide(w.elements, 64);
  if (suffix == "weight") {
    const uint64_t storage_bytes = std::max<uint64_t>(dtype_info(q.storage).bits / 8, 1);
    return StoredTensor{q.storage, {(w.elements + 1) / (2 * storage_bytes), 1}};
  }
  if (suffix == "weight.absmax") return StoredTensor{q.double_quantized ? Dtype::u8 : Dtype::f32, {blocks}};
  if (suffix == "weight.nested_absmax") return StoredTensor{Dtype::f32, {ceil_divide(blocks, 256)}};
  if (suffix == "weight.nested_quant_map") return StoredTensor{Dtype::f32, {256}};
  if (suffix == "weight.quant_map") return StoredTensor{Dtype::f32, {16}};
  if (suffix == "weight.quant_state") return quant_state(q, w);
  return std::nullopt;
}

Stored bitsandbytes_8bit(std::string_view suffix, const Weight& w) {
  if (suffix == "weight") return StoredTensor{Dtype::i8, {w.out, w.in}};
  if (suffix == "SCB") return StoredTensor{Dtype::f32, {w.out}};
  if (suffix == "weight_format") return StoredTensor{Dtype::u8, {}};
  return std::nullopt;
}

Stored gptq(const Quantization& q, std::string_view suffix, const Weight& w) {
  // Kernels read 16-bit scales; a model without a dtype in its config is taken for float32.
  const Dtype scale = w.dtype == Dtype::bf16 ? Dtype::bf16 : Dtype::f16;
  if (suffix == "qweight") return StoredTensor{Dtype::i32, {words(w.in, q.bits), w.out}};
  if (suffix == "qzeros") return StoredTensor{Dtype::i32, {w.groups, words(w.out, q.bits)}};
  if (suffix == "scales") return StoredTensor{scale, {w.groups, w.out}};
  if (suffix == "g_idx") return StoredTensor{Dtype::i32, {w.in}};
  if (suffix == "bias") return StoredTensor{scale, {w.out}};
  return std::nullopt;
}

Stored awq(const Quantization& q, std::string_view suffix, const Weight& w) {
  if (q.is_gemv) {
    // Zero points are padded to what one load of the kernel takes.
    const uint64_t multiple = q.group_columns == 32 ? 4 : q.group_columns == 64 ? 2 : 1;
    const uint64_t zeros = ceil_divide(words(w.groups, q.bits), multiple) * multiple;
    if (suffix == "qweight") return StoredTensor{Dtype::i32, {w.out, words(w.in, q.bits)}};
    if (suffix == "qzeros") return StoredTensor{Dtype::i32, {w.out, zeros}};
    if (suffix == "scales") return StoredTensor{Dtype::f16, {w.out, zeros * (32 / q.bits)}};
    return std::nullopt;
  }
  if (suffix == "qweight") return StoredTensor{Dtype::i32, {w.in, words(w.out, q.bits)}};
  if (suffix == "qzeros") return StoredTensor{Dtype::i32, {w.groups, words(w.out, q.bits)}};
  if (suffix == "scales") return StoredTensor{Dtype::f16, {w.groups, w.out}};
  return std::nullopt;
}

std::vector<uint64_t> scale_shape(const Quantization& q, const Weight& w) {
  switch (q.scales) {
    case Scales::tensor:
      return {1};
    case Scales::channel:
      return {w.out, 1};
    case Scales::group:
      return {w.out, w.groups};
    case Scales::block:
      return {ceil_divide(w.out, q.block_rows), ceil_divide(w.in, q.block_columns)};
  }
  return {};
}

Stored compressed_tensors(const Quantization& q, std::string_view suffix, const Weight& w) {
  // With several groups of layers, all but those of the first may be stored otherwise.
  const bool is_exact = !q.is_mixed;
  const bool in_bytes = q.packed == Dtype::u8;
  if (suffix == "weight") return StoredTensor{q.storage, {w.out, w.in}, is_exact};
  if (suffix == "weight_packed") {
    const uint64_t columns = in_bytes ? ceil_divide(w.in, 2) : words(w.in, q.bits);
    return StoredTensor{q.packed, {w.out, columns}, is_exact};
  }
  if (suffix == "weight_scale") return StoredTensor{q.scale.value_or(w.dtype), scale_shape(q, w), is_exact};
  if (suffix == "weight_zero_point") {
    if (!q.is_packed) return StoredTensor{q.storage, scale_shape(q, w), is_exact};
    return StoredTensor{Dtype::i32, {words(w.out, q.bits), w.groups}, is_exact};
  }
  if (suffix == "weight_shape") return StoredTensor{Dtype::i64, {2}};
  if (suffix == "weight_g_idx") return StoredTensor{Dtype::i32, {w.in}};
  if (suffix.ends_with("_global_scale")) return StoredTensor{Dtype::f32, {1}};
  if (suffix.ends_with("_zero_point")) return StoredTensor{q.storage, {1}, is_exact};
  if (suffix.ends_with("_scale")) return StoredTensor{w.dtype, {1}, is_exact};
  return std::nullopt;
}

Stored fp8(const Quantization& q, std::string_view suffix, const Weight& w) {
  if (suffix == "weight") return StoredTensor{Dtype::f8_e4m3, {w.out, w.in}};
  if (suffix == "weight_scale_inv" && q.scales == Scales::block)
    return StoredTensor{Dtype::f32, scale_shape(q, w)};
  if (suffix == "weight_scale_inv" || suffix == "activation_scale") return StoredTensor{Dtype::f32, {}};
  return std::nullopt;
}

Stored mxfp4(std::string_view suffix, const std::vector<uint64_t>& weight) {
  if (weight.size() != 3) return std::nullopt;
  const uint64_t experts = weight[0], in = weight[1], out = weight[2];
  if (suffix == "_blocks") return StoredTensor{Dtype::u8, {experts, out, in / 32, 16}};
  if (suffix == "_scales") return StoredTensor{Dtype::u8, {experts, out, in / 32}};
  return std::nullopt;
}

}  // namespace

std::optional<StoredTensor> stored_tensor(const Quantization& q, std::string_view suffix,
                                          const std::vector<uint64_t>& weight_shape, Dtype weight_dtype) {
  if (q.method == Method::mxfp4) return mxfp4(suffix, weight_shape);
  if (weight_shape.size() != 2) return std::nullopt;
  Weight w;
  w.out = weight_shape[0];
  w.in = weight_shape[1];
  w.elements = element_count(weight_shape).value_or(0);
  w.groups = divide_into_groups(w.in, q.group_columns);
  w.dtype = weight_dtype;
  switch (q.method) {
    case Method::bitsandbytes_4bit:
      return bitsandbytes_4bit(q, suffix, w);
    case Method::bitsandbytes_8bit:
      return bitsandbytes_8bit(suffix, w);
    case Method::gptq:
      return gptq(q, suffix, w);
    case Method::awq:
      return awq(q, suffix, w);
    case Method::compressed_tensors:
      return compressed_tensors(q, suffix, w);
    case Method::fp8:
      return fp8(q, suffix, w);
    case Method::mxfp4:
    case Method::other:
      return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace hfload
