#include "core/run/cublas.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <fmt/core.h>

#include <cstring>
#include <initializer_list>
#include <vector>

namespace hfload {
namespace {

// Of NVIDIA's cublas_api.h, cublasLt.h and library_types.h, which need not be installed to build this.
constexpr int kOpN = 0, kOpT = 1;
constexpr int kTypeF32 = 0, kTypeF16 = 2, kTypeBf16 = 14;
constexpr int kComputeF32 = 68, kComputeF32Pedantic = 69;
constexpr int kGemmDefault = -1;
constexpr int kDescTransA = 3, kDescTransB = 4, kPreferenceWorkspace = 1;
constexpr size_t kWorkspaceBytes = 64 << 20;
constexpr int kMaxWays = 8;

struct LtAlgorithm {
  uint64_t data[8];
};
struct LtHeuristic {
  LtAlgorithm algorithm;
  size_t workspace_bytes;
  int state;
  float waves;
  int reserved[4];
};

int type_of(GemmDtype dtype) {
  return dtype == GemmDtype::f32 ? kTypeF32 : dtype == GemmDtype::f16 ? kTypeF16 : kTypeBf16;
}
int compute_of(GemmDtype dtype) { return dtype == GemmDtype::f32 ? kComputeF32Pedantic : kComputeF32; }

void* open_library(const char* name) {
  for (const char* version : {"13", "12"}) {
    for (const char* folder : {"", "/usr/local/cuda/lib64/"}) {
      if (void* handle =
              dlopen(fmt::format("{}{}.so.{}", folder, name, version).c_str(), RTLD_NOW | RTLD_GLOBAL)) {
        return handle;
      }
    }
  }
  return nullptr;
}

}  // namespace

struct Cublas::Library {
  int (*create)(void**) = nullptr;
  int (*destroy)(void*) = nullptr;
  int (*set_stream)(void*, CUstream_st*) = nullptr;
  int (*set_workspace)(void*, void*, size_t) = nullptr;
  int (*get_version)(void*, int*) = nullptr;
  int (*gemm_ex)(void*, int, int, int, int, int, const void*, const void*, int, int, const void*, int, int,
                 const void*, void*, int, int, int, int) = nullptr;
  int (*lt_create)(void**) = nullptr;
  int (*lt_destroy)(void*) = nullptr;
  int (*lt_desc_create)(void**, int, int) = nullptr;
  int (*lt_desc_destroy)(void*) = nullptr;
  int (*lt_desc_set)(void*, int, const void*, size_t) = nullptr;
  int (*lt_layout_create)(void**, int, uint64_t, uint64_t, int64_t) = nullptr;
  int (*lt_layout_destroy)(void*) = nullptr;
  int (*lt_preference_create)(void**) = nullptr;
  int (*lt_preference_destroy)(void*) = nullptr;
  int (*lt_preference_set)(void*, int, const void*, size_t) = nullptr;
  int (*lt_heuristic)(void*, void*, void*, void*, void*, void*, void*, int, LtHeuristic*, int*) = nullptr;
  int (*lt_matmul)(void*, void*, const void*, const void*, void*, const void*, void*, const void*,
                   const void*, void*, void*, void*, const LtAlgorithm*, void*, size_t,
                   CUstream_st*) = nullptr;

  CUstream_st* stream = nullptr;
  void* handle = nullptr;
  void* lt_handle = nullptr;
  void* workspace = nullptr;
  // One shape of cublasLt at a time.
  void* desc = nullptr;
  void* weight_layout = nullptr;
  void* input_layout = nullptr;
  void* output_layout = nullptr;
  std::vector<LtHeuristic> ways;

  ~Library() {
    forget_shape();
    if (lt_handle != nullptr) lt_destroy(lt_handle);
    if (handle != nullptr) destroy(handle);
    if (workspace != nullptr) cudaFree(workspace);
  }

  void forget_shape() {
    for (void** layout : {&weight_layout, &input_layout, &output_layout}) {
      if (*layout != nullptr) lt_layout_destroy(*layout);
      *layout = nullptr;
    }
    if (desc != nullptr) lt_desc_destroy(desc);
    desc = nullptr;
    ways.clear();
  }

