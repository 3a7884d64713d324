#include "core/save/shard_split.h"

#include <fmt/core.h>

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace hfload {
namespace {

struct StemAndExtension {
  std::string_view stem, extension;  ///< the extension with its dot
};

StemAndExtension divide(std::string_view file_name) {
  const size_t dot = std::min(file_name.rfind('.'), file_name.size());
  return {file_name.substr(0, dot), file_name.substr(dot)};
}

/// The shards before tensors of a known storage are put with their first.
std::vector<std::vector<uint32_t>> divide_firsts(
    std::span<const SplitTensor> tensors, uint64_t max_bytes,
    std::unordered_map<uint64_t, std::vector<uint32_t>>& storages, uint64_t& total_bytes) {
  std::vector<std::vector<uint32_t>> shards;
  std::vector<uint32_t> current;
  uint64_t current_bytes = 0;
  for (uint32_t i = 0; i < tensors.size(); ++i) {
    const SplitTensor& tensor = tensors[i];
    if (tensor.storage) {
      std::vector<uint32_t>& sharing = storages[*tensor.storage];
      sharing.push_back(i);
      if (sharing.size() > 1) continue;
    }
    total_bytes += tensor.bytes;
    if (tensor.bytes > max_bytes) {
      shards.push_back({i});
      continue;
    }
    if (current_bytes > max_bytes - tensor.bytes) {
      shards.push_back(std::exchange(current, {}));
      current_bytes = 0;
    }
    current.push_back(i);
    current_bytes += tensor.bytes;
  }
  if (!current.empty() || shards.empty()) shards.push_back(std::move(current));
  return shards;
}

void append_unicode_escape(std::string& out, uint32_t code_point) {
  if (code_point < 0x10000) {
    out += fmt::format("\\u{:04x}", code_point);
    return;
  }
  code_point -= 0x10000;
  out += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (code_point >> 10), 0xDC00 + (code_point & 0x3FF));
}

/// The bytes of a UTF-8 sequence that starts with `lead`.
size_t sequence_bytes(unsigned char lead) { return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4; }

}  // namespace

ShardSplit split_into_shards(std::span<const SplitTensor> tensors, uint64_t max_shard_bytes,
                             std::string_view file_name) {
  ShardSplit split;
  std::unordered_map<uint64_t, std::vector<uint32_t>> storages;
  std::vector<std::vector<uint32_t>> shards =
      divide_firsts(tensors, max_shard_bytes, storages, split.total_size_bytes);
  for (std::vector<uint32_t>& shard : shards) {
    std::vector<uint32_t> complete;
    for (const uint32_t tensor : shard) {
      if (!tensors[tensor].storage) {
        complete.push_back(tensor);
        continue;
      }
      const std::vector<uint32_t>& sharing = storages.at(*tensors[tensor].storage);
      complete.insert(complete.end(), sharing.begin(), sharing.end());
    }
    std::sort(complete.begin(), complete.end());
    shard = std::move(complete);
  }
  const auto [stem, extension] = divide(file_name);
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string suffix = shards.size() == 1 ? "" : fmt::format("-{:05}-of-{:05}", i + 1, shards.size());
    split.files.push_back({fmt::format("{}{}{}", stem, suffix, extension), std::move(shards[i])});
  }
  return split;
}

bool is_shard_name(std::string_view name, std::string_view file_name) {
  constexpr std::string_view kPattern = "-#####-of-#####";
  const auto [stem, extension] = divide(file_name);
  if (name.size() != stem.size() + kPattern.size() + extension.size() || !name.starts_with(stem) ||
      !name.ends_with(extension)) {
    return false;
  }
  return std::ranges::equal(name.substr(stem.size(), kPattern.size()), kPattern, [](char c, char expected) {
    return expected == '#' ? c >= '0' && c <= '9' : c == expected;
  });
}

void write_shard_index(const ShardSplit& split, const std::function<std::string_view(uint32_t)>& name_of,
                       std::optional<uint64_t> total_parameters, const TextSink& sink) {
  struct Entry {
    uint32_t tensor, file;
  };
  std::vector<Entry> weight_map;
  size_t tensors = 0;
  for (const SplitFile& file : split.files) tensors += file.tensors.size();
  weight_map.reserve(tensors);
  for (uint32_t f = 0; f < split.files.size(); ++f) {
    for (const uint32_t tensor : split.files[f].tensors) weight_map.push_back({tensor, f});
  }
  // Python sorts by code points, which in UTF-8 is the order of bytes.
  std::ranges::sort(weight_map, {}, [&](const Entry& entry) { return name_of(entry.tensor); });
  BufferedText out(sink);
  out.text() += "{\n  \"metadata\": {\n";
  if (total_parameters) out.text() += fmt::format("    \"total_parameters\": {},\n", *total_parameters);
  out.text() += fmt::format("    \"total_size\": {}\n  }},\n", split.total_size_bytes);
  out.text() += weight_map.empty() ? "  \"weight_map\": {" : "  \"weight_map\": {\n";
  for (size_t i = 0; i < weight_map.size(); ++i) {
    out.text() += fmt::format("    {}: {}{}\n", python_json_string(name_of(weight_map[i].tensor)),
                              python_json_string(split.files[weight_map[i].file].name),
                              i + 1 < weight_map.size() ? "," : "");
  }
  out.text() += weight_map.empty() ? "}\n}\n" : "  }\n}\n";
  out.flush();
}

std::string python_json_string(std::string_view text) {
  std::string out = "\"";
  for (size_t at = 0; at < text.size();) {
    const auto lead = static_cast<unsigned char>(text[at]);
    const size_t bytes = std::min(sequence_bytes(lead), text.size() - at);
    constexpr std::string_view kEscaped = "\"\\\b\f\n\r\t", kLetters = "\"\\bfnrt";
    if (const size_t known = kEscaped.find(text[at]); known != std::string_view::npos) {
      out += '\\';
      out += kLetters[known];
    } else if (bytes > 1) {
      uint32_t code_point = lead & (0xFFU >> (bytes + 1));
      for (size_t i = 1; i < bytes; ++i)
        code_point = code_point << 6 | (static_cast<unsigned char>(text[at + i]) & 0x3FU);
      append_unicode_escape(out, code_point);
    } else if (lead < 0x20 || lead == 0x7F) {
      append_unicode_escape(out, lead);
    } else {
      out += text[at];
    }
    at += bytes;
  }
  return out + '"';
}

}  // namespace hfload
