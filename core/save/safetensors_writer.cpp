#include "core/save/safetensors_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>

#include "core/base/checked.h"
#include "core/base/error.h"
#include "core/format/safetensors.h"

namespace hfload {
namespace {

constexpr std::string_view kFirstEntry = R"({"__metadata__":{"format":"pt"})";

/// As serde_json: only what JSON requires is escaped.
void append_json_string(std::string& out, std::string_view text) {
  constexpr std::string_view kEscaped = "\"\\\b\f\n\r\t", kLetters = "\"\\bfnrt";
  out += '"';
  for (const char c : text) {
    if (const size_t known = kEscaped.find(c); known != std::string_view::npos) {
      out += '\\';
      out += kLetters[known];
    } else if (static_cast<unsigned char>(c) < 0x20) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  out += '"';
}

}  // namespace

FileLayout safetensors_layout(std::span<const OutputTensor> tensors, std::span<const uint32_t> chosen) {
  std::vector<uint32_t> order(chosen.begin(), chosen.end());
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    if (tensors[a].dtype != tensors[b].dtype) return tensors[a].dtype > tensors[b].dtype;
    return tensors[a].name < tensors[b].name;
  });

  FileLayout layout;
  std::string header(kFirstEntry);
  uint64_t offset = 0;
  for (const uint32_t index : order) {
    const OutputTensor& tensor = tensors[index];
    if (tensor.name == "__metadata__") {
      throw Error(ErrorCode::name_collision, "safetensors reserves the name __metadata__")
          .with_tensor(tensor.name)
          .with_hint("Give the tensor another name with --rename.");
    }
    const std::optional<uint64_t> end = checked_add(offset, tensor.bytes);
    if (!end) throw Error(ErrorCode::shape_overflow, "the tensors of one file exceed 2^64 bytes");
    header += ',';
    append_json_string(header, tensor.name);
    fmt::format_to(std::back_inserter(header), R"(:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                   dtype_info(tensor.dtype).safetensors_name, fmt::join(tensor.shape, ","), offset, *end);
    layout.slots.push_back({index, offset});
    offset = *end;
  }
  header += '}';
  header.resize(align_up(header.size(), 8), ' ');
  if (header.size() > kMaxSafetensorsHeaderBytes) {
    throw Error(ErrorCode::header_too_large,
                fmt::format("the header would take {} bytes; at most {} are allowed", header.size(),
                            kMaxSafetensorsHeaderBytes))
        .with_hint("Divide the tensors over more files with a smaller --max-shard-size.");
  }

  std::string head(8, '\0');
  for (size_t i = 0; i < head.size(); ++i) head[i] = static_cast<char>(header.size() >> (8 * i) & 0xFF);
  head += header;
  for (TensorSlot& slot : layout.slots) slot.offset += head.size();
  layout.file_bytes = head.size() + offset;
  layout.pieces.push_back({0, std::move(head)});
  return layout;
}

}  // namespace hfload
