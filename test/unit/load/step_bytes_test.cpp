#include "core/load/step_bytes.h"

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

TEST_CASE("the buffers of all workers stay within 12 MiB, and are no smaller than they must be") {
  for (unsigned workers = 1; workers <= 256; ++workers) {
    for (const unsigned factor : {3U, 5U}) {
      const uint64_t bytes = step_bytes(workers, factor);
      CHECK(bytes % 4096 == 0);
      CHECK(bytes >= 4096);
      CHECK(workers * factor * bytes <= 12'582'912);
      CHECK((bytes == 1'048'576 || workers * factor * (bytes + 4096) > 12'582'912));
    }
  }
  CHECK(step_bytes(1, 3) == 1'048'576);
  CHECK(step_bytes(16, 3) == 262'144);
  CHECK(step_bytes(0, 3) == 1'048'576);
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
