#include "core/format/tensor_hashes.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/format/json.h"
#include "core/format/json_file.h"

namespace hfload {
namespace {

constexpr std::string_view kSchema = "hfload.hashes/1";

[[noreturn]] void fail(const json::Value& value, std::string message) {
  throw Error(ErrorCode::invalid_hashes, std::move(message)).with_offset(value.offset());
}

std::string read_string(json::Value& value, std::string_view what) {
  if (value.kind() != json::Kind::string) fail(value, std::string(what) + " is not a string");
  return std::string(value.string());
}

SavedHash read_tensor(json::Value& value) {
  if (value.kind() != json::Kind::object) fail(value, "the tensor's entry is not an object");
  SavedHash tensor;
  const uint64_t offset = value.offset();
  value.for_each_member([&](std::string_view key, json::Value& field) {
    if (key == "dtype") {
      tensor.dtype = read_string(field, "the tensor's dtype");
    } else if (key == "hash") {
      tensor.hash = read_string(field, "the tensor's hash");
    } else if (key == "shape") {
      if (field.kind() != json::Kind::array) fail(field, "the tensor's shape is not an array");
      field.for_each_element([&](json::Value& dimension) {
        if (dimension.kind() != json::Kind::number) fail(dimension, "a dimension is not a number");
        tensor.shape.push_back(dimension.uint64());
      });
    }
  });
  const bool is_hash =
      tensor.hash.size() == 16 && tensor.hash.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (!is_hash || tensor.dtype.empty()) {
    throw Error(ErrorCode::invalid_hashes, "the tensor's entry lacks its dtype or a hash of 16 digits")
        .with_offset(offset);
  }
  return tensor;
}

void parse(simdjson::padded_string text, const SavedHashSink& sink) {
  bool has_schema = false;
  try {
    json::Document document(std::move(text), 0);
    document.read([&](json::Value& root) {
      if (root.kind() != json::Kind::object) fail(root, "the file is not a JSON object");
      root.for_each_member([&](std::string_view key, json::Value& value) {
        if (key == "schema") {
          has_schema = read_string(value, "the schema") == kSchema;
        } else if (key == "tensors") {
          if (value.kind() != json::Kind::object) fail(value, "the tensors are not an object");
          value.for_each_member(
              [&](std::string_view name, json::Value& entry) { sink(name, read_tensor(entry)); },
              [](Error& error, std::string_view name) { error.with_tensor(std::string(name)); });
        }
      });
    });
    if (!has_schema)
      throw Error(ErrorCode::invalid_hashes, "the file's schema is not hfload.hashes/1").with_offset(0);
  } catch (Error& error) {
    if (error.hint().empty()) error.with_hint("Give a file that hfload verify --write-hashes wrote.");
    throw;
  }
}

}  // namespace

void parse_tensor_hashes(std::string_view json, const SavedHashSink& sink) {
  parse(json::padded_copy(json), sink);
}

void read_tensor_hashes(const RegularFile& file, const SavedHashSink& sink) {
  try {
    parse(json::read_padded_file(file, kMaxTensorHashesBytes), sink);
  } catch (Error& error) {
    if (error.path().empty()) error.with_path(file.path);
    throw;
  }
}

}  // namespace hfload
