#include "core/save/safetensors_writer.h"

#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "core/base/checked.h"
#include "core/base/error.h"
#include "core/base/join.h"
#include "core/format/safetensors.h"

namespace hfload {
namespace {

constexpr std::string_view kFirstEntry = R"({"__metadata__":{"format":"pt"})";
constexpr uint64_t kLengthPrefixBytes = 8;

/// As serde_json: only what JSON requires is escaped.
void append_json_string(std::string& out, std::string_view text) {
  constexpr std::string_view kEscaped = "\"\\\b\f\n\r\t", kLetters = "\"\\bfnrt";
  out += '"';
  for (const char c : text) {
    if (const size_t known = kEscaped.find(c); known != std::string_view::npos) {
      out += '\\';
      out += kLetters[known];
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  out += '"';
}

/// The header without its padding.
void write_header(std::span<const OutputTensor> tensors, const FileLayout& layout, const TextSink& sink) {
  BufferedText out(sink);
  out.text() += kFirstEntry;
  for (const TensorSlot& slot : layout.slots) {
    const OutputTensor& tensor = tensors[slot.tensor];
    const uint64_t begin = slot.offset - layout.head_bytes;
    std::string& text = out.text();
    text += ',';
    append_json_string(text, tensor.name);
    text += fmt::format(R"(:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                        dtype_info(tensor.dtype).safetensors_name, join(tensor.shape, ","), begin,
                        begin + tensor.bytes);
  }
  out.text() += '}';
  out.flush();
}

}  // namespace

FileLayout safetensors_layout(std::span<const OutputTensor> tensors, std::span<const uint32_t> chosen) {
  std::vector<uint32_t> order(chosen.begin(), chosen.end());
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    if (tensors[a].dtype != tensors[b].dtype) return tensors[a].dtype > tensors[b].dtype;
    return tensors[a].name < tensors[b].name;
  });

  FileLayout layout;
  layout.slots.reserve(order.size());
  uint64_t offset = 0;
  for (const uint32_t index : order) {
    const OutputTensor& tensor = tensors[index];
    if (tensor.name == "__metadata__") {
      throw Error(ErrorCode::name_collision, "safetensors reserves the name __metadata__")
          .with_tensor(std::string(tensor.name))
          .with_hint("Give the tensor another name with --rename.");
    }
    const std::optional<uint64_t> end = checked_add(offset, tensor.bytes);
    if (!end) throw Error(ErrorCode::shape_overflow, "the tensors of one file exceed 2^64 bytes");
    layout.slots.push_back({index, offset});
    offset = *end;
  }

  uint64_t header_bytes = 0;
  write_header(tensors, layout, [&](std::string_view part) { header_bytes += part.size(); });
  header_bytes = align_up(header_bytes, 8);
  if (header_bytes > kMaxSafetensorsHeaderBytes) {
    throw Error(ErrorCode::header_too_large,
                fmt::format("the header would take {} bytes; at most {} are allowed", header_bytes,
                            kMaxSafetensorsHeaderBytes))
        .with_hint("Divide the tensors over more files with a smaller --max-shard-size.");
  }
  layout.head_bytes = kLengthPrefixBytes + header_bytes;
  for (TensorSlot& slot : layout.slots) slot.offset += layout.head_bytes;
  layout.file_bytes = layout.head_bytes + offset;
  return layout;
}

void write_safetensors_head(std::span<const OutputTensor> tensors, const FileLayout& layout,
                            const TextSink& sink) {
  const uint64_t header_bytes = layout.head_bytes - kLengthPrefixBytes;
  std::string prefix(kLengthPrefixBytes, '\0');
  for (size_t i = 0; i < prefix.size(); ++i) prefix[i] = static_cast<char>(header_bytes >> (8 * i) & 0xFF);
  sink(prefix);
  uint64_t written = 0;
  write_header(tensors, layout, [&](std::string_view part) {
    written += part.size();
    sink(part);
  });
  if (written < header_bytes) sink(std::string(header_bytes - written, ' '));
}

}  // namespace hfload
