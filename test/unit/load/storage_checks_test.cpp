#include "core/load/storage_checks.h"

#include <catch2/catch.hpp>

namespace hfload::test {
namespace {

TEST_CASE("a storage is checked once, however many tensors lie in it") {
  Checkpoint checkpoint;
  LoadPlan plan;
  const auto add = [&](uint32_t shard, uint64_t begin, uint64_t end, std::optional<uint32_t> crc) {
    CheckpointTensor tensor;
    tensor.name = "t" + std::to_string(checkpoint.tensors.size());
    tensor.shard = shard;
    tensor.view = StorageView{.storage_begin = begin, .storage_end = end, .storage_crc = crc};
    TensorPlacement placement;
    placement.checkpoint = static_cast<uint32_t>(checkpoint.tensors.size());
    checkpoint.tensors.push_back(tensor);
    plan.placements.push_back(placement);
  };
  add(1, 0, 100, 7);
  add(0, 500, 900, 8);
  add(0, 100, 500, 9);
  add(0, 500, 900, 8);
  add(0, 900, 1000, std::nullopt);  // as in the legacy layout
  add(1, 0, 100, 7);
  add(0, 100, 500, 9);
  const std::vector<StorageCheck> storages = find_storage_checks(plan, checkpoint);
  REQUIRE(storages.size() == 3);
  const auto is = [&](size_t i, uint32_t shard, uint64_t begin, uint64_t bytes, uint32_t crc) {
    const StorageCheck& s = storages[i];
    return s.shard == shard && s.begin == begin && s.bytes == bytes && s.crc == crc;
  };
  CHECK(is(0, 0, 100, 400, 9));
  CHECK(is(1, 0, 500, 400, 8));
  CHECK(is(2, 1, 0, 100, 7));
  CHECK(storages[1].tensor == 1);
}

}  // namespace
}  // namespace hfload::test
