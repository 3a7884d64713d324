#include "core/run/openblas.h"

#include <dlfcn.h>

#include <cstring>
#include <limits>

namespace hfload {
namespace {

// Of the CBLAS interface.
constexpr int kRowMajor = 101, kNoTranspose = 111, kTranspose = 112;

}  // namespace

OpenBlas::OpenBlas(unsigned threads) {
  void* const handle = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    description_ = "no OpenBLAS: libopenblas.so.0 is not installed, so there is nothing to compare with";
    return;
  }
  void (*set_threads)(int) = nullptr;
  char* (*get_config)() = nullptr;
  const auto find = [&](const char* name, auto& function) {
    void* const address = dlsym(handle, name);
    std::memcpy(&function, &address, sizeof(address));
  };
  find("cblas_sgemm", sgemm_);
  find("openblas_set_num_threads", set_threads);
  find("openblas_get_config", get_config);
  if (sgemm_ == nullptr || set_threads == nullptr || get_config == nullptr) {
    sgemm_ = nullptr;
    description_ = "no OpenBLAS: the library lacks a function";
    return;
  }
  set_threads(static_cast<int>(threads));
  description_ = get_config();
}

bool OpenBlas::multiply(const Gemm& gemm) const {
  constexpr int64_t kMost = std::numeric_limits<int>::max();
  if (!available() || gemm.dtype != GemmDtype::f32) return false;
  for (const int64_t size : {gemm.m, gemm.n, gemm.k, gemm.a.ld, gemm.b.ld, gemm.c.ld}) {
    if (size > kMost) return false;
  }
  sgemm_(kRowMajor, kNoTranspose, kTranspose, static_cast<int>(gemm.m), static_cast<int>(gemm.n),
         static_cast<int>(gemm.k), gemm.alpha, static_cast<const float*>(gemm.a.data),
         static_cast<int>(gemm.a.ld), static_cast<const float*>(gemm.b.data), static_cast<int>(gemm.b.ld),
         gemm.beta, static_cast<float*>(gemm.c.data), static_cast<int>(gemm.c.ld));
  return true;
}

}  // namespace hfload
