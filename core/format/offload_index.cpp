#include "core/format/offload_index.h"

#include <fmt/core.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <span>
#include <utility>

#include "core/base/error.h"
#include "core/base/name_hash.h"
#include "core/format/json.h"
#include "core/format/json_file.h"

namespace hfload {
namespace {

[[noreturn]] void fail(const json::Value& value, std::string message) {
  throw Error(ErrorCode::invalid_offload_index, std::move(message)).with_offset(value.offset());
}

std::string read_text(json::Value& value, std::string_view field) {
  if (value.kind() != json::Kind::string) fail(value, fmt::format("the tensor's {} is not a string", field));
  return std::string(value.string());
}

OffloadEntry read_entry(std::string_view name, json::Value& value) {
  OffloadEntry entry;
  entry.name = name;
  const uint64_t offset = value.offset();
  if (value.kind() != json::Kind::object) fail(value, "the tensor's entry is not an object");
  bool has_shape = false;
  value.for_each_member([&](std::string_view key, json::Value& field) {
    if (key == "dtype") {
      entry.dtype = read_text(field, key);
    } else if (key == "safetensors_file") {
      entry.safetensors_file = read_text(field, key);
    } else if (key == "weight_name") {
      entry.weight_name = read_text(field, key);
    } else if (key == "shape") {
      if (field.kind() != json::Kind::array) fail(field, "the tensor's shape is not an array");
      field.for_each_element([&](json::Value& dimension) {
        if (dimension.kind() != json::Kind::number) fail(dimension, "a dimension of the tensor is no number");
        entry.shape.push_back(dimension.uint64());
      });
      has_shape = true;
    } else {
      fail(field, fmt::format("the tensor's entry has a field \"{}\", which accelerate does not write",
                              json::shorten(key)));
    }
  });
  const bool complete = entry.in_place() ? !has_shape : has_shape && !entry.dtype.empty();
  if (!complete) {
    throw Error(ErrorCode::invalid_offload_index,
                "the tensor's entry has neither dtype and shape nor a safetensors_file alone")
        .with_offset(offset);
  }
  return entry;
}

/// The code point of a well-formed UTF-8 sequence at `text[at]`, and its bytes; nothing where there is none.
std::optional<std::pair<uint32_t, size_t>> decode(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(text[i])); };
  const uint32_t lead = byte(at);
  if (lead < 0x80) return std::pair(lead, size_t{1});
  const size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() - at < bytes) return std::nullopt;
  uint32_t code_point = lead & (0xffU >> (bytes + 1));
  for (size_t i = 1; i < bytes; ++i) {
    if ((byte(at + i) & 0xc0) != 0x80) return std::nullopt;
    code_point = code_point << 6 | (byte(at + i) & 0x3f);
  }
  constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code_point >= 0xd800 && code_point <= 0xdfff;
  if (code_point < kSmallest[bytes] || code_point > 0x10ffff || surrogate) return std::nullopt;
  return std::pair(code_point, bytes);
}

void append_unit(std::string& out, uint32_t unit) { out += fmt::format("\\u{:04x}", unit); }

/// A string as Python's json module writes it: ASCII, everything else escaped.
void append_string(std::string& out, std::string_view text) {
  out += '"';
  for (size_t at = 0; at < text.size();) {
    const auto decoded = decode(text, at);
    const auto [code_point, bytes] =
        decoded.value_or(std::pair(0xdc00U | static_cast<unsigned char>(text[at]), size_t{1}));
    at += bytes;
    static constexpr std::string_view kShort = "\"\"\\\\\bb\ff\nn\rr\tt";
    size_t escape = 0;
    while (escape < kShort.size() && static_cast<unsigned char>(kShort[escape]) != code_point) escape += 2;
    if (escape < kShort.size()) {
      out.append(1, '\\').append(1, kShort[escape + 1]);
    } else if (code_point >= 0x20 && code_point < 0x7f) {
      out += static_cast<char>(code_point);
    } else if (code_point >= 0x10000) {
      append_unit(out, 0xd800 + ((code_point - 0x10000) >> 10));
      append_unit(out, 0xdc00 + ((code_point - 0x10000) & 0x3ff));
    } else {
      append_unit(out, code_point);
    }
  }
  out += '"';
}

void append_member(std::string& out, std::string_view key, std::string_view text, bool& first) {
  if (text.empty()) return;
  out += first ? "\n    " : ",\n    ";
  first = false;
  append_string(out, key);
  out += ": ";
  append_string(out, text);
}

void append_shape(std::string& out, std::span<const uint64_t> shape) {
  out += ",\n    \"shape\": [";
  for (size_t i = 0; i < shape.size(); ++i) {
    out += fmt::format("{}\n      {}", i == 0 ? "" : ",", shape[i]);
  }
  out += shape.empty() ? "]" : "\n    ]";
}

void parse(simdjson::padded_string json, const OffloadEntrySink& sink) {
  json::Document document(std::move(json), 0);
  document.read([&](json::Value& root) {
    if (root.kind() != json::Kind::object) fail(root, "the offload index is not a JSON object");
    root.for_each_member([&](std::string_view name, json::Value& value) { sink(read_entry(name, value)); },
                         [](Error& error, std::string_view name) { error.with_tensor(std::string(name)); });
  });
}