  /// The name of a function that is not there; nullptr when all are.
  const char* resolve(void* blas, void* lt) {
    const char* missing = nullptr;
    const auto find = [&](void* from, const char* name, auto& function) {
      void* const address = dlsym(from, name);
      if (address == nullptr) missing = name;
      std::memcpy(&function, &address, sizeof(address));
    };
    find(blas, "cublasCreate_v2", create);
    find(blas, "cublasDestroy_v2", destroy);
    find(blas, "cublasSetStream_v2", set_stream);
    find(blas, "cublasSetWorkspace_v2", set_workspace);
    find(blas, "cublasGetVersion_v2", get_version);
    find(blas, "cublasGemmEx", gemm_ex);
    find(lt, "cublasLtCreate", lt_create);
    find(lt, "cublasLtDestroy", lt_destroy);
    find(lt, "cublasLtMatmulDescCreate", lt_desc_create);
    find(lt, "cublasLtMatmulDescDestroy", lt_desc_destroy);
    find(lt, "cublasLtMatmulDescSetAttribute", lt_desc_set);
    find(lt, "cublasLtMatrixLayoutCreate", lt_layout_create);
    find(lt, "cublasLtMatrixLayoutDestroy", lt_layout_destroy);
    find(lt, "cublasLtMatmulPreferenceCreate", lt_preference_create);
    find(lt, "cublasLtMatmulPreferenceDestroy", lt_preference_destroy);
    find(lt, "cublasLtMatmulPreferenceSetAttribute", lt_preference_set);
    find(lt, "cublasLtMatmulAlgoGetHeuristic", lt_heuristic);
    find(lt, "cublasLtMatmul", lt_matmul);
    return missing;
  }
};

Cublas::Cublas(CUstream_st* stream) {
  void* const lt = open_library("libcublasLt");
  void* const blas = lt == nullptr ? nullptr : open_library("libcublas");
  if (blas == nullptr) {
    description_ = "no cuBLAS: libcublas.so.13 or .12 is not installed, so there is nothing to compare with";
    return;
  }
  auto library = std::make_unique<Library>();
  if (const char* missing = library->resolve(blas, lt)) {
    description_ = fmt::format("no cuBLAS: the library has no {}", missing);
    return;
  }
  library->stream = stream;
  int version = 0;
  if (library->create(&library->handle) != 0 || library->lt_create(&library->lt_handle) != 0 ||
      cudaMalloc(&library->workspace, kWorkspaceBytes) != cudaSuccess ||
      library->set_stream(library->handle, stream) != 0 ||
      library->set_workspace(library->handle, library->workspace, kWorkspaceBytes) != 0 ||
      library->get_version(library->handle, &version) != 0) {
    description_ = "no cuBLAS: it cannot be initialised";
    return;
  }
  description_ = fmt::format("cuBLAS {}.{}.{}", version / 10000, version / 100 % 100, version % 100);
  library_ = std::move(library);
}

Cublas::~Cublas() = default;

bool Cublas::available() const { return library_ != nullptr; }

// Row-major C [m, n] is column-major [n, m]: the product of B, transposed, and A.
bool Cublas::multiply(const Gemm& gemm) {
  if (!available()) return false;
  const int type = type_of(gemm.dtype);
  return library_->gemm_ex(library_->handle, kOpT, kOpN, static_cast<int>(gemm.n), static_cast<int>(gemm.m),
                           static_cast<int>(gemm.k), &gemm.alpha, gemm.b.data, type,
                           static_cast<int>(gemm.b.ld), gemm.a.data, type, static_cast<int>(gemm.a.ld),
                           &gemm.beta, gemm.c.data, type, static_cast<int>(gemm.c.ld), compute_of(gemm.dtype),
                           kGemmDefault) == 0;
}

int Cublas::prepare_lt(const Gemm& gemm) {
  if (!available()) return 0;
  Library& l = *library_;
  l.forget_shape();
  const int type = type_of(gemm.dtype);
  const auto m = static_cast<uint64_t>(gemm.m), n = static_cast<uint64_t>(gemm.n),
             k = static_cast<uint64_t>(gemm.k);
  void* preference = nullptr;
  const bool described =
      l.lt_desc_create(&l.desc, compute_of(gemm.dtype), kTypeF32) == 0 &&
      l.lt_desc_set(l.desc, kDescTransA, &kOpT, sizeof(kOpT)) == 0 &&
      l.lt_desc_set(l.desc, kDescTransB, &kOpN, sizeof(kOpN)) == 0 &&
      l.lt_layout_create(&l.weight_layout, type, k, n, gemm.b.ld) == 0 &&
      l.lt_layout_create(&l.input_layout, type, k, m, gemm.a.ld) == 0 &&
      l.lt_layout_create(&l.output_layout, type, n, m, gemm.c.ld) == 0 &&
      l.lt_preference_create(&preference) == 0 &&
      l.lt_preference_set(preference, kPreferenceWorkspace, &kWorkspaceBytes, sizeof(size_t)) == 0;
  int found = 0;
  l.ways.resize(kMaxWays);
  if (described && l.lt_heuristic(l.lt_handle, l.desc, l.weight_layout, l.input_layout, l.output_layout,
                                  l.output_layout, preference, kMaxWays, l.ways.data(), &found) != 0) {
    found = 0;
  }
  if (preference != nullptr) l.lt_preference_destroy(preference);
  l.ways.resize(static_cast<size_t>(found));
  return found;
}

bool Cublas::multiply_lt(const Gemm& gemm, int way) {
  Library& l = *library_;
  const LtHeuristic& heuristic = l.ways[static_cast<size_t>(way)];
  return heuristic.state == 0 &&
         l.lt_matmul(l.lt_handle, l.desc, &gemm.alpha, gemm.b.data, l.weight_layout, gemm.a.data,
                     l.input_layout, &gemm.beta, gemm.c.data, l.output_layout, gemm.c.data, l.output_layout,
                     &heuristic.algorithm, l.workspace, kWorkspaceBytes, l.stream) == 0;
}

}  // namespace hfload
