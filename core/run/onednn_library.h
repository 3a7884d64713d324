#pragma once

#include <oneapi/dnnl/dnnl.h>

#include <cstdint>
#include <string>

namespace hfload {

/// The functions of oneDNN 2 that are used, found at run time in libdnnl.so.2. Nothing is linked with it: it
/// is large, comes as a shared library alone, and only matrix products on the CPU need it. The types are
/// those of its headers.
struct OnednnLibrary {
  /// Throws Error(no_onednn) where the library is absent, or is another one.
  OnednnLibrary();

  decltype(&dnnl_version) version = nullptr;
  decltype(&dnnl_get_effective_cpu_isa) get_effective_cpu_isa = nullptr;
  decltype(&dnnl_engine_create) engine_create = nullptr;
  decltype(&dnnl_engine_destroy) engine_destroy = nullptr;
  decltype(&dnnl_stream_create) stream_create = nullptr;
  decltype(&dnnl_stream_wait) stream_wait = nullptr;
  decltype(&dnnl_stream_destroy) stream_destroy = nullptr;
  decltype(&dnnl_memory_desc_init_by_strides) memory_desc_init_by_strides = nullptr;
  decltype(&dnnl_memory_desc_init_by_tag) memory_desc_init_by_tag = nullptr;
  decltype(&dnnl_memory_desc_get_size) memory_desc_get_size = nullptr;
  decltype(&dnnl_memory_create) memory_create = nullptr;
  decltype(&dnnl_memory_destroy) memory_destroy = nullptr;
  decltype(&dnnl_matmul_desc_init) matmul_desc_init = nullptr;
  decltype(&dnnl_primitive_attr_create) primitive_attr_create = nullptr;
  decltype(&dnnl_primitive_attr_destroy) primitive_attr_destroy = nullptr;
  decltype(&dnnl_primitive_attr_set_fpmath_mode) primitive_attr_set_fpmath_mode = nullptr;
  decltype(&dnnl_primitive_attr_set_output_scales) primitive_attr_set_output_scales = nullptr;
  decltype(&dnnl_primitive_attr_set_post_ops) primitive_attr_set_post_ops = nullptr;
  decltype(&dnnl_post_ops_create) post_ops_create = nullptr;
  decltype(&dnnl_post_ops_destroy) post_ops_destroy = nullptr;
  decltype(&dnnl_post_ops_append_sum) post_ops_append_sum = nullptr;
  decltype(&dnnl_post_ops_append_eltwise) post_ops_append_eltwise = nullptr;
  decltype(&dnnl_post_ops_append_binary) post_ops_append_binary = nullptr;
  decltype(&dnnl_primitive_desc_create) primitive_desc_create = nullptr;
  decltype(&dnnl_primitive_desc_destroy) primitive_desc_destroy = nullptr;
  decltype(&dnnl_primitive_desc_query) primitive_desc_query = nullptr;
  decltype(&dnnl_primitive_desc_query_md) primitive_desc_query_md = nullptr;
  decltype(&dnnl_reorder_primitive_desc_create) reorder_primitive_desc_create = nullptr;
  decltype(&dnnl_primitive_create) primitive_create = nullptr;
  decltype(&dnnl_primitive_execute) primitive_execute = nullptr;
  decltype(&dnnl_primitive_destroy) primitive_destroy = nullptr;
  /// Of the OpenMP that it is linked with; nullptr where it uses none.
  void (*omp_set_num_threads)(int) = nullptr;
  int (*omp_get_max_threads)() = nullptr;

  /// "oneDNN 2.6.3, AVX2".
  std::string description() const;
  /// Whether products of bf16 run on instructions for them (AVX512-BF16, AMX).
  bool has_fast_bf16() const;
};

/// Throws Error(out_of_memory) or Error(onednn_error), naming the call, unless `status` is dnnl_success.
void check_onednn(dnnl_status_t status, const char* call);

/// Gives oneDNN `threads` threads in the calls that this thread makes, until it goes: OpenMP's number is the
/// calling thread's own, and is put back.
class OnednnThreads {
 public:
  OnednnThreads(const OnednnLibrary& library, unsigned threads);
  OnednnThreads(const OnednnThreads&) = delete;
  OnednnThreads& operator=(const OnednnThreads&) = delete;
  ~OnednnThreads();

 private:
  const OnednnLibrary& library_;
  int before_ = 0;
};

}  // namespace hfload
