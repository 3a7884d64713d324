#include "core/format/shard_index.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "core/base/error.h"
#include "core/format/json.h"
#include "core/format/json_file.h"
#include "core/format/lfs_pointer.h"

namespace hfload {
namespace {

/// NAME_MAX of Linux and most file systems.
constexpr size_t kMaxComponentBytes = 255;

/// Why `path` is no relative path that stays below its directory; empty where it is one.
std::string_view path_fault(std::string_view path) {
  if (path.empty()) return "is empty";
  if (path.find('\0') != std::string_view::npos) return "has a NUL character";
  if (path.find('\\') != std::string_view::npos) return "has a backslash";
  if (path.front() == '/') return "is absolute";
  if (path.back() == '/') return "ends with a slash";
  const bool letter = (path[0] >= 'A' && path[0] <= 'Z') || (path[0] >= 'a' && path[0] <= 'z');
  if (letter && path.size() > 1 && path[1] == ':') return "starts with a drive letter";
  bool names_file = false;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view component = path.substr(begin, end - begin);
    if (component == "..") return "has a component \"..\"";
    if (component.size() > kMaxComponentBytes) return "has a component of more than 255 bytes";
    names_file = names_file || (!component.empty() && component != ".");
    begin = end + 1;
  }
  return names_file ? std::string_view() : "names no file";
}

/// The path without empty components and ".".
std::string plain_path(std::string_view path) {
  std::string plain;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view component = path.substr(begin, end - begin);
    if (!component.empty() && component != ".") plain.append(plain.empty() ? "" : "/").append(component);
    begin = end + 1;
  }
  return plain;
}

class IndexReader {
 public:
  ShardIndex read(simdjson::padded_string text) {
    try {
      refuse_lfs_pointer(std::string_view(text.data(), text.size()));
      read_document(std::move(text));
    } catch (Error& error) {
      if (error.hint().empty()) error.with_hint("The index is damaged: download or export it again.");
      throw;
    }
    return std::move(index_);
  }

 private:
  /// Names are views of the text until the parser is gone, to be in memory once at a time.
  void read_document(simdjson::padded_string text) {
    {
      json::Document document(std::move(text), 0);
      document.read([&](json::Value& root) { read_root(root); });
      text = std::move(document).take_text();
    }
    if (!has_weight_map_) throw Error(ErrorCode::invalid_index, "the index has no weight_map").with_offset(0);
    sort_shards();
    for (size_t i = 0; i < names_.size(); ++i) index_.weight_map[i].tensor = names_[i];
  }

  [[noreturn]] static void fail(const json::Value& value, std::string message) {
    throw Error(ErrorCode::invalid_index, std::move(message)).with_offset(value.offset());
  }

  void read_root(json::Value& root) {
    if (root.kind() != json::Kind::object) fail(root, "the index is not a JSON object");
    root.for_each_member([&](std::string_view key, json::Value& value) {
      if (key == "weight_map") {
        has_weight_map_ = true;
        read_weight_map(value);
      } else if (key == "metadata") {
        read_metadata(value);
      }
    });
  }

  void read_weight_map(json::Value& value) {
    if (value.kind() != json::Kind::object) fail(value, "the weight_map is not an object");
    value.for_each_member(
        [&](std::string_view tensor, json::Value& file) { read_entry(tensor, file); },
        [](Error& error, std::string_view tensor) { error.with_tensor(std::string(tensor)); });
    if (index_.weight_map.empty()) fail(value, "the weight_map is empty");
  }

  void read_entry(std::string_view tensor, json::Value& value) {
    if (value.kind() != json::Kind::string)
      fail(value, "the tensor's shard in the weight_map is not a string");
    const uint64_t offset = value.offset();
    const std::string_view file = value.string();
    // Neighbours are mostly in the same shard.
    if (index_.weight_map.empty() || file != last_file_) {
      last_file_ = file;
      require_path_below(file, offset);
      last_number_ =
          shard_numbers_.try_emplace(plain_path(file), static_cast<uint32_t>(shard_numbers_.size()))
              .first->second;
    }
    index_.weight_map.push_back({{}, last_number_});
    names_.push_back(tensor);
  }

  static void require_path_below(std::string_view file, uint64_t offset) {
    const std::string_view fault = path_fault(file);
    if (fault.empty()) return;
    throw Error(ErrorCode::unsafe_path,
                fmt::format("the tensor's shard \"{}\" {}", json::shorten(file), fault))
        .with_offset(offset)
        .with_hint("A shard is a file below the model's directory. Do not trust this index.");
  }

  void read_metadata(json::Value& value) {
    if (value.kind() == json::Kind::null) return;
    if (value.kind() != json::Kind::object) fail(value, "the index's metadata are not an object");
    value.for_each_member([&](std::string_view key, json::Value& entry) {
      if (key == "total_size") {
        read_total_size(entry);
      } else if (key == "dtype") {
        read_dtype(entry);
      }
    });
  }

  /// Some writers divide, and so leave a floating-point number. The size is advisory, and an odd one no
  /// reason to refuse.
  void read_total_size(const json::Value& value) {
    constexpr double kMaxExactInteger = 9007199254740992.0;  // 2^53
    if (value.kind() == json::Kind::number) {
      const std::string_view text = value.number();
      const char* end = text.data() + text.size();
      uint64_t whole = 0;
      if (const auto result = std::from_chars(text.data(), end, whole);
          result.ec == std::errc() && result.ptr == end) {
        index_.total_size_bytes = whole;
        return;
      }
      double number = 0;
      const auto result = std::from_chars(text.data(), end, number);
      if (result.ec == std::errc() && number >= 0 && number < kMaxExactInteger &&
          number == static_cast<double>(static_cast<uint64_t>(number))) {
        index_.total_size_bytes = static_cast<uint64_t>(number);
        return;
      }
    }
    if (value.kind() != json::Kind::null)
      index_.notes.emplace_back("metadata.total_size is not a number of bytes and is ignored");
  }

  void read_dtype(json::Value& value) {
    if (value.kind() == json::Kind::string) {
      std::string_view name = value.string();
      if (name.starts_with("torch.")) name.remove_prefix(6);
      index_.dtype = name;
    } else if (value.kind() != json::Kind::null) {
      index_.notes.emplace_back("metadata.dtype is not a string and is ignored");
    }
  }

  void sort_shards() {
    std::vector<uint32_t> sorted_numbers(shard_numbers_.size());
    index_.shards.reserve(shard_numbers_.size());
    for (const auto& [file, number] : shard_numbers_) {
      sorted_numbers[number] = static_cast<uint32_t>(index_.shards.size());
      index_.shards.emplace_back(file);
    }
    for (WeightMapEntry& entry : index_.weight_map) entry.shard = sorted_numbers[entry.shard];
  }

  ShardIndex index_;
  bool has_weight_map_ = false;
  std::vector<std::string_view> names_;            ///< of index_.weight_map
  std::map<std::string, uint32_t> shard_numbers_;  ///< in order of appearance
  std::string_view last_file_;
  uint32_t last_number_ = 0;
};

}  // namespace

ShardIndex parse_shard_index(std::string_view json) { return IndexReader().read(json::padded_copy(json)); }

ShardIndex read_shard_index(const RegularFile& file) {
  try {
    simdjson::padded_string text = json::read_padded_file(file, kMaxShardIndexBytes);
    return IndexReader().read(std::move(text));
  } catch (Error& error) {
    if (error.path().empty()) error.with_path(file.path);
    throw;
  }
}

}  // namespace hfload
