#include "core/save/safetensors_writer.h"

#include <catch2/catch.hpp>
#include <numeric>
#include <set>

#include "core/base/error.h"
#include "core/format/safetensors.h"
#include "test/support/fixtures.h"

namespace hfload {
namespace {

using test::array_of;
using test::at;
using test::string_of;

std::string to_hex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const char c : bytes) {
    text += kDigits[static_cast<unsigned char>(c) >> 4];
    text += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return text;
}

std::vector<OutputTensor> read_tensors(const ConfigValue& rows) {
  std::vector<OutputTensor> tensors;
  for (const ConfigValue& value : array_of(rows)) {
    const ConfigValue::Array& row = array_of(value);
    OutputTensor tensor;
    tensor.name = string_of(row[0]);
    tensor.dtype = dtype_from_torch_name(string_of(row[1])).value();
    for (const ConfigValue& dimension : array_of(row[2])) tensor.shape.push_back(test::uint_of(dimension));
    tensor.bytes = tensor_bytes(tensor.dtype, tensor.shape).value();
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

/// The file of a layout whose tensors hold bytes that count up from the length of their names.
std::string fill(const FileLayout& layout, std::span<const OutputTensor> tensors) {
  std::string file(layout.file_bytes, '?');
  for (const FilePiece& piece : layout.pieces) file.replace(piece.offset, piece.bytes.size(), piece.bytes);
  for (const TensorSlot& slot : layout.slots) {
    const OutputTensor& tensor = tensors[slot.tensor];
    for (size_t i = 0; i < tensor.bytes; ++i) {
      file.at(slot.offset + i) = static_cast<char>((tensor.name.size() + i) & 0xFF);
    }
  }
  return file;
}

std::vector<uint32_t> all_of(std::span<const OutputTensor> tensors) {
  std::vector<uint32_t> chosen(tensors.size());
  std::iota(chosen.begin(), chosen.end(), 0U);
  return chosen;
}

}  // namespace

TEST_CASE("a file has the bytes that the safetensors package writes", "[save]") {
  std::set<Dtype> dtypes;
  for (const ConfigValue& file_case : test::read_xz_jsonl_fixture("save/safetensors_files.jsonl.xz")) {
    const std::vector<OutputTensor> tensors = read_tensors(at(file_case, "tensors"));
    for (const OutputTensor& tensor : tensors) dtypes.insert(tensor.dtype);
    const FileLayout layout = safetensors_layout(tensors, all_of(tensors));
    CHECK(to_hex(fill(layout, tensors)) == string_of(at(file_case, "file")));
  }
  CHECK(dtypes.size() == 18);
}

TEST_CASE("only the chosen tensors are in a file", "[save]") {
  const std::vector<OutputTensor> tensors = {
      {"a", Dtype::f32, {1}, 4}, {"b", Dtype::f32, {2}, 8}, {"c", Dtype::f16, {2}, 4}};
  const FileLayout layout = safetensors_layout(tensors, std::vector<uint32_t>{2, 0});
  const std::string file = fill(layout, tensors);
  const SafetensorsHeader header =
      parse_safetensors_header(std::as_bytes(std::span(file.data(), file.size())), file.size());
  REQUIRE(header.tensors.size() == 2);
  CHECK(header.tensors[0].name == "a");
  CHECK(header.tensors[1].name == "c");
}

TEST_CASE("the reserved name is refused", "[save]") {
  const std::vector<OutputTensor> tensors = {{"__metadata__", Dtype::f32, {1}, 4}};
  try {
    safetensors_layout(tensors, all_of(tensors));
    FAIL("written");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::name_collision);
  }
}

}  // namespace hfload
