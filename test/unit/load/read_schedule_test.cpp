#include "core/load/read_schedule.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "core/base/error.h"
#include "test/unit/load/synthetic_model.h"

namespace hfload::test {
namespace {

/// Hosts for the CPU, slots of 1 MiB for GPUs.
std::vector<ArenaAccess> access_for(const LoadPlan& plan) {
  std::vector<ArenaAccess> access;
  for (const Arena& arena : plan.arenas) {
    access.push_back(arena.device.is_gpu()
                         ? ArenaAccess{.host = false, .buffer_bytes = 1 << 20}
                         : ArenaAccess{.host = true, .buffer_bytes = kHostBufferBytes, .by_windows = true});
  }
  return access;
}

ReadSchedule schedule_of(const SyntheticModel& model) {
  return make_read_schedule(model.plan, model.checkpoint, access_for(model.plan));
}

/// Carries a schedule out as plainly as possible: one memcpy or scalar cast after the other.
std::vector<std::vector<std::byte>> carry_out(const SyntheticModel& model, const ReadSchedule& schedule) {
  std::vector<std::vector<std::byte>> arenas;
  for (const Arena& arena : model.plan.arenas) arenas.emplace_back(arena.bytes);
  for (const ReadChunk& chunk : schedule.chunks) {
    for (uint32_t i = 0; i < chunk.upload_count; ++i) {
      const Upload& upload = schedule.uploads.at(chunk.first_upload + i);
      REQUIRE(upload.slot_offset + upload.file_bytes <= chunk.file_bytes);
      REQUIRE(upload.file_bytes % cast_source_bytes(upload.cast) == 0);
      REQUIRE(upload.arena_offset + upload_target_bytes(upload) <= arenas[chunk.arena].size());
      const std::byte* const source =
          model.contents(chunk.shard).data() + chunk.file_offset + upload.slot_offset;
      cast_reference(upload.cast, source, arenas[chunk.arena].data() + upload.arena_offset,
                     upload.file_bytes / cast_source_bytes(upload.cast));
    }
  }
  return arenas;
}

TEST_CASE("a schedule brings every tensor to its place") {
  for (const uint64_t alignment : {256, 1}) {
    const SyntheticModel model(mixed_tensors(), alignment);
    const ReadSchedule schedule = schedule_of(model);
    const auto arenas = carry_out(model, schedule);
    for (const TensorPlacement& placement : model.plan.placements) {
      if (placement.device.kind == Device::Kind::disk) continue;
      for (size_t i = 0; i < arenas.size(); ++i) {
        if (model.plan.arenas[i].device != placement.device) continue;
        const std::vector<std::byte> expected = model.expected(placement);
        const std::span loaded = std::span(arenas[i]).subspan(placement.arena_offset, expected.size());
        CHECK(std::equal(loaded.begin(), loaded.end(), expected.begin()));
      }
    }
    uint64_t bytes = 0;
    for (const Upload& upload : schedule.uploads) bytes += upload.file_bytes;
    CHECK(bytes == model.plan.copied_file_bytes);
  }
}

TEST_CASE("chunks stay within their limits, and those of one device in file order") {
  const SyntheticModel model(mixed_tensors());
  const ReadSchedule schedule = schedule_of(model);
  const std::vector<ArenaAccess> access = access_for(model.plan);
  CHECK(std::ranges::is_sorted(schedule.chunks, {}, &ReadChunk::shard));
  std::map<uint32_t, std::pair<uint32_t, uint64_t>> ends;
  std::set<uint64_t> first_uploads;
  uint64_t uploads = 0;
  for (const ReadChunk& chunk : schedule.chunks) {
    CHECK(chunk.file_bytes > 0);
    CHECK(chunk.file_bytes <=
          (access[chunk.arena].by_windows ? kChunkBytes : access[chunk.arena].buffer_bytes));
    auto& end = ends[chunk.arena];
    CHECK(std::pair(chunk.shard, chunk.file_offset) >= end);
    end = {chunk.shard, chunk.file_offset + chunk.file_bytes};
    CHECK(first_uploads.insert(chunk.first_upload).second);
    uploads += chunk.upload_count;
    if (chunk.direct) {
      CHECK(access[chunk.arena].host);
      CHECK(chunk.upload_count == 1);
      CHECK(schedule.uploads[chunk.first_upload].cast == CastKind::none);
    }
  }
  CHECK(uploads == schedule.uploads.size());
}

TEST_CASE("small tensors share reads") {
  // 20,000 tensors of 1000 bytes, apart in the arena: padding keeps them from being one run.
  const SyntheticModel model(
      std::vector<SyntheticTensor>(20'000, {.device = Device::cpu(), .elements = 1000}));
  const ReadSchedule schedule = schedule_of(model);
  CHECK(schedule.uploads.size() >= 20'000);
  CHECK(schedule.chunks.size() == (20'000'000 + kChunkBytes - 1) / kChunkBytes);
}

TEST_CASE("tensors that are neighbours in file and arena become one run") {
  const SyntheticModel model(
      std::vector<SyntheticTensor>(20'000, {.device = Device::cpu(), .elements = 1024}));
  const ReadSchedule schedule = schedule_of(model);
  CHECK(schedule.chunks.size() == (20'000 * 1024 + kChunkBytes - 1) / kChunkBytes);
  CHECK(schedule.uploads.size() == schedule.chunks.size());
  CHECK(schedule.chunks.front().direct);
}

TEST_CASE("a gap is read along up to its limit") {
  for (const uint64_t gap : {kMaxGapBytes, kMaxGapBytes + 1}) {
    const SyntheticModel model({{.device = Device::cpu(), .elements = 100},
                                {.device = Device::cpu(), .elements = 100, .gap_before = gap}});
    CHECK(schedule_of(model).chunks.size() == (gap == kMaxGapBytes ? 1 : 2));
  }
}

TEST_CASE("a chunk never spans shards or devices") {
  // The second shard's tensor lies just behind where the first shard's one ends.
  const SyntheticModel model({{.device = Device::cpu(), .elements = 100, .shard = 0},
                              {.device = Device::gpu(0), .elements = 100, .shard = 0},
                              {.device = Device::gpu(1), .elements = 100, .shard = 0},
                              {.device = Device::gpu(1), .elements = 100, .shard = 1, .gap_before = 400}});
  CHECK(schedule_of(model).chunks.size() == 4);
}

TEST_CASE("elements never straddle chunks") {
  const SyntheticModel model(
      {{.device = Device::cpu(), .elements = 3},  // moves what follows off its alignment
       {.device = Device::cpu(),
        .elements = 1'000'000,
        .file_dtype = Dtype::f32,
        .memory_dtype = Dtype::f16}});
  const ReadSchedule schedule =
      make_read_schedule(model.plan, model.checkpoint, access_for(model.plan), 300'001);
  REQUIRE(schedule.chunks.size() > 10);
  for (const Upload& upload : schedule.uploads) {
    if (upload.cast != CastKind::none) CHECK(upload.file_bytes % 4 == 0);
  }
}

/// One tensor of so many elements on the CPU, of which only the plan is used: there are no such bytes.
struct OneTensor : SyntheticModel {
  OneTensor(uint64_t elements, Dtype file_dtype, Dtype memory_dtype)
      : SyntheticModel({{.device = Device::cpu(), .elements = 700},  // its end is no huge page's
                        {.device = Device::cpu(),
                         .elements = 1,
                         .file_dtype = file_dtype,
                         .memory_dtype = memory_dtype}}) {
    const uint64_t file_bytes = elements * dtype_info(file_dtype).bits / 8;
    CheckpointTensor& tensor = checkpoint.tensors[1];
    tensor.shape = {elements};
    tensor.end = tensor.begin + file_bytes;
    TensorPlacement& placement = plan.placements[1];
    placement.bytes = elements * dtype_info(memory_dtype).bits / 8;
    plan.arenas[0].bytes = placement.arena_offset + placement.bytes;
    plan.copies[1].file_bytes = file_bytes;
  }
};

TEST_CASE("the schedule of 140 GB that are converted takes little memory") {
  const OneTensor model(70'000'000'000, Dtype::bf16, Dtype::f32);
  const ReadSchedule schedule = schedule_of(model);
  CHECK(schedule.chunks.capacity() * sizeof(ReadChunk) + schedule.uploads.capacity() * sizeof(Upload) <=
        8'000'000);
}

TEST_CASE("chunks that are converted in the host's memory meet at huge pages, and are large") {
  for (const auto& [from, to] :
       {std::pair{Dtype::bf16, Dtype::f32}, {Dtype::f32, Dtype::bf16}, {Dtype::f16, Dtype::bf16}}) {
    const OneTensor model(50'000'000, from, to);
    for (const uint64_t chunk_bytes : {kChunkBytes, uint64_t{16} << 20}) {
      const ReadSchedule schedule =
          make_read_schedule(model.plan, model.checkpoint, access_for(model.plan), chunk_bytes);
      uint64_t met = model.plan.placements[1].arena_offset;
      uint64_t largest = 0;
      for (const Upload& upload : schedule.uploads) {
        if (upload.cast == CastKind::none) continue;
        CHECK(upload.arena_offset == met);
        met += upload_target_bytes(upload);
        if (met != model.plan.arenas[0].bytes) CHECK(met % (2 << 20) == 0);
        CHECK(upload.file_bytes <= chunk_bytes);
        largest = std::max(largest, upload.file_bytes);
      }
      CHECK(met == model.plan.arenas[0].bytes);
      CHECK(largest == chunk_bytes);
    }
  }
}

/// A shard whose first bytes belong to one device and the last to another, as a contiguous device map makes
/// it.
std::vector<SyntheticTensor> divided_shard(Device first, Device second) {
  return {{.device = first, .elements = 30'000'000}, {.device = second, .elements = 10'000'000}};
}

TEST_CASE("devices that one shard fills by rings get their bytes at the same pace, each in file order") {
  std::vector<SyntheticTensor> tensors = divided_shard(Device::gpu(0), Device::gpu(1));
  tensors.push_back({.device = Device::cpu(), .elements = 20'000'000});
  tensors.push_back({.device = Device::gpu(1), .elements = 5'000'000, .shard = 1});
  const SyntheticModel model(tensors);
  const ReadSchedule schedule = schedule_of(model);
  CHECK(std::ranges::is_sorted(schedule.chunks, {}, &ReadChunk::shard));
  const double totals[] = {30e6, 10e6, 20e6};  // of the arenas in the first shard, GPUs first
  double done[] = {0, 0, 0};
  std::vector<uint64_t> next(3);
  for (const ReadChunk& chunk : schedule.chunks) {
    if (chunk.shard != 0) continue;
    CHECK(chunk.file_offset >= next[chunk.arena]);
    next[chunk.arena] = chunk.file_offset + chunk.file_bytes;
    done[chunk.arena] += static_cast<double>(chunk.file_bytes);
    for (const size_t i : {0, 1, 2}) {
      // No more than a chunk ahead of the others.
      CHECK(done[i] / totals[i] <=
            done[chunk.arena] / totals[chunk.arena] + static_cast<double>(kChunkBytes) / totals[i]);
    }
  }
  for (const size_t i : {0, 1, 2}) CHECK(done[i] == totals[i]);
}

TEST_CASE("where no two devices wait for their rings, all is read in file order") {
  for (const auto& [first, second] : {std::pair{Device::gpu(0), Device::gpu(0)},
                                      {Device::gpu(0), Device::cpu()},
                                      {Device::cpu(), Device::gpu(0)}}) {
    const ReadSchedule schedule = schedule_of(SyntheticModel(divided_shard(first, second)));
    CHECK(std::ranges::is_sorted(schedule.chunks, {}, &ReadChunk::file_offset));
  }
}

TEST_CASE("a copy may bring a part of a tensor") {
  SyntheticModel model(
      {{.device = Device::cpu(), .elements = 1000, .file_dtype = Dtype::bf16, .memory_dtype = Dtype::f32}});
  const CopyOperation whole = model.plan.copies.front();
  model.plan.copies = {{whole.shard, 0, whole.file_offset, 600},
                       {whole.shard, 0, whole.file_offset + 600, 1400}};
  const auto arenas = carry_out(model, schedule_of(model));
  CHECK(arenas[0] == model.expected(model.plan.placements[0]));
}

TEST_CASE("a plan that leaves its arenas is refused") {
  const auto code_of = [](const SyntheticModel& model) {
    try {
      schedule_of(model);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::does_not_fit;
  };
  const std::vector<SyntheticTensor> tensors{{.device = Device::cpu(), .elements = 1000},
                                             {.device = Device::cpu(), .elements = 1000}};
  SyntheticModel shrunk(tensors);
  shrunk.plan.arenas[0].bytes -= 1;
  CHECK(code_of(shrunk) == ErrorCode::internal);
  SyntheticModel overflowing(tensors);
  overflowing.plan.placements[0].arena_offset = UINT64_MAX - 10;
  CHECK(code_of(overflowing) == ErrorCode::internal);
  SyntheticModel too_long(tensors);
  too_long.plan.copies[0].file_bytes += 1;
  CHECK(code_of(too_long) == ErrorCode::internal);
  SyntheticModel partial(tensors);
  partial.plan.copies = {{0, 1, partial.plan.copies[1].file_offset + 500, 500}};
  partial.plan.arenas[0].bytes -= 1;
  CHECK(code_of(partial) == ErrorCode::internal);
  SyntheticModel elsewhere(tensors);
  elsewhere.plan.placements[0].device = Device::gpu(3);
  CHECK(code_of(elsewhere) == ErrorCode::internal);
}

TEST_CASE("conversions exist among float32, float16 and bfloat16 only") {
  CHECK(cast_between(Dtype::i64, Dtype::i64) == CastKind::none);
  CHECK(cast_between(Dtype::f8_e4m3, Dtype::f8_e4m3) == CastKind::none);
  CHECK(cast_between(Dtype::f32, Dtype::f16) == CastKind::f32_to_f16);
  CHECK(cast_between(Dtype::f32, Dtype::bf16) == CastKind::f32_to_bf16);
  CHECK(cast_between(Dtype::f16, Dtype::f32) == CastKind::f16_to_f32);
  CHECK(cast_between(Dtype::f16, Dtype::bf16) == CastKind::f16_to_bf16);
  CHECK(cast_between(Dtype::bf16, Dtype::f32) == CastKind::bf16_to_f32);
  CHECK(cast_between(Dtype::bf16, Dtype::f16) == CastKind::bf16_to_f16);
  CHECK_THROWS_AS(cast_between(Dtype::f64, Dtype::f32), Error);
  CHECK_THROWS_AS(cast_between(Dtype::i32, Dtype::f32), Error);
}

}  // namespace
}  // namespace hfload::test
