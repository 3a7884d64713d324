#include "core/format/safetensors.h"

#include <set>

#include "test/fuzz/check.h"

namespace hfload::fuzz {
namespace {

void check_header(const SafetensorsHeader& header, uint64_t file_bytes) {
  uint64_t end = 0;
  std::set<std::string_view> names;
  for (const TensorInfo& tensor : header.tensors) {
    require(tensor.begin == end && tensor.end >= tensor.begin);
    require(tensor.dtype == Dtype::unknown || tensor_bytes(tensor.dtype, tensor.shape) == tensor.bytes());
    require(names.insert(tensor.name).second);
    end = tensor.end;
  }
  require(header.data_start + end == file_bytes);
}

void check_file(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  refusal_of([&] { check_header(parse_safetensors_header(bytes, size), size); }, size);
}

/// The input as a header, its length prefix set right, so that mutations need not keep both in step. With a
/// file that is too long, the one fault left is its trailing bytes, and their offset is the length with which
/// it must be accepted.
void check_header_text(const uint8_t* data, size_t size) {
  std::string file;
  for (int i = 0; i < 8; ++i) file.push_back(static_cast<char>(uint64_t{size} >> (8 * i) & 0xFF));
  file.append(as_text(data, size));
  const auto parse = [&](uint64_t file_bytes) {
    check_header(parse_safetensors_header(std::as_bytes(std::span(file)), file_bytes), file_bytes);
  };
  constexpr uint64_t kLongFile = uint64_t{1} << 62;
  const std::optional<Error> refusal = refusal_of([&] { parse(kLongFile); }, kLongFile);
  require(refusal.has_value() || size == 0);
  if (refusal && refusal->code() == ErrorCode::trailing_bytes) {
    parse(*refusal->offset());
    require_json(as_text(data, size));
  }
}

}  // namespace
}  // namespace hfload::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  hfload::fuzz::check_file(data, size);
  hfload::fuzz::check_header_text(data, size);
  return 0;
}
