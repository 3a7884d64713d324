#include "core/load/query_devices.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <string>

#include "core/base/error.h"
#include "core/load/backend.h"

namespace hfload::test {
namespace {

TEST_CASE("where no GPU can be used, a clause says why") {
  const CudaStatus status = cuda_status();
  CHECK(status.devices >= 0);
  if (!status.built_in) CHECK(status.devices == 0);
  if (status.devices == 0) {
    CHECK(status.reason.size() > 10);
    CHECK(status.reason.back() != '.');
    const bool begins_a_sentence = status.reason[0] >= 'A' && status.reason[0] <= 'Z';
    CHECK((!begins_a_sentence || status.reason.starts_with("CUDA ")));
  }
}

TEST_CASE("the CPU's memory is what /proc/meminfo calls available") {
  const MaxMemory memory = query_max_memory();
  REQUIRE(memory.size() == 1 + static_cast<size_t>(cuda_status().devices));
  CHECK(memory.back().device == Device::cpu());
  double expected = 0;
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("MemAvailable:")) expected = std::stod(line.substr(13)) * 1024;
  }
  REQUIRE(expected > 0);
  // Other processes come and go between the two looks.
  CHECK(memory.back().bytes == Approx(expected).epsilon(0.3));
  for (size_t i = 0; i + 1 < memory.size(); ++i) {
    CHECK(memory[i].device == Device::gpu(static_cast<uint32_t>(i)));
    CHECK(memory[i].bytes > 0);
  }
}

TEST_CASE("a GPU that does not exist is refused with a reason") {
  try {
    make_cuda_backend(4'000'000'000);
    FAIL("there is no such GPU");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::no_cuda);
    CHECK_THAT(error.message(), Catch::Contains("4000000000"));
    CHECK(error.hint().size() > 10);
  }
}

}  // namespace
}  // namespace hfload::test
