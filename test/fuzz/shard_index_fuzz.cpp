#include "core/format/shard_index.h"

#include <algorithm>
#include <filesystem>

#include "test/fuzz/check.h"

namespace hfload::fuzz {
namespace {

void check_index(std::string_view text) {
  const ShardIndex index = parse_shard_index(text);
  require(!index.weight_map.empty());
  require(std::is_sorted(index.shards.begin(), index.shards.end()));
  require(std::adjacent_find(index.shards.begin(), index.shards.end()) == index.shards.end());
  for (const WeightMapEntry& entry : index.weight_map) require(entry.shard < index.shards.size());
  for (const std::string& shard : index.shards) {
    const std::filesystem::path path(shard);
    require(path.is_relative() && path.lexically_normal() == path && *path.begin() != ".." &&
            path.has_filename());
    require(shard.find('\0') == std::string::npos);
  }
  require_json(text);
}

}  // namespace
}  // namespace hfload::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  hfload::fuzz::refusal_of([&] { hfload::fuzz::check_index(hfload::fuzz::as_text(data, size)); }, size);
  return 0;
}
