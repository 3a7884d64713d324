#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/text_sink.h"

namespace hfload {

/// The Hub library's default for the most bytes of a shard.
inline constexpr uint64_t kDefaultMaxShardBytes = 5'000'000'000;

/// What the split needs to know of a tensor.
struct SplitTensor {
  uint64_t bytes = 0;
  /// Tensors of one storage stay together and count once, at their first.
  std::optional<uint64_t> storage = std::nullopt;
};

/// One file of a split.
struct SplitFile {
  std::string name;
  std::vector<uint32_t> tensors;  ///< indices of the tensors that were given, in the order of the state dict
};

struct ShardSplit {
  std::vector<SplitFile> files;
  uint64_t total_size_bytes = 0;  ///< of the tensors, each storage once

  bool sharded() const { return files.size() > 1; }
};

/// Divides the tensors of a state dict, in its order, as huggingface_hub's
/// `split_state_dict_into_shards_factory` does: a tensor above the limit is alone, a new shard begins where
/// the next tensor would exceed it, tensors of one storage go with their first. Shards are called
/// `STEM-00001-of-0000N.EXTENSION`, a single one `STEM.EXTENSION`; `file_name` is "model.safetensors". No
/// tensors give one file without any.
ShardSplit split_into_shards(std::span<const SplitTensor> tensors, uint64_t max_shard_bytes,
                             std::string_view file_name);

/// True for `STEM-00001-of-00002.EXTENSION` of `STEM.EXTENSION`.
bool is_shard_name(std::string_view name, std::string_view file_name);

/// Writes the text of `STEM.EXTENSION.index.json`, as `save_pretrained` does (Python's json.dumps with an
/// indent of 2 and sorted keys, and a line feed). `name_of` gives the name of a tensor by its index.
/// `total_parameters` is written by transformers and not by the Hub library.
void write_shard_index(const ShardSplit& split, const std::function<std::string_view(uint32_t)>& name_of,
                       std::optional<uint64_t> total_parameters, const TextSink& sink);

/// A JSON string with its quotes as Python's json.dumps writes it: everything but printable ASCII escaped.
/// `text` is valid UTF-8.
std::string python_json_string(std::string_view text);

}  // namespace hfload
