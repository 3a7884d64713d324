#include "core/run/onednn_library.h"

#include <dlfcn.h>
#include <fmt/core.h>

#include <cstring>

#include "core/base/error.h"

namespace hfload {
namespace {

constexpr const char* kFile = "libdnnl.so.2";

Error no_onednn(const std::string& reason) {
  return Error(ErrorCode::no_onednn, "products on the CPU need oneDNN 2: " + reason)
      .with_hint("Install it, on Debian 12 with apt-get install libdnnl2.");
}

const char* status_name(dnnl_status_t status) {
  switch (status) {
    case dnnl_success:
      return "success";
    case dnnl_out_of_memory:
      return "out of memory";
    case dnnl_invalid_arguments:
      return "invalid arguments";
    case dnnl_unimplemented:
      return "unimplemented";
    case dnnl_iterator_ends:
      return "no implementation is left";
    case dnnl_runtime_error:
      return "runtime error";
    case dnnl_not_required:
      return "not required";
  }
  return "unknown status";
}

const char* isa_name(dnnl_cpu_isa_t isa) {
  switch (isa) {
    case dnnl_cpu_isa_sse41:
      return "SSE4.1";
    case dnnl_cpu_isa_avx:
      return "AVX";
    case dnnl_cpu_isa_avx2:
    case dnnl_cpu_isa_avx2_vnni:
      return "AVX2";
    case dnnl_cpu_isa_avx512_core:
    case dnnl_cpu_isa_avx512_core_vnni:
      return "AVX-512";
    case dnnl_cpu_isa_avx512_core_bf16:
      return "AVX-512 with bf16";
    case dnnl_cpu_isa_avx512_core_amx:
      return "AMX";
    default:
      return "unknown instructions";
  }
}

}  // namespace

OnednnLibrary::OnednnLibrary() {
  // Never closed: its threads and the code it makes stay.
  void* const handle = dlopen(kFile, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* const reason = dlerror();
    throw no_onednn(reason == nullptr ? fmt::format("{} cannot be opened", kFile) : reason);
  }
  const char* missing = nullptr;
  const auto find = [&](const char* name, auto& function) {
    void* const address = dlsym(handle, name);
    if (address == nullptr) missing = name;
    std::memcpy(&function, &address, sizeof(address));
  };
  find("dnnl_version", version);
  find("dnnl_get_effective_cpu_isa", get_effective_cpu_isa);
  find("dnnl_engine_create", engine_create);
  find("dnnl_engine_destroy", engine_destroy);
  find("dnnl_stream_create", stream_create);
  find("dnnl_stream_wait", stream_wait);
  find("dnnl_stream_destroy", stream_destroy);
  find("dnnl_memory_desc_init_by_strides", memory_desc_init_by_strides);
  find("dnnl_memory_desc_init_by_tag", memory_desc_init_by_tag);
  find("dnnl_memory_desc_get_size", memory_desc_get_size);
  find("dnnl_memory_create", memory_create);
  find("dnnl_memory_destroy", memory_destroy);
  find("dnnl_matmul_desc_init", matmul_desc_init);
  find("dnnl_primitive_attr_create", primitive_attr_create);
  find("dnnl_primitive_attr_destroy", primitive_attr_destroy);
  find("dnnl_primitive_attr_set_fpmath_mode", primitive_attr_set_fpmath_mode);
  find("dnnl_primitive_attr_set_output_scales", primitive_attr_set_output_scales);
  find("dnnl_primitive_attr_set_post_ops", primitive_attr_set_post_ops);
  find("dnnl_post_ops_create", post_ops_create);
  find("dnnl_post_ops_destroy", post_ops_destroy);
  find("dnnl_post_ops_append_sum", post_ops_append_sum);
  find("dnnl_post_ops_append_eltwise", post_ops_append_eltwise);
  find("dnnl_post_ops_append_binary", post_ops_append_binary);
  find("dnnl_primitive_desc_create", primitive_desc_create);
  find("dnnl_primitive_desc_destroy", primitive_desc_destroy);
  find("dnnl_primitive_desc_query", primitive_desc_query);
  find("dnnl_primitive_desc_query_md", primitive_desc_query_md);
  find("dnnl_reorder_primitive_desc_create", reorder_primitive_desc_create);
  find("dnnl_primitive_create", primitive_create);
  find("dnnl_primitive_execute", primitive_execute);
  find("dnnl_primitive_destroy", primitive_destroy);
  if (missing != nullptr) throw no_onednn(fmt::format("{} has no {}", kFile, missing));
  if (version()->major != 2) {
    throw no_onednn(fmt::format("{} is of version {}.{}", kFile, version()->major, version()->minor));
  }
  find("omp_set_num_threads", omp_set_num_threads);
  find("omp_get_max_threads", omp_get_max_threads);
}

std::string OnednnLibrary::description() const {
  const dnnl_version_t& v = *version();
  return fmt::format("oneDNN {}.{}.{}, {}", v.major, v.minor, v.patch, isa_name(get_effective_cpu_isa()));
}

bool OnednnLibrary::has_fast_bf16() const {
  const dnnl_cpu_isa_t isa = get_effective_cpu_isa();
  return isa == dnnl_cpu_isa_avx512_core_bf16 || isa == dnnl_cpu_isa_avx512_core_amx;
}

void check_onednn(dnnl_status_t status, const char* call) {
  if (status == dnnl_success) return;
  if (status == dnnl_out_of_memory) {
    throw Error(ErrorCode::out_of_memory, fmt::format("{} has not enough memory", call))
        .with_hint("Free memory, or multiply fewer rows at once.");
  }
  throw Error(ErrorCode::onednn_error, fmt::format("{} failed: {}", call, status_name(status)));
}

OnednnThreads::OnednnThreads(const OnednnLibrary& library, unsigned threads) : library_(library) {
  if (library_.omp_set_num_threads == nullptr || library_.omp_get_max_threads == nullptr) return;
  before_ = library_.omp_get_max_threads();
  library_.omp_set_num_threads(static_cast<int>(threads));
}

OnednnThreads::~OnednnThreads() {
  if (before_ > 0) library_.omp_set_num_threads(before_);
}

}  // namespace hfload
