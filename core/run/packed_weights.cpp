#include "core/run/packed_weights.h"

#include <algorithm>
#include <cstring>

#include "core/base/checked.h"
#include "core/base/error.h"
#include "kernels/gemm_few_rows.h"
#include "kernels/gemm_finish.h"

namespace hfload {
namespace {

/// Bytes of `entries` blocks of n rows.
uint64_t checked_bytes(int64_t entries, int64_t n, int64_t row_elements, int64_t element_bytes) {
  const auto row = static_cast<uint64_t>(row_elements) * static_cast<uint64_t>(element_bytes);
  const auto rows = checked_mul(static_cast<uint64_t>(entries), static_cast<uint64_t>(n));
  const auto bytes = rows ? checked_mul(*rows, row) : std::nullopt;
  if (!bytes) throw Error(ErrorCode::out_of_memory, "a weight does not fit in 64-bit memory");
  return *bytes;
}

void require_weights(const Gemm& gemm) {
  Gemm weights = gemm;
  weights.m = 0;  // of A, C and D nothing is asked here
  weights.c = {};
  weights.a = weights.d = {};
  const char* fault = gemm_fault(weights);
  const bool empty = gemm.n == 0 || gemm.k == 0 || gemm.batch == 0;
  if (fault == nullptr && !empty &&
      (gemm.b.data == nullptr ||
       reinterpret_cast<uintptr_t>(gemm.b.data) % static_cast<uintptr_t>(gemm_element_bytes(gemm.dtype)) !=
           0)) {
    fault = "B is missing or misaligned";
  }
  if (fault != nullptr) throw Error(ErrorCode::internal, std::string("weights of a product: ") + fault);
}

}  // namespace

WeightRows::WeightRows(const Gemm& gemm, WorkerTeam& team)
    : dtype_(gemm.dtype), n_(gemm.n), k_(gemm.k), padded_k_(0), entries_(0) {
  require_weights(gemm);
  padded_k_ = (k_ + kFewRowsUnit - 1) / kFewRowsUnit * kFewRowsUnit;
  entries_ = gemm.b.batch_stride == 0 ? std::min<int64_t>(gemm.batch, 1) : gemm.batch;
  const int64_t element = gemm_element_bytes(dtype_);
  memory_ = HostMemory(checked_bytes(entries_, n_, padded_k_, element));
  if (memory_.bytes().empty()) return;
  team.run_ranges(entries_ * n_, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t from = row / n_ * gemm.b.batch_stride + row % n_ * gemm.b.ld;
      std::memcpy(memory_.bytes().data() + row * padded_k_ * element,
                  static_cast<const std::byte*>(gemm.b.data) + from * element,
                  static_cast<size_t>(k_ * element));
    }
  });
}

const std::byte* WeightRows::of(int64_t entry) const {
  const int64_t own = entries_ == 1 ? 0 : entry;
  return memory_.bytes().data() + own * n_ * padded_k_ * gemm_element_bytes(dtype_);
}

std::optional<PackedWeights> PackedWeights::create(const OnednnRuntime& runtime, const WeightRows& rows,
                                                   dnnl_data_type_t type, int64_t m, WorkerTeam& team) {
  const OnednnLibrary& library = runtime.library;
  const dnnl_dims_t dims = {rows.k(), rows.n()};
  const dnnl_dims_t strides = {1, rows.padded_k()};
  dnnl_memory_desc_t any = {}, plain = {};
  check_onednn(library.memory_desc_init_by_tag(&any, 2, dims, type, dnnl_format_tag_any),
               "dnnl_memory_desc_init_by_tag");
  check_onednn(library.memory_desc_init_by_strides(&plain, 2, dims, type, strides),
               "dnnl_memory_desc_init_by_strides");
  OnednnShape shape{.input = type, .m = m, .n = rows.n(), .k = rows.k(), .a_ld = rows.k(), .c_ld = rows.n()};
  const std::optional<OnednnProduct> product = OnednnProduct::create(runtime, shape, any);
  if (!product) return std::nullopt;
  PackedWeights weights;
  weights.desc_ = product->weights();

  const bool widened = type == dnnl_f32 && rows.dtype() != GemmDtype::f32;
  HostMemory wide;
  if (widened) {
    wide = HostMemory(checked_bytes(rows.entries(), rows.n(), rows.padded_k(), sizeof(float)));
    auto* const to = reinterpret_cast<float*>(wide.bytes().data());
    team.run_ranges(rows.entries() * rows.n(), 1, [&](int64_t begin, int64_t end) {
      widen_elements(rows.dtype(), rows.of(0), begin * rows.padded_k(), (end - begin) * rows.padded_k(),
                     to + begin * rows.padded_k());
    });
  }
  // Code that takes rows of any distance copies blocks of them as it goes: a format of its own would gain
  // nothing.
  const bool takes_rows =
      weights.desc_.format_kind == dnnl_blocked && weights.desc_.format_desc.blocking.inner_nblks == 0;
  if (takes_rows) {
    weights.desc_ = plain;
    weights.are_rows_ = !widened;
    weights.entry_bytes_ = static_cast<uint64_t>(rows.n() * rows.padded_k()) * sizeof(float);
    weights.memory_ = std::move(wide);
    return weights;
  }
  weights.entry_bytes_ = align_up(library.memory_desc_get_size(&weights.desc_), 64);
  const auto bytes = checked_mul(weights.entry_bytes_, static_cast<uint64_t>(rows.entries()));
  if (!bytes) throw Error(ErrorCode::out_of_memory, "a weight does not fit in 64-bit memory");
  weights.memory_ = HostMemory(*bytes);
  dnnl_primitive_desc_t raw_desc = nullptr;
  check_onednn(library.reorder_primitive_desc_create(&raw_desc, &plain, runtime.engine.get(), &weights.desc_,
                                                     runtime.engine.get(), nullptr),
               "dnnl_reorder_primitive_desc_create");
  const OnednnPrimitiveDesc reorder_desc(raw_desc, {&library});
  dnnl_primitive_t raw_reorder = nullptr;
  check_onednn(library.primitive_create(&raw_reorder, raw_desc), "dnnl_primitive_create");
  const OnednnPrimitive reorder(raw_reorder, {&library});
  for (int64_t entry = 0; entry < rows.entries(); ++entry) {
    const std::byte* const from =
        widened ? wide.bytes().data() + entry * rows.n() * rows.padded_k() * int64_t{sizeof(float)}
                : rows.of(entry);
    const OnednnMemory source = runtime.wrap(plain, from);
    const OnednnMemory target = runtime.wrap(
        weights.desc_, weights.memory_.bytes().data() + static_cast<uint64_t>(entry) * weights.entry_bytes_);
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, source.get()}, {DNNL_ARG_TO, target.get()}};
    runtime.execute(reorder, arguments);
  }
  return weights;
}

const std::byte* PackedWeights::of(const WeightRows& rows, int64_t entry) const {
  if (are_rows_) return rows.of(entry);
  const auto own = static_cast<uint64_t>(rows.entries() == 1 ? 0 : entry);
  return memory_.bytes().data() + own * entry_bytes_;
}

}  // namespace hfload
