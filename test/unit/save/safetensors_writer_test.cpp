#include "core/save/safetensors_writer.h"

#include <catch2/catch.hpp>
#include <deque>
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

/// Tensors with the names and shapes that they refer to.
class Tensors {
 public:
  void add(std::string name, Dtype dtype, std::vector<uint64_t> shape) {
    const OutputTensor tensor{names_.emplace_back(std::move(name)), dtype,
                              shapes_.emplace_back(std::move(shape)),
                              tensor_bytes(dtype, shapes_.back()).value()};
    tensors.push_back(tensor);
  }

  std::vector<OutputTensor> tensors;

 private:
  std::deque<std::string> names_;
  std::deque<std::vector<uint64_t>> shapes_;
};

void read_tensors(const ConfigValue& rows, Tensors& read) {
  for (const ConfigValue& value : array_of(rows)) {
    const ConfigValue::Array& row = array_of(value);
    std::vector<uint64_t> shape;
    for (const ConfigValue& dimension : array_of(row[2])) shape.push_back(test::uint_of(dimension));
    read.add(string_of(row[0]), dtype_from_torch_name(string_of(row[1])).value(), shape);
  }
}

/// The file of a layout whose tensors hold bytes that count up from the length of their names.
std::string fill(const FileLayout& layout, std::span<const OutputTensor> tensors) {
  std::string file(layout.file_bytes, '?');
  write_around_tensors(tensors, layout, [&](uint64_t offset, std::string_view bytes) {
    file.replace(offset, bytes.size(), bytes);
  });
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
    Tensors read;
    read_tensors(at(file_case, "tensors"), read);
    const std::vector<OutputTensor>& tensors = read.tensors;
    for (const OutputTensor& tensor : tensors) dtypes.insert(tensor.dtype);
    const FileLayout layout = safetensors_layout(tensors, all_of(tensors));
    CHECK(to_hex(fill(layout, tensors)) == string_of(at(file_case, "file")));
  }
  CHECK(dtypes.size() == 18);
}

TEST_CASE("only the chosen tensors are in a file", "[save]") {
  Tensors chosen;
  chosen.add("a", Dtype::f32, {1});
  chosen.add("b", Dtype::f32, {2});
  chosen.add("c", Dtype::f16, {2});
  const std::vector<OutputTensor>& tensors = chosen.tensors;
  const FileLayout layout = safetensors_layout(tensors, std::vector<uint32_t>{2, 0});
  const std::string file = fill(layout, tensors);
  const SafetensorsHeader header =
      parse_safetensors_header(std::as_bytes(std::span(file.data(), file.size())), file.size());
  REQUIRE(header.tensors.size() == 2);
  CHECK(header.tensors[0].name == "a");
  CHECK(header.tensors[1].name == "c");
}

TEST_CASE("the reserved name is refused", "[save]") {
  Tensors reserved;
  reserved.add("__metadata__", Dtype::f32, {1});
  const std::vector<OutputTensor>& tensors = reserved.tensors;
  try {
    safetensors_layout(tensors, all_of(tensors));
    FAIL("written");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::name_collision);
  }
}

}  // namespace hfload
