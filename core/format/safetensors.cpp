#include "core/format/safetensors.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <optional>

#include "core/base/error.h"
#include "core/format/json.h"
#include "core/format/lfs_pointer.h"
#include "core/format/safetensors_any.h"
#include "core/format/safetensors_plain.h"

namespace hfload {
namespace {

constexpr uint64_t kLengthPrefixBytes = 8;

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// What a file is that starts like none of safetensors; empty where it cannot be told.
std::string_view other_format(std::string_view start) {
  struct Magic {
    std::string_view start, format;
  };
  using namespace std::string_view_literals;
  constexpr std::array kMagics = {
      Magic{"PK\3\4"sv, "a zip archive, as torch.save writes"},
      Magic{"\x89HDF"sv, "HDF5"},
      Magic{"GGUF"sv, "GGUF"},
      Magic{"\x80\2"sv, "a Python pickle"},
      Magic{"<!DOCTYPE"sv, "an HTML page"},
      Magic{"<html"sv, "an HTML page"},
      Magic{"{"sv, "a JSON text"},
  };
  for (const Magic& magic : kMagics) {
    if (start.starts_with(magic.start)) return magic.format;
  }
  return {};
}

}  // namespace

const TensorInfo* SafetensorsHeader::find(std::string_view name) const {
  const auto position = by_name.find(name, [&](uint32_t i) { return tensors[i].name.view(); });
  return position ? &tensors[*position] : nullptr;
}

bool SafetensorsHeader::index_tensors() {
  by_name = NameIndex(tensors.size());
  for (uint32_t i = 0; i < tensors.size(); ++i) {
    if (!by_name.insert(tensors[i].name, i, [&](uint32_t at) { return tensors[at].name.view(); }))
      return false;
  }
  return true;
}

uint64_t parse_safetensors_header_length(std::span<const std::byte> prefix, uint64_t file_bytes) {
  const std::string_view start = as_text(prefix);
  refuse_lfs_pointer(start);
  if (file_bytes < kLengthPrefixBytes || prefix.size() < kLengthPrefixBytes) {
    throw Error(ErrorCode::header_too_small,
                fmt::format("the file has {} bytes; its length prefix alone takes 8", file_bytes))
        .with_offset(std::min<uint64_t>(file_bytes, prefix.size()))
        .with_hint("The file is incomplete: download or export it again.");
  }
  uint64_t header_bytes = 0;
  for (size_t i = 0; i < kLengthPrefixBytes; ++i)
    header_bytes |= std::to_integer<uint64_t>(prefix[i]) << (8 * i);
  if (header_bytes > kMaxSafetensorsHeaderBytes) {
    const std::string_view format = other_format(start);
    throw Error(ErrorCode::header_too_large,
                fmt::format("the file declares a header of {} bytes; at most {} are allowed", header_bytes,
                            kMaxSafetensorsHeaderBytes))
        .with_offset(0)
        .with_hint(format.empty() ? "This is not a safetensors file."
                                  : fmt::format("This is not a safetensors file but {}.", format));
  }
  if (header_bytes > file_bytes - kLengthPrefixBytes) {
    throw Error(ErrorCode::header_truncated,
                fmt::format("the file declares a header of {} bytes but ends after {} of them", header_bytes,
                            file_bytes - kLengthPrefixBytes))
        .with_offset(file_bytes)
        .with_hint("The file is incomplete: download or export it again.");
  }
  return header_bytes;
}

SafetensorsHeader parse_safetensors_header(std::span<const std::byte> head, uint64_t file_bytes) {
  const uint64_t header_bytes = parse_safetensors_header_length(head, file_bytes);
  if (header_bytes > head.size() - kLengthPrefixBytes) {
    throw Error(ErrorCode::header_truncated, "the header is not there in full").with_offset(head.size());
  }
  const auto text = head.subspan(kLengthPrefixBytes, header_bytes);
  auto rest = text;
  const auto read_next = [&](std::span<std::byte> into) {
    std::ranges::copy(rest.first(into.size()), into.begin());
    rest = rest.subspan(into.size());
  };
  if (auto header = read_plain_header(header_bytes, file_bytes, read_next)) return std::move(*header);
  return read_any_header(json::padded_copy(as_text(text)), file_bytes);
}

SafetensorsHeader read_safetensors_header(const RegularFile& file) {
  try {
    std::array<std::byte, kLfsPointerStart.size()> start{};
    const uint64_t file_bytes = file.identity.bytes;
    const auto prefix = std::span(start).first(std::min<uint64_t>(start.size(), file_bytes));
    read_exactly(file, 0, prefix);
    const uint64_t header_bytes = parse_safetensors_header_length(prefix, file_bytes);
    uint64_t offset = kLengthPrefixBytes;
    const auto read_next = [&](std::span<std::byte> into) {
      read_exactly(file, offset, into);
      offset += into.size();
    };
    if (auto header = read_plain_header(header_bytes, file_bytes, read_next)) {
      require_unchanged(file);
      return std::move(*header);
    }
    simdjson::padded_string text = json::padded_buffer(header_bytes);
    read_exactly(file, kLengthPrefixBytes, std::as_writable_bytes(std::span(text.data(), header_bytes)));
    require_unchanged(file);
    return read_any_header(std::move(text), file_bytes);
  } catch (Error& error) {
    error.with_path(file.path);
    throw;
  }
}

}  // namespace hfload