/// Follows a JSON text byte by byte, as far as it takes to find where its outermost object can be cut.
class CutFinder {
 public:
  /// Whether the byte is a comma between two members. Nothing where no JSON object goes on like that.
  std::optional<bool> is_cut(char c) {
    if (in_string_) {
      in_string_ = is_escaped_ || c != '"';
      is_escaped_ = !is_escaped_ && c == '\\';
      return false;
    }
    const bool is_space = c == ' ' || c == '\n' || c == '\r' || c == '\t';
    if (is_space) return false;
    if (depth_ == 0 && (has_begun_ || c != '{')) return std::nullopt;
    has_begun_ = true;
    in_string_ = c == '"';
    if (c == '{' || c == '[') ++depth_;
    if (c == '}' || c == ']') --depth_;
    return c == ',' && depth_ == 1;
  }
  bool has_ended() const { return has_begun_ && depth_ == 0; }

 private:
  uint64_t depth_ = 0;
  bool has_begun_ = false, in_string_ = false, is_escaped_ = false;
};

/// A JSON text in a file or in memory.
struct Text {
  uint64_t bytes = 0;
  std::function<void(uint64_t offset, std::span<char> target)> read;
};

/// Passes on the entries, and counts them, without the whole text in memory. False where something is wrong
/// with it, or may be, which is then for `parse` to tell.
bool parse_by_pieces(const Text& text, size_t piece_bytes, const OffloadEntrySink& sink, uint64_t& passed) {
  CutFinder finder;
  const NameHash hash_of;
  std::vector<uint64_t> hashes;
  std::vector<OffloadEntry> entries;
  std::string piece;
  for (uint64_t at = 0; at < text.bytes;) {
    size_t seen = piece.size(), cut = 0;
    const uint64_t more = std::min<uint64_t>(piece_bytes, text.bytes - at);
    piece.resize(seen + more);
    text.read(at, std::span(piece).subspan(seen));
    at += more;
    for (; seen < piece.size(); ++seen) {
      const std::optional<bool> is_cut = finder.is_cut(piece[seen]);
      if (!is_cut) return false;
      if (*is_cut) cut = seen;
    }
    const bool is_last = at == text.bytes;
    if (!is_last && cut == 0) continue;
    if (is_last) cut = piece.size();
    try {
      const std::string_view members = std::string_view(piece).substr(0, cut);
      parse(json::padded_copy(is_last ? std::string(members) : fmt::format("{}}}", members)),
            [&](OffloadEntry entry) { entries.push_back(std::move(entry)); });
    } catch (const Error&) {
      return false;
    }
    const bool is_whole = is_last && passed == 0;
    if (entries.empty() && !is_whole) return false;
    for (OffloadEntry& entry : entries) {
      hashes.push_back(hash_of(entry.name));
      sink(std::move(entry));
      ++passed;
    }
    entries.clear();
    piece.erase(0, cut);
    if (!is_last) piece.front() = '{';
  }
  std::ranges::sort(hashes);
  return finder.has_ended() && std::ranges::adjacent_find(hashes) == hashes.end();
}

/// `whole`: gives the text, with what simdjson needs behind it.
void parse(const Text& text, size_t piece_bytes, const OffloadEntrySink& sink,
           const std::function<simdjson::padded_string()>& whole) {
  uint64_t passed = 0;
  if (parse_by_pieces(text, piece_bytes, sink, passed)) return;
  parse(whole(), [&](OffloadEntry entry) {
    if (passed == 0) return sink(std::move(entry));
    --passed;
  });
}

}  // namespace

void parse_offload_index(std::string_view json, const OffloadEntrySink& sink, size_t piece_bytes) {
  const auto read = [&](uint64_t offset, std::span<char> target) {
    json.substr(offset).copy(target.data(), target.size());
  };
  parse({json.size(), read}, piece_bytes, sink, [&] { return json::padded_copy(json); });
}

void read_offload_index(const RegularFile& file, const OffloadEntrySink& sink) {
  const auto read = [&](uint64_t offset, std::span<char> target) {
    read_exactly(file, offset, std::as_writable_bytes(target));
  };
  const uint64_t bytes = file.identity.bytes;
  try {
    parse({bytes <= kMaxOffloadIndexBytes ? bytes : 0, read}, kOffloadIndexPieceBytes, sink,
          [&] { return json::read_padded_file(file, kMaxOffloadIndexBytes); });
  } catch (Error& error) {
    if (error.path().empty()) error.with_path(file.path);
    throw;
  }
}

void OffloadIndexWriter::add(const OffloadEntry& entry) {
  std::string& out = text_.text();
  out += is_empty_ ? "{\n  " : ",\n  ";
  is_empty_ = false;
  append_string(out, entry.name);
  out += ": {";
  bool first = true;
  append_member(out, "safetensors_file", entry.safetensors_file, first);
  append_member(out, "weight_name", entry.weight_name, first);
  append_member(out, "dtype", entry.dtype, first);
  if (!entry.in_place()) append_shape(out, entry.shape);
  out += "\n  }";
}

void OffloadIndexWriter::finish() {
  text_.text() += is_empty_ ? "{}" : "\n}";
  text_.flush();
}

}  // namespace hfload
