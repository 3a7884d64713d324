#include "core/load/backend.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <cstring>
#include <random>
#include <vector>

#include "core/base/error.h"
#include "core/base/workers.h"
#include "core/load/host_memory.h"
#include "test/unit/kernels/cast_oracle.h"

namespace hfload::test {
namespace {

std::vector<std::byte> random_bytes(size_t bytes) {
  std::mt19937 random(5);
  std::vector<std::byte> data(bytes);
  for (std::byte& byte : data) byte = static_cast<std::byte>(random());
  return data;
}

TEST_CASE("host memory is zero, aligned to huge pages, and may be of any size") {
  for (const uint64_t bytes : {uint64_t{1}, uint64_t{4096}, uint64_t{3} << 20, (uint64_t{2} << 20) + 1}) {
    const HostMemory memory(bytes);
    CHECK(memory.bytes().size() == bytes);
    CHECK(reinterpret_cast<uintptr_t>(memory.bytes().data()) % (2 << 20) == 0);
    CHECK(memory.bytes().front() == std::byte{0});
    memory.bytes().back() = std::byte{1};
  }
  CHECK(HostMemory(0).bytes().empty());
  HostMemory first(100);
  const std::byte* const data = first.bytes().data();
  HostMemory second(std::move(first));
  CHECK(second.bytes().data() == data);
}

TEST_CASE("memory that the system refuses is an out_of_memory error") {
  for (const uint64_t bytes : {uint64_t{1} << 60, UINT64_MAX - 5}) {
    try {
      const HostMemory memory(bytes);
      FAIL("the allocation was granted");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::out_of_memory);
      CHECK_THAT(error.message(), Catch::Contains(std::to_string(bytes)));
    }
  }
}

TEST_CASE("the host backend gives its arena to the readers") {
  const auto backend = make_host_backend();
  backend->allocate(10'000);
  CHECK(backend->device() == Device::cpu());
  CHECK(backend->upload_queue() == nullptr);
  const std::vector<std::byte> data = random_bytes(10'000);
  std::memcpy(backend->host_arena().data(), data.data(), data.size());
  std::vector<std::byte> back(9000);
  backend->read_back(1000, back);
  CHECK(std::equal(back.begin(), back.end(), data.begin() + 1000));
}

TEST_CASE("an emulated GPU is filled through its queue only") {
  const auto backend = make_emulated_gpu_backend(2, 20 << 20);
  backend->allocate(20 << 20);
  CHECK(backend->device() == Device::gpu(2));
  CHECK(backend->host_arena().empty());
  UploadQueue& queue = *backend->upload_queue();
  const std::vector<std::byte> data = random_bytes(20 << 20);
  std::atomic<uint64_t> next{0};
  run_workers(4, [&](unsigned) {
    const uint64_t piece = queue.slot_bytes() - 3;
    while (true) {
      const uint64_t offset = next.fetch_add(piece);
      if (offset >= data.size()) return;
      const uint64_t bytes = std::min<uint64_t>(piece, data.size() - offset);
      const StagingSlot slot = queue.acquire();
      std::memcpy(slot.bytes.data() + 1, &data[offset], bytes);
      const uint64_t half = bytes / 2;
      const Upload uploads[] = {{1, half, offset}, {1 + half, bytes - half, offset + half}};
      queue.submit(slot, uploads);
    }
  });
  queue.synchronize();
  std::vector<std::byte> back(data.size());
  backend->read_back(0, back);
  CHECK((back == data));
}

TEST_CASE("an emulated GPU casts what it is sent") {
  for (const CastKind kind : kCastKinds) {
    std::vector<uint32_t> patterns = source_patterns(kind);
    patterns.resize(60'000);
    const std::vector<std::byte> source = pack_elements(patterns, cast_source_bytes(kind));
    std::vector<std::byte> expected(patterns.size() * cast_target_bytes(kind));
    cast_reference(kind, source.data(), expected.data(), patterns.size());
    const auto backend = make_emulated_gpu_backend(0, 1 << 20);
    backend->allocate(expected.size() + 512);
    const StagingSlot slot = backend->upload_queue()->acquire();
    std::memcpy(slot.bytes.data(), source.data(), source.size());
    const Upload upload{0, source.size(), 256, kind};
    CHECK(upload_target_bytes(upload) == expected.size());
    backend->upload_queue()->submit(slot, {&upload, 1});
    backend->upload_queue()->synchronize();
    std::vector<std::byte> back(expected.size() + 512);
    backend->read_back(0, back);
    CHECK(std::equal(expected.begin(), expected.end(), back.begin() + 256));
    CHECK(std::all_of(back.begin(), back.begin() + 256, [](std::byte byte) { return byte == std::byte{0}; }));
    CHECK(std::all_of(back.end() - 256, back.end(), [](std::byte byte) { return byte == std::byte{0}; }));
  }
}

TEST_CASE("an emulated GPU is held to its budget") {
  make_emulated_gpu_backend(0, 1000)->allocate(1000);
  try {
    make_emulated_gpu_backend(1, 1000)->allocate(1001);
    FAIL("more than the budget was granted");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::out_of_memory);
    CHECK(error.exit_status() == 9);
    CHECK_THAT(error.message(),
               Catch::Contains("GPU 1") && Catch::Contains("1000 bytes") && Catch::Contains("1001 bytes"));
    CHECK_FALSE(error.hint().empty());
  }
}

TEST_CASE("a backend may be destroyed with copies under way") {
  const auto backend = make_emulated_gpu_backend(0, 4 << 20);
  backend->allocate(4 << 20);
  for (int i = 0; i < 4; ++i) {
    const Upload upload{0, 1 << 20, static_cast<uint64_t>(i) << 20};
    backend->upload_queue()->submit(backend->upload_queue()->acquire(), {&upload, 1});
  }
}

}  // namespace
}  // namespace hfload::test
