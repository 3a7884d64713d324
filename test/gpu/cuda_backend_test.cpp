#include <atomic>
#include <catch2/catch.hpp>
#include <cstring>
#include <random>

#include "core/base/error.h"
#include "core/base/workers.h"
#include "core/load/backend.h"
#include "core/load/query_devices.h"
#include "test/unit/kernels/cast_oracle.h"

namespace hfload::test {
namespace {

std::vector<std::byte> random_bytes(size_t bytes) {
  std::mt19937_64 random(5);
  std::vector<std::byte> data(bytes);
  for (size_t at = 0; at + 8 <= bytes; at += 8) {
    const uint64_t word = random();
    std::memcpy(&data[at], &word, 8);
  }
  return data;
}

/// Sends `data` to the start of the arena by several threads, in pieces of `piece` bytes.
void send(UploadQueue& queue, const std::vector<std::byte>& data, uint64_t piece, unsigned threads) {
  std::atomic<uint64_t> next{0};
  run_workers(threads, [&](unsigned) {
    while (true) {
      const uint64_t offset = next.fetch_add(piece);
      if (offset >= data.size()) return;
      const uint64_t bytes = std::min<uint64_t>(piece, data.size() - offset);
      const StagingSlot slot = queue.acquire();
      std::memset(slot.bytes.data(), 0xee, slot.bytes.size());
      std::memcpy(slot.bytes.data(), &data[offset], bytes);
      const Upload upload{0, bytes, offset};
      queue.submit(slot, {&upload, 1});
    }
  });
  queue.synchronize();
}

TEST_CASE("bytes reach every GPU and come back") {
  for (int ordinal = 0; ordinal < cuda_status().devices; ++ordinal) {
    const auto backend = make_cuda_backend(static_cast<uint32_t>(ordinal));
    CHECK(backend->device() == Device::gpu(static_cast<uint32_t>(ordinal)));
    CHECK(backend->host_arena().empty());
    const std::vector<std::byte> data = random_bytes((200 << 20) + 8);
    backend->allocate(data.size());
    const uint64_t slot = backend->upload_queue()->slot_bytes();
    for (const uint64_t piece : {slot, slot - 3, uint64_t{100'003}}) {
      send(*backend->upload_queue(), data, piece, 4);
      std::vector<std::byte> back(data.size());
      backend->read_back(0, back);
      CHECK((back == data));
    }
    std::vector<std::byte> part(1001);
    backend->read_back(12'345, part);
    CHECK(std::equal(part.begin(), part.end(), data.begin() + 12'345));
  }
}

TEST_CASE("casts and plain copies of one slot arrive, also from odd offsets") {
  for (const CastKind kind : kCastKinds) {
    std::vector<uint32_t> patterns = source_patterns(kind);
    patterns.resize(65'536);
    const std::vector<std::byte> source = pack_elements(patterns, cast_source_bytes(kind));
    std::vector<std::byte> converted(patterns.size() * cast_target_bytes(kind));
    cast_reference(kind, source.data(), converted.data(), patterns.size());
    const auto backend = make_cuda_backend(0);
    backend->allocate(3 << 20);
    UploadQueue& queue = *backend->upload_queue();
    // Many rounds, so that scratch and slots are reused while copies are under way.
    for (uint64_t round = 0; round < 40; ++round) {
      const uint64_t shift = round % 7;
      const StagingSlot slot = queue.acquire();
      std::memcpy(slot.bytes.data() + shift, source.data(), source.size());
      const uint64_t target = (1 << 20) + round % 5 * cast_target_bytes(kind);
      const Upload uploads[] = {{shift, source.size(), 0}, {shift, source.size(), target, kind}};
      queue.submit(slot, uploads);
      queue.synchronize();
      std::vector<std::byte> plain(source.size());
      std::vector<std::byte> cast_bytes(converted.size());
      backend->read_back(0, plain);
      backend->read_back(target, cast_bytes);
      REQUIRE((plain == source));
      REQUIRE((cast_bytes == converted));
    }
  }
}

TEST_CASE("more memory than a GPU has is an out_of_memory error, and the GPU is usable afterwards") {
  const auto backend = make_cuda_backend(0);
  try {
    backend->allocate(uint64_t{1} << 50);
    FAIL("the allocation was granted");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::out_of_memory);
    CHECK_THAT(error.message(),
               Catch::Contains("GPU 0") && Catch::Contains(std::to_string(uint64_t{1} << 50)));
  }
  const auto next = make_cuda_backend(0);
  const std::vector<std::byte> data = random_bytes(1 << 20);
  next->allocate(data.size());
  send(*next->upload_queue(), data, data.size(), 1);
}

TEST_CASE("a backend gives its memory back") {
  const auto free_bytes = [] { return query_max_memory().front().bytes; };
  const double before = free_bytes();
  for (int i = 0; i < 3; ++i) {
    const auto backend = make_cuda_backend(0);
    backend->allocate(256 << 20);
    CHECK(free_bytes() < before);
    // Destroyed with a copy under way.
    const Upload upload{0, 4 << 20, 0};
    backend->upload_queue()->submit(backend->upload_queue()->acquire(), {&upload, 1});
  }
  CHECK(free_bytes() >= before - (8 << 20));
}

}  // namespace
}  // namespace hfload::test
