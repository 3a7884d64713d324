#include "core/format/config_dtype.h"

#include <fmt/core.h>

#include <vector>

#include "core/base/error.h"
#include "core/format/json.h"

namespace hfload {
namespace {

struct TextRange {
  size_t begin = 0, end = 0;
};

/// The end of the JSON string that begins at `at`, its closing quote included.
size_t string_end(std::string_view json, size_t at) {
  for (++at; json[at] != '"'; ++at) {
    if (json[at] == '\\') ++at;
  }
  return at + 1;
}

class DtypeFinder {
 public:
  explicit DtypeFinder(std::string_view json) : json_(json) {}

  void read_object(json::Value& object, bool is_root) {
    object.for_each_member([&](std::string_view key, json::Value& value) {
      if (key == "dtype" || key == "torch_dtype") {
        add(value, is_root);
      } else if (is_root && value.kind() == json::Kind::object && key.ends_with("_config") &&
                 key != "quantization_config") {
        read_object(value, false);
      }
    });
  }

  const std::vector<TextRange>& found() const { return found_; }
  bool at_root() const { return at_root_; }

 private:
  void add(json::Value& value, bool is_root) {
    const size_t begin = value.offset();
    constexpr size_t kNullBytes = 4;
    if (value.kind() == json::Kind::string) {
      found_.push_back({begin, string_end(json_, begin)});
    } else if (value.kind() == json::Kind::null) {
      found_.push_back({begin, begin + kNullBytes});
    } else {
      return;
    }
    at_root_ = at_root_ || is_root;
  }

  std::string_view json_;
  std::vector<TextRange> found_;
  bool at_root_ = false;
};

}  // namespace

std::string config_with_dtype(std::string_view json, std::string_view torch_name) {
  json::Document document(json::padded_copy(json), 0, json::Dialect::python);
  DtypeFinder finder(json);
  size_t root_begin = 0;
  bool empty = true;
  document.read([&](json::Value& root) {
    if (root.kind() != json::Kind::object)
      throw Error(ErrorCode::invalid_config, "the file is not a JSON object").with_offset(root.offset());
    root_begin = root.offset();
    finder.read_object(root, true);
  });
  empty = json[json.find_first_not_of(" \t\r\n", root_begin + 1)] == '}';

  std::string text;
  size_t at = 0;
  if (!finder.at_root()) {
    text = fmt::format("{}\n  \"torch_dtype\": \"{}\"{}", json.substr(0, root_begin + 1), torch_name,
                       empty ? "\n" : ",");
    at = root_begin + 1;
  }
  for (const TextRange& range : finder.found()) {
    text += json.substr(at, range.begin - at);
    text += fmt::format("\"{}\"", torch_name);
    at = range.end;
  }
  text += json.substr(at);
  return text;
}

}  // namespace hfload
