#include "core/format/safetensors.h"

#include <algorithm>
#include <set>

#include "core/format/json.h"
#include "core/format/safetensors_any.h"
#include "core/format/safetensors_plain.h"
#include "test/fuzz/check.h"
#include "test/support/header_equality.h"

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

/// What the reader of plain headers reads, the other must read, too, and so must the first in small windows.
void check_readers(std::string_view header, uint64_t file_bytes) {
  const auto read_plain = [&](size_t window_bytes) {
    auto rest = std::as_bytes(std::span(header));
    const auto read_next = [&](std::span<std::byte> into) {
      std::ranges::copy(rest.first(into.size()), into.begin());
      rest = rest.subspan(into.size());
    };
    return read_plain_header(header.size(), file_bytes, read_next, window_bytes);
  };
  const std::optional<SafetensorsHeader> plain = read_plain(kHeaderWindowBytes);
  constexpr size_t kSmallWindow = 100;
  const std::optional<SafetensorsHeader> in_pieces = read_plain(kSmallWindow);
  require(plain.has_value() || !in_pieces.has_value());
  if (plain) require(test::is_same(*plain, read_any_header(json::padded_copy(header), file_bytes)));
  if (in_pieces) require(test::is_same(*plain, *in_pieces));
}

void check_file(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  refusal_of([&] { check_header(parse_safetensors_header(bytes, size), size); }, size);
  uint64_t header_bytes = 0;
  if (!refusal_of([&] { header_bytes = parse_safetensors_header_length(bytes, size); }, size))
    check_readers(as_text(data, size).substr(8, header_bytes), size);
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
  check_readers(as_text(data, size), 8 + size);
  if (refusal && refusal->code() == ErrorCode::trailing_bytes) {
    parse(*refusal->offset());
    check_readers(as_text(data, size), *refusal->offset());
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
