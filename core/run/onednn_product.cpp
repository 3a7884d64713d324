#include "core/run/onednn_product.h"

#include <string_view>
#include <vector>

namespace hfload {
namespace {

using Attributes = OnednnOwned<dnnl_primitive_attr_t, &OnednnLibrary::primitive_attr_destroy>;
using PostOps = OnednnOwned<dnnl_post_ops_t, &OnednnLibrary::post_ops_destroy>;

dnnl_memory_desc_t rows_desc(const OnednnLibrary& library, dnnl_data_type_t type, int64_t rows,
                             int64_t length, int64_t ld) {
  dnnl_memory_desc_t desc = {};
  const dnnl_dims_t dims = {rows, length};
  const dnnl_dims_t strides = {ld, 1};
  check_onednn(library.memory_desc_init_by_strides(&desc, 2, dims, type, strides),
               "dnnl_memory_desc_init_by_strides");
  return desc;
}

std::optional<dnnl_alg_kind_t> activation_of(GemmEpilogue epilogue) {
  switch (epilogue) {
    case GemmEpilogue::bias_gelu_erf:
      return dnnl_eltwise_gelu_erf;
    case GemmEpilogue::bias_gelu_tanh:
      return dnnl_eltwise_gelu_tanh;
    case GemmEpilogue::bias_silu:
      return dnnl_eltwise_swish;
    default:
      return std::nullopt;
  }
}

/// Scaling and post-operations. `residual_argument` becomes the number of D's argument.
Attributes attributes_of(const OnednnLibrary& library, const OnednnShape& shape, const dnnl_memory_desc_t& c,
                         int& residual_argument) {
  dnnl_primitive_attr_t raw_attributes = nullptr;
  check_onednn(library.primitive_attr_create(&raw_attributes), "dnnl_primitive_attr_create");
  Attributes attributes(raw_attributes, {&library});
  // The environment can allow bf16 for products of fp32; the contract does not.
  check_onednn(library.primitive_attr_set_fpmath_mode(raw_attributes, dnnl_fpmath_mode_strict),
               "dnnl_primitive_attr_set_fpmath_mode");
  if (shape.alpha != 1) {
    check_onednn(library.primitive_attr_set_output_scales(raw_attributes, 1, 0, &shape.alpha),
                 "dnnl_primitive_attr_set_output_scales");
  }
  dnnl_post_ops_t raw_post_ops = nullptr;
  check_onednn(library.post_ops_create(&raw_post_ops), "dnnl_post_ops_create");
  const PostOps post_ops(raw_post_ops, {&library});
  int count = 0;
  if (shape.beta != 0) {
    check_onednn(library.post_ops_append_sum(raw_post_ops, shape.beta), "dnnl_post_ops_append_sum");
    ++count;
  }
  if (const std::optional<dnnl_alg_kind_t> activation = activation_of(shape.epilogue)) {
    check_onednn(library.post_ops_append_eltwise(raw_post_ops, 1, *activation, 1, 0),
                 "dnnl_post_ops_append_eltwise");
  } else if (shape.epilogue == GemmEpilogue::residual) {
    check_onednn(library.post_ops_append_binary(raw_post_ops, dnnl_binary_add, &c),
                 "dnnl_post_ops_append_binary");
    residual_argument = DNNL_ARG_ATTR_MULTIPLE_POST_OP(count) | DNNL_ARG_SRC_1;
  }
  check_onednn(library.primitive_attr_set_post_ops(raw_attributes, raw_post_ops),
               "dnnl_primitive_attr_set_post_ops");
  return attributes;
}

bool is_reference(const OnednnLibrary& library, const_dnnl_primitive_desc_t desc) {
  const char* name = nullptr;
  check_onednn(library.primitive_desc_query(desc, dnnl_query_impl_info_str, 0, static_cast<void*>(&name)),
               "dnnl_primitive_desc_query");
  return std::string_view(name).starts_with("ref");
}

}  // namespace

OnednnRuntime::OnednnRuntime(const OnednnLibrary& from) : library(from) {
  dnnl_engine_t raw_engine = nullptr;
  check_onednn(library.engine_create(&raw_engine, dnnl_cpu, 0), "dnnl_engine_create");
  engine = OnednnEngine(raw_engine, {&library});
  dnnl_stream_t raw_stream = nullptr;
  check_onednn(library.stream_create(&raw_stream, raw_engine, dnnl_stream_default_flags),
               "dnnl_stream_create");
  stream = OnednnStream(raw_stream, {&library});
}

OnednnMemory OnednnRuntime::wrap(const dnnl_memory_desc_t& desc, const void* data) const {
  dnnl_memory_t memory = nullptr;
  check_onednn(library.memory_create(&memory, &desc, engine.get(), const_cast<void*>(data)),
               "dnnl_memory_create");
  return OnednnMemory(memory, {&library});
}

void OnednnRuntime::execute(const OnednnPrimitive& primitive,
                            std::span<const dnnl_exec_arg_t> arguments) const {
  check_onednn(library.primitive_execute(primitive.get(), stream.get(), static_cast<int>(arguments.size()),
                                         arguments.data()),
               "dnnl_primitive_execute");
  check_onednn(library.stream_wait(stream.get()), "dnnl_stream_wait");
}

bool onednn_has_epilogue(GemmEpilogue epilogue, float alpha) {
  switch (epilogue) {
    case GemmEpilogue::none:
    case GemmEpilogue::residual:
      return true;
    case GemmEpilogue::bias:
    case GemmEpilogue::bias_gelu_erf:
    case GemmEpilogue::bias_gelu_tanh:
    case GemmEpilogue::bias_silu:
      return alpha == 1;
    default:
      return false;
  }
}

std::optional<OnednnProduct> OnednnProduct::create(const OnednnRuntime& runtime, const OnednnShape& shape,
                                                   const dnnl_memory_desc_t& weights) {
  const OnednnLibrary& library = runtime.library;
  OnednnProduct product;
  product.shape_ = shape;
  product.a_ = rows_desc(library, shape.input, shape.m, shape.k, shape.a_ld);
  product.c_ = rows_desc(library, shape.output, shape.m, shape.n, shape.c_ld);
  const bool has_bias = gemm_has_bias(shape.epilogue);
  if (has_bias) product.bias_ = rows_desc(library, shape.output, 1, shape.n, shape.n);
  const Attributes attributes = attributes_of(library, shape, product.c_, product.residual_argument_);
  dnnl_matmul_desc_t matmul = {};
  check_onednn(library.matmul_desc_init(&matmul, &product.a_, &weights, has_bias ? &product.bias_ : nullptr,
                                        &product.c_),
               "dnnl_matmul_desc_init");
  dnnl_primitive_desc_t raw_desc = nullptr;
  const dnnl_status_t status =
      library.primitive_desc_create(&raw_desc, &matmul, attributes.get(), runtime.engine.get(), nullptr);
  if (status == dnnl_unimplemented) return std::nullopt;
  check_onednn(status, "dnnl_primitive_desc_create");
  const OnednnPrimitiveDesc desc(raw_desc, {&library});
  if (is_reference(library, raw_desc)) return std::nullopt;
  product.weights_ = *library.primitive_desc_query_md(raw_desc, dnnl_query_weights_md, 0);
  dnnl_primitive_t raw_primitive = nullptr;
  check_onednn(library.primitive_create(&raw_primitive, raw_desc), "dnnl_primitive_create");
  product.primitive_ = OnednnPrimitive(raw_primitive, {&library});
  return product;
}

void OnednnProduct::multiply(const OnednnRuntime& runtime, const void* a, const void* b, const void* bias,
                             const void* d, void* c) const {
  std::vector<OnednnMemory> memory;
  std::vector<dnnl_exec_arg_t> arguments;
  const auto pass = [&](int argument, const dnnl_memory_desc_t& desc, const void* data) {
    memory.push_back(runtime.wrap(desc, data));
    arguments.push_back({argument, memory.back().get()});
  };
  pass(DNNL_ARG_SRC, a_, a);
  pass(DNNL_ARG_WEIGHTS, weights_, b);
  pass(DNNL_ARG_DST, c_, c);
  if (gemm_has_bias(shape_.epilogue)) pass(DNNL_ARG_BIAS, bias_, bias);
  if (residual_argument_ != 0) pass(residual_argument_, c_, d);
  runtime.execute(primitive_, arguments);
}

}  // namespace hfload
