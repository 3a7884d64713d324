#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hfload::test {

/// The bytes of a safetensors file: length prefix, header and data as given, whatever they are.
std::string safetensors_bytes(std::string_view header, std::string_view data = {});
/// The same with a length prefix of one's own.
std::string safetensors_bytes(uint64_t declared_header_bytes, std::string_view header, std::string_view data);
/// A JSON string of the text, quotes included.
std::string json_string(std::string_view text);

/// Writes a valid safetensors file, tensors in the order they were added, one after the other from offset 0.
class CheckpointBuilder {
 public:
  CheckpointBuilder& metadata(std::string key, std::string value);
  /// `dtype` is the name in the header ("BF16"); `data` are the tensor's bytes.
  CheckpointBuilder& tensor(std::string name, std::string dtype, std::vector<uint64_t> shape,
                            const std::string& data);
  /// A float32 tensor of these values.
  CheckpointBuilder& float32(std::string name, std::vector<uint64_t> shape, std::span<const float> values);
  /// A tensor of `bytes` bytes that count up from a number drawn from its name.
  CheckpointBuilder& filled(std::string name, std::string dtype, std::vector<uint64_t> shape, uint64_t bytes);

  std::string header() const;
  const std::string& data() const { return data_; }
  std::string bytes() const { return safetensors_bytes(header(), data_); }

 private:
  struct Tensor {
    std::string name, dtype;
    std::vector<uint64_t> shape;
    uint64_t begin, end;
  };
  std::vector<std::pair<std::string, std::string>> metadata_;
  std::vector<Tensor> tensors_;
  std::string data_;
};

/// A shard index of these (tensor, file) pairs.
std::string shard_index_json(std::span<const std::pair<std::string, std::string>> weight_map,
                             uint64_t total_size);

}  // namespace hfload::test
