#pragma once

#include <memory>
#include <optional>
#include <span>
#include <type_traits>

#include "core/run/onednn_library.h"
#include "kernels/gemm.h"

namespace hfload {

/// Calls the library's function that destroys a handle.
template <auto OnednnLibrary::*destroy>
struct OnednnDestroy {
  const OnednnLibrary* library = nullptr;
  template <class Handle>
  void operator()(Handle* handle) const {
    (library->*destroy)(handle);
  }
};
template <class Handle, auto OnednnLibrary::*destroy>
using OnednnOwned = std::unique_ptr<std::remove_pointer_t<Handle>, OnednnDestroy<destroy>>;

using OnednnEngine = OnednnOwned<dnnl_engine_t, &OnednnLibrary::engine_destroy>;
using OnednnStream = OnednnOwned<dnnl_stream_t, &OnednnLibrary::stream_destroy>;
using OnednnMemory = OnednnOwned<dnnl_memory_t, &OnednnLibrary::memory_destroy>;
using OnednnPrimitive = OnednnOwned<dnnl_primitive_t, &OnednnLibrary::primitive_destroy>;
using OnednnPrimitiveDesc = OnednnOwned<dnnl_primitive_desc_t, &OnednnLibrary::primitive_desc_destroy>;

/// oneDNN on this CPU: what every call needs. The library must outlive it.
struct OnednnRuntime {
  explicit OnednnRuntime(const OnednnLibrary& from);

  /// Wraps memory that someone else owns. Input memory is not written to.
  OnednnMemory wrap(const dnnl_memory_desc_t& desc, const void* data) const;
  /// Runs a primitive and waits for it.
  void execute(const OnednnPrimitive& primitive, std::span<const dnnl_exec_arg_t> arguments) const;

  const OnednnLibrary& library;
  OnednnEngine engine;
  OnednnStream stream;
};

/// All that a product's code depends on: A [m, k] and B [k, n] of `input`, C [m, n] of `output`, rows
/// contiguous. With `epilogue` other than none, bias and D are of `output`, and D's rows are as far apart as
/// C's.
struct OnednnShape {
  dnnl_data_type_t input = dnnl_f32, output = dnnl_f32;
  int64_t m = 0, n = 0, k = 0;
  int64_t a_ld = 0, c_ld = 0;
  float alpha = 1, beta = 0;
  GemmEpilogue epilogue = GemmEpilogue::none;

  bool operator==(const OnednnShape&) const = default;
};

/// Whether oneDNN's own post-operations are the contract's: bias with alpha = 1, activations of it, the
/// residual. (It adds the bias before it scales, and has no gate.)
bool onednn_has_epilogue(GemmEpilogue epilogue, float alpha);

/// One matrix product of oneDNN, ready to be run.
class OnednnProduct {
 public:
  /// Nothing where oneDNN has no code for it, or only its slow reference. `weights` describes B: in the
  /// format it has, or in any, to be asked for with `weights()`.
  static std::optional<OnednnProduct> create(const OnednnRuntime& runtime, const OnednnShape& shape,
                                             const dnnl_memory_desc_t& weights);

  const OnednnShape& shape() const { return shape_; }
  const dnnl_memory_desc_t& weights() const { return weights_; }

  void multiply(const OnednnRuntime& runtime, const void* a, const void* b, const void* bias, const void* d,
                void* c) const;

 private:
  OnednnProduct() = default;

  OnednnShape shape_;
  OnednnPrimitive primitive_;
  dnnl_memory_desc_t a_ = {}, weights_ = {}, bias_ = {}, c_ = {};
  int residual_argument_ = 0;  ///< 0: none
};

}  // namespace hfload
