#include "core/format/dtype.h"

#include <catch2/catch.hpp>
#include <map>
#include <string>

namespace hfload {
namespace {

TEST_CASE("The dtypes are those of safetensors 0.8, in its order and width") {
  // From the documentation of the format, by name and bits per element.
  const std::pair<std::string_view, unsigned> expected[] = {
      {"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"U8", 8},          {"I8", 8},
      {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},
      {"U16", 16},    {"F16", 16},    {"BF16", 16},   {"I32", 32},        {"U32", 32},        {"F32", 32},
      {"C64", 64},    {"F64", 64},    {"I64", 64},    {"U64", 64},
  };
  REQUIRE(dtype_table().size() == std::size(expected) + 1);
  for (size_t i = 0; i < std::size(expected); ++i) {
    const auto& [name, bits] = expected[i];
    CAPTURE(name);
    const DtypeInfo& info = dtype_table()[i];
    CHECK(info.safetensors_name == name);
    CHECK(info.bits == bits);
    CHECK(dtype_from_safetensors_name(name) == info.dtype);
    CHECK(&dtype_info(info.dtype) == &info);
    CHECK(info.is_float == (name.starts_with("F") || name.starts_with("BF")));
  }
  CHECK(dtype_table().back().dtype == Dtype::unknown);
}

TEST_CASE("Names that are none are not found") {
  for (const std::string_view name : {"", "f32", "F32 ", "unknown", "F128", "float32"}) {
    CAPTURE(name);
    CHECK(!dtype_from_safetensors_name(name));
  }
  for (const std::string_view name :
       {"", "torch.", "F32", "Float32", "unknown", "auto", "torch.torch.float32"}) {
    CAPTURE(name);
    CHECK(!dtype_from_torch_name(name));
  }
}

TEST_CASE("Torch's names, with and without its prefix, and its aliases") {
  const std::map<std::string, Dtype> expected = {
      {"bool", Dtype::boolean},
      {"uint8", Dtype::u8},
      {"int8", Dtype::i8},
      {"int16", Dtype::i16},
      {"int32", Dtype::i32},
      {"int64", Dtype::i64},
      {"float16", Dtype::f16},
      {"bfloat16", Dtype::bf16},
      {"float32", Dtype::f32},
      {"float64", Dtype::f64},
      {"half", Dtype::f16},
      {"float", Dtype::f32},
      {"double", Dtype::f64},
      {"long", Dtype::i64},
      {"complex64", Dtype::c64},
      {"uint16", Dtype::u16},
      {"float8_e4m3fn", Dtype::f8_e4m3},
      {"float8_e5m2", Dtype::f8_e5m2},
      {"float8_e8m0fnu", Dtype::f8_e8m0},
  };
  for (const auto& [name, dtype] : expected) {
    CAPTURE(name);
    CHECK(dtype_from_torch_name(name) == dtype);
    CHECK(dtype_from_torch_name("torch." + name) == dtype);
  }
  for (const DtypeInfo& info : dtype_table()) {
    if (!info.torch_name.empty()) CHECK(dtype_from_torch_name(info.torch_name) == info.dtype);
  }
}

std::optional<uint64_t> bytes_of(Dtype dtype, std::vector<uint64_t> shape) {
  return tensor_bytes(dtype, shape);
}

TEST_CASE("Bytes of a tensor") {
  CHECK(bytes_of(Dtype::f32, {}) == 4u);
  CHECK(bytes_of(Dtype::bf16, {3, 5}) == 30u);
  CHECK(bytes_of(Dtype::boolean, {3}) == 3u);
  CHECK(bytes_of(Dtype::c64, {2}) == 16u);
  CHECK(bytes_of(Dtype::f64, {0}) == 0u);
  CHECK(bytes_of(Dtype::f4, {2}) == 1u);
  CHECK(bytes_of(Dtype::f6_e2m3, {4}) == 3u);
  CHECK(!bytes_of(Dtype::f4, {3}));
  CHECK(!bytes_of(Dtype::f6_e3m2, {2}));
  CHECK(!bytes_of(Dtype::unknown, {1}));
}

TEST_CASE("Shapes whose size does not fit in 64 bits") {
  const uint64_t two_to_32 = uint64_t{1} << 32, two_to_63 = uint64_t{1} << 63;
  CHECK(!element_count(std::vector{two_to_32, two_to_32}));
  CHECK(!element_count(std::vector{two_to_63, uint64_t{2}}));
  CHECK(element_count(std::vector{two_to_63}) == two_to_63);
  CHECK(element_count(std::vector<uint64_t>{0, UINT64_MAX, UINT64_MAX}) == 0u);
  // As the reference, which multiplies from left to right and stops at the overflow.
  CHECK(!element_count(std::vector<uint64_t>{UINT64_MAX, 2, 0}));
  CHECK(element_count(std::vector<uint64_t>{}) == 1u);
  CHECK(!bytes_of(Dtype::u8, {uint64_t{1} << 61}));
  CHECK(bytes_of(Dtype::u8, {(uint64_t{1} << 61) - 1}) == (uint64_t{1} << 61) - 1);
  CHECK(!bytes_of(Dtype::f64, {uint64_t{1} << 58}));
  CHECK(bytes_of(Dtype::f64, {(uint64_t{1} << 58) - 1}) == (uint64_t{1} << 61) - 8);
}

}  // namespace
}  // namespace hfload
