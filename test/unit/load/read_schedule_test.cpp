#include "core/load/read_schedule.h"

#include <catch2/catch.hpp>

#include "core/base/error.h"
#include "test/unit/load/synthetic_model.h"

namespace hfload::test {
namespace {

/// Hosts for the CPU, slots of 1 MiB for GPUs.
std::vector<ArenaAccess> access_for(const LoadPlan& plan) {
  std::vector<ArenaAccess> access;
  for (const Arena& arena : plan.arenas) {
    access.push_back(arena.device.is_gpu() ? ArenaAccess{.host = false, .buffer_bytes = 1 << 20}
                                           : ArenaAccess{.host = true, .buffer_bytes = kHostBufferBytes});
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

TEST_CASE("chunks stay within their limits and in file order") {
  const SyntheticModel model(mixed_tensors());
  const ReadSchedule schedule = schedule_of(model);
  const std::vector<ArenaAccess> access = access_for(model.plan);
  std::pair<uint32_t, uint64_t> end{0, 0};
  uint64_t uploads = 0;
  for (const ReadChunk& chunk : schedule.chunks) {
    CHECK(chunk.file_bytes > 0);
    CHECK(chunk.file_bytes <= (chunk.direct ? kChunkBytes : access[chunk.arena].buffer_bytes));
    CHECK(std::pair(chunk.shard, chunk.file_offset) >= end);
    end = {chunk.shard, chunk.file_offset + chunk.file_bytes};
    CHECK(chunk.first_upload == uploads);
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
  CHECK(schedule.chunks.size() == (20'000'000 + kHostBufferBytes - 1) / kHostBufferBytes);
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
  const ReadSchedule schedule = schedule_of(model);
  REQUIRE(schedule.chunks.size() > 10);
  for (const Upload& upload : schedule.uploads) {
    if (upload.cast != CastKind::none) CHECK(upload.file_bytes % 4 == 0);
  }
}

TEST_CASE("a copy may bring a part of a tensor") {
  SyntheticModel model(
      {{.device = Device::cpu(), .elements = 1000, .file_dtype = Dtype::bf16, .memory_dtype = Dtype::f32}});
  const CopyOperation whole = model.plan.copies.front();
  model.plan.copies = {{whole.shard, whole.file_offset, 600, 0},
                       {whole.shard, whole.file_offset + 600, 1400, 0}};
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
  partial.plan.copies = {{0, partial.plan.copies[1].file_offset + 500, 500, 1}};
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
