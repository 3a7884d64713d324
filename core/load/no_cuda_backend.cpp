#include <string>

#include "core/base/error.h"
#include "core/load/backend.h"
#include "core/load/cuda_devices.h"
#include "core/load/query_devices.h"

namespace hfload {

CudaStatus cuda_status() {
  return {.built_in = false, .devices = 0, .reason = "this hfload was built without CUDA"};
}

std::optional<uint64_t> free_cuda_bytes(int /*ordinal*/) { return std::nullopt; }

std::unique_ptr<Backend> make_cuda_backend(uint32_t ordinal, std::shared_ptr<GdsLibrary> /*gds*/,
                                           RingSize /*ring*/) {
  throw Error(ErrorCode::no_cuda,
              "GPU " + std::to_string(ordinal) + " cannot be used: this hfload was built without CUDA")
      .with_hint(
          "Build with the CUDA Toolkit installed, place the model on cpu or disk, or try --emulate-gpus.");
}

}  // namespace hfload
