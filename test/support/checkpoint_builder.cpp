#include "test/support/checkpoint_builder.h"

#include <cstring>

namespace hfload::test {
namespace {

/// The texts between two brackets, with commas.
std::string enclose(char open, const std::vector<std::string>& texts, char close) {
  std::string all(1, open);
  for (const std::string& text : texts) {
    if (all.size() > 1) all.push_back(',');
    all += text;
  }
  all.push_back(close);
  return all;
}

std::string numbers_json(std::span<const uint64_t> numbers) {
  std::vector<std::string> texts;
  for (const uint64_t number : numbers) texts.push_back(std::to_string(number));
  return enclose('[', texts, ']');
}

std::string member_json(std::string_view key, std::string_view value) {
  return json_string(key).append(":").append(value);
}

}  // namespace

std::string safetensors_bytes(uint64_t declared_header_bytes, std::string_view header,
                              std::string_view data) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<char>(declared_header_bytes >> (8 * i) & 0xFF));
  return bytes.append(header).append(data);
}

std::string safetensors_bytes(std::string_view header, std::string_view data) {
  return safetensors_bytes(header.size(), header, data);
}

std::string json_string(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string json = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      json.push_back('\\');
      json.push_back(c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      json += "\\u00";
      json.push_back(kHex[static_cast<size_t>(c) >> 4]);
      json.push_back(kHex[static_cast<size_t>(c) & 15]);
    } else {
      json.push_back(c);
    }
  }
  json.push_back('"');
  return json;
}

CheckpointBuilder& CheckpointBuilder::metadata(std::string key, std::string value) {
  metadata_.emplace_back(std::move(key), std::move(value));
  return *this;
}

CheckpointBuilder& CheckpointBuilder::tensor(std::string name, std::string dtype, std::vector<uint64_t> shape,
                                             const std::string& data) {
  const uint64_t begin = data_.size();
  data_ += data;
  tensors_.push_back({std::move(name), std::move(dtype), std::move(shape), begin, data_.size()});
  return *this;
}

CheckpointBuilder& CheckpointBuilder::float32(std::string name, std::vector<uint64_t> shape,
                                              std::span<const float> values) {
  std::string data(values.size_bytes(), '\0');
  if (!values.empty()) std::memcpy(data.data(), values.data(), values.size_bytes());
  return tensor(std::move(name), "F32", std::move(shape), data);
}

CheckpointBuilder& CheckpointBuilder::filled(std::string name, std::string dtype, std::vector<uint64_t> shape,
                                             uint64_t bytes) {
  unsigned next = 0;
  for (const char c : name) next = next * 31 + static_cast<unsigned char>(c);
  std::string data(bytes, '\0');
  for (char& byte : data) byte = static_cast<char>(next++ & 0xFF);
  return tensor(std::move(name), std::move(dtype), std::move(shape), data);
}

std::string CheckpointBuilder::header() const {
  std::vector<std::string> members;
  if (!metadata_.empty()) {
    std::vector<std::string> entries;
    for (const auto& [key, value] : metadata_) entries.push_back(member_json(key, json_string(value)));
    members.push_back(member_json("__metadata__", enclose('{', entries, '}')));
  }
  for (const Tensor& tensor : tensors_) {
    const std::vector<std::string> fields = {
        member_json("dtype", json_string(tensor.dtype)), member_json("shape", numbers_json(tensor.shape)),
        member_json("data_offsets", numbers_json(std::vector{tensor.begin, tensor.end}))};
    members.push_back(member_json(tensor.name, enclose('{', fields, '}')));
  }
  std::string header = enclose('{', members, '}');
  while (header.size() % 8 != 0) header.push_back(' ');
  return header;
}

std::string shard_index_json(std::span<const std::pair<std::string, std::string>> weight_map,
                             uint64_t total_size) {
  std::vector<std::string> entries;
  for (const auto& [tensor, file] : weight_map) entries.push_back(member_json(tensor, json_string(file)));
  const std::vector<std::string> metadata = {member_json("total_size", std::to_string(total_size))};
  const std::vector<std::string> members = {member_json("metadata", enclose('{', metadata, '}')),
                                            member_json("weight_map", enclose('{', entries, '}'))};
  return enclose('{', members, '}');
}

}  // namespace hfload::test
