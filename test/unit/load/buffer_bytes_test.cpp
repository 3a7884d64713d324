#include "core/load/buffer_bytes.h"

#include <malloc.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <string>

#include "core/load/offload_folder.h"
#include "test/unit/load/synthetic_model.h"

namespace hfload::test {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kIsSanitized = true;
#elif defined(__has_feature)
constexpr bool kIsSanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
constexpr bool kIsSanitized = false;
#endif

TEST_CASE("a longer list of tensors leaves less for buffers, down to 4 MiB") {
  CHECK(buffer_bytes(0) == 20'971'520);
  CHECK(buffer_bytes(30'000) == 20'971'520);
  for (const uint64_t tensors : {40'000, 80'000, 120'000}) {
    CHECK(buffer_bytes(tensors) + 190 * tensors == 27'262'976);
  }
  for (const uint64_t tensors : {uint64_t{130'000}, uint64_t{10'000'000}, UINT64_MAX}) {
    CHECK(buffer_bytes(tensors) == 4'194'304);
  }
}

TEST_CASE("the buffers of all workers stay within what there is, and are no smaller than they must be") {
  for (const uint64_t tensors : {100, 60'000, 120'000, 1'000'000}) {
    const uint64_t all = buffer_bytes(tensors);
    for (unsigned workers = 1; workers <= 256; ++workers) {
      const uint64_t direct = direct_buffer_bytes(tensors, workers), window = window_bytes(tensors, workers);
      CHECK(direct >= workers * 65'536);
      CHECK(direct >= all / 5 * 4);
      CHECK((direct + workers * window <= all || direct == workers * 65'536));
      CHECK(window % 4096 == 0);
      CHECK((window == 262'144 || workers * (window + 4096) > all / 5));
      CHECK((window == 4'096 || workers * window <= all / 5));
      for (const unsigned factor : {3U, 5U}) {
        const uint64_t step = step_bytes(tensors, workers, factor);
        CHECK(step % 4096 == 0);
        CHECK((step == 4'096 || workers * factor * step <= all / 2));
        CHECK((step == 1'048'576 || workers * factor * (step + 4096) > all / 2));
      }
    }
  }
  CHECK(direct_buffer_bytes(100, 16) == 16'777'216);
  CHECK(window_bytes(100, 16) == 262'144);
  CHECK(window_bytes(100, 0) == 262'144);
  CHECK(step_bytes(100, 1, 3) == 1'048'576);
  CHECK(step_bytes(100, 16, 3) == 217'088);
  CHECK(step_bytes(100, 0, 3) == 1'048'576);
}

uint64_t status_bytes(std::string_view key) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(key)) return std::stoull(line.substr(key.size())) * 1024;
  }
  return 0;
}

/// By how much the memory of this process grows at most during a call, as the kernel counts it.
template <class Call>
uint64_t peak_growth(Call&& call) {
  malloc_trim(0);
  REQUIRE(std::ofstream("/proc/self/clear_refs") << "5" << std::flush);  // proc(5): resets VmHWM
  const uint64_t before = status_bytes("VmRSS:");
  call();
  return status_bytes("VmHWM:") - before;
}

TEST_CASE("16 threads that write, check and verify take no more memory than their buffers may") {
  if (kIsSanitized || !std::ofstream("/proc/self/clear_refs")) return;
  // What a worker makes of them is twice as large as they are in the shard.
  constexpr uint64_t kElements = 9 << 20, kAllowedBytes = 20 << 20;
  const LoadOptions options{.threads = 16};
  const TempDirectory directory;
  {
    SyntheticModel synthetic({{.device = Device::disk(),
                               .elements = kElements,
                               .file_dtype = Dtype::bf16,
                               .memory_dtype = Dtype::f32}});
    synthetic.tree.tensors[0].object = 0;
    const OffloadPlan plan =
        plan_offload(synthetic.plan, synthetic.tree, synthetic.checkpoint, directory / "folder");
    CHECK(peak_growth([&] { write_offload_folder(plan, synthetic.checkpoint, options); }) < kAllowedBytes);
    CHECK(peak_growth([&] { verify_offload_folder(plan, synthetic.checkpoint, options); }) < kAllowedBytes);
  }
  const SyntheticModel synthetic({{.device = Device::cpu(),
                                   .elements = kElements,
                                   .file_dtype = Dtype::bf16,
                                   .memory_dtype = Dtype::f32}});
  const LoadedModel model =
      execute(synthetic.plan, synthetic.checkpoint, emulated_devices(synthetic.plan), options);
  CHECK(peak_growth([&] { verify(model, synthetic.checkpoint, options); }) < kAllowedBytes);
}

}  // namespace
}  // namespace hfload::test
