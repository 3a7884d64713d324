#include "core/run/cpu_gemm.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include "core/base/error.h"
#include "core/run/onednn_product.h"
#include "core/run/packed_weights.h"
#include "core/run/worker_team.h"
#include "kernels/gemm_few_rows.h"
#include "kernels/gemm_finish.h"

namespace hfload {
namespace {

constexpr size_t kMostProducts = 8;
/// So many rows are faster by our kernels than by oneDNN's for AVX2, which packs B anew each time
/// (docs/gemm.md). With AVX-512 oneDNN has formats of its own; nothing was measured there.
constexpr int64_t kMostRowsAvx2 = 24;
/// Columns of a thread, and those stored at a time: multiples of what is multiplied together.
constexpr int64_t kColumnsUnit = 12;
constexpr int64_t kColumnsAtOnce = 192;
constexpr int64_t kColumnsToFinish = 1024;

/// Where a matrix of one batch entry begins.
template <class Matrix>
auto* matrix_of(const Matrix& matrix, GemmDtype dtype, int64_t entry) {
  using Byte = std::conditional_t<std::is_const_v<std::remove_pointer_t<decltype(matrix.data)>>,
                                  const std::byte, std::byte>;
  return static_cast<Byte*>(matrix.data) + entry * matrix.batch_stride * gemm_element_bytes(dtype);
}

/// Whether C and D of one batch entry share memory.
bool overlap(const Gemm& gemm, int64_t entry) {
  const int64_t bytes = gemm_element_bytes(gemm.dtype);
  const auto c = reinterpret_cast<uintptr_t>(matrix_of(gemm.c, gemm.dtype, entry));
  const auto d = reinterpret_cast<uintptr_t>(matrix_of(gemm.d, gemm.dtype, entry));
  const auto end = [&](uintptr_t begin, int64_t ld) {
    return begin + static_cast<uintptr_t>(((gemm.m - 1) * ld + gemm.n) * bytes);
  };
  return c < end(d, gemm.d.ld) && d < end(c, gemm.c.ld);
}

}  // namespace

struct CpuEngine::Impl {
  explicit Impl(unsigned threads) : team(threads), runtime(library) {}

  OnednnLibrary library;
  WorkerTeam team;
  OnednnRuntime runtime;
};

CpuEngine::CpuEngine(unsigned threads) : impl_(std::make_unique<Impl>(std::max(threads, 1U))) {}
CpuEngine::~CpuEngine() = default;
unsigned CpuEngine::threads() const { return impl_->team.threads(); }
std::string CpuEngine::description() const { return impl_->library.description(); }
bool CpuEngine::has_fast_bf16() const { return impl_->library.has_fast_bf16(); }

const char* cpu_gemm_way_name(CpuGemmWay way) { return way == CpuGemmWay::rows ? "rows" : "onednn"; }

struct CpuGemm::Impl {
  Impl(CpuEngine::Impl& from, const Gemm& gemm, uint64_t most_scratch)
      : engine(from), rows(gemm, from.team), type(dnnl_f32), scratch_bytes(most_scratch) {
    if (gemm.dtype == GemmDtype::bf16 && engine.library.has_fast_bf16()) type = dnnl_bf16;
  }

  CpuEngine::Impl& engine;
  WeightRows rows;
  dnnl_data_type_t type;  ///< that oneDNN multiplies
  uint64_t scratch_bytes;
  std::optional<PackedWeights> packed = {};
  std::vector<OnednnProduct> products = {};  ///< made last is last
  HostMemory scratch = {};

  /// Returns false where oneDNN has no fast code for m rows.
  bool pack(int64_t m) {
    products.clear();
    packed = PackedWeights::create(engine.runtime, rows, type, m, engine.team);
    return packed.has_value();
  }

  float* scratch_for(int64_t floats) {
    const uint64_t bytes = static_cast<uint64_t>(floats) * sizeof(float);
    if (scratch.bytes().size() < bytes) {
      scratch = {};
      scratch = HostMemory(bytes);
    }
    return reinterpret_cast<float*>(scratch.bytes().data());
  }

  /// nullptr where oneDNN has no fast code for the shape with the weights as they are packed.
  const OnednnProduct* product_for(const OnednnShape& shape) {
    const auto found = std::ranges::find(products, shape, &OnednnProduct::shape);
    if (found != products.end()) return &*found;
    if (!packed) return nullptr;
    std::optional<OnednnProduct> made = OnednnProduct::create(engine.runtime, shape, packed->desc());
    if (!made) return nullptr;
    if (products.size() == kMostProducts) products.erase(products.begin());
    return &products.emplace_back(std::move(*made));
  }

  void require(const Gemm& gemm) const {
    Gemm own = gemm;
    own.b = {rows.of(0), rows.padded_k(), 0};
    const char* fault = gemm_fault(own);
    if (fault == nullptr && (gemm.dtype != rows.dtype() || gemm.n != rows.n() || gemm.k != rows.k())) {
      fault = "dtype, n or k is not the weight's";
    }
    if (fault == nullptr && rows.entries() != 1 && gemm.batch > rows.entries()) {
      fault = "the batch is larger than the weight's";
    }
    if (fault != nullptr) throw Error(ErrorCode::internal, std::string("a product on the CPU: ") + fault);
  }

  /// `count` rows of C from `first` on. B is read once for every eight of them.
  void multiply_rows(const Gemm& gemm, int64_t entry, int64_t first, int64_t count) {
    const int64_t passes = (count + kMostFewRows - 1) / kMostFewRows;
    for (int64_t pass = 0; pass < passes; ++pass) {
      const int64_t begin = count * pass / passes;
      multiply_few(gemm, entry, first + begin, count * (pass + 1) / passes - begin);
    }
  }

  void multiply_few(const Gemm& gemm, int64_t entry, int64_t first, int64_t count) {
    const int64_t k = rows.padded_k();
    float* const a = scratch_for(count * k);
    const auto* const from =
        matrix_of(gemm.a, gemm.dtype, entry) + first * gemm.a.ld * gemm_element_bytes(gemm.dtype);
    pack_few_rows(gemm.dtype, from, gemm.a.ld, count, gemm.k, k, a);
    const FewRows few{.dtype = gemm.dtype, .m = count, .k = k, .a = a, .b = rows.of(entry)};
    engine.team.run_ranges(gemm.n, kColumnsUnit, [&](int64_t begin, int64_t end) {
      float sums[kMostFewRows * kColumnsAtOnce];
      for (; begin < end; begin += kColumnsAtOnce) {
        const int64_t columns = std::min(kColumnsAtOnce, end - begin);
        multiply_few_rows(few, begin, begin + columns, sums, kColumnsAtOnce);
        for (int64_t row = 0; row < count; ++row) {
          finish_gemm_row(gemm, entry, first + row, begin, columns, sums + row * kColumnsAtOnce);
        }
      }
    });
  }

  /// Stores `count` rows of C; `sums` are [count, n], or nullptr for zeros.
  void finish(const Gemm& gemm, int64_t entry, int64_t first_row, int64_t count, const float* sums) {
    const int64_t parts = (gemm.n + kColumnsToFinish - 1) / kColumnsToFinish;
    engine.team.run_ranges(count * parts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t row = i / parts, column = i % parts * kColumnsToFinish;
        finish_gemm_row(gemm, entry, first_row + row, column, std::min(kColumnsToFinish, gemm.n - column),
                        sums == nullptr ? nullptr : sums + row * gemm.n + column);
      }
    });
  }

  /// The product with the epilogue by oneDNN; nullptr where that would not be the contract's result.
  const OnednnProduct* whole_product(const Gemm& gemm) {
    if (gemm.dtype != GemmDtype::f32 && type == dnnl_f32) return nullptr;
    if (!onednn_has_epilogue(gemm.epilogue, gemm.alpha)) return nullptr;
    const int64_t c_ld = gemm.m == 1 ? gemm.n : gemm.c.ld;
    if (gemm.epilogue == GemmEpilogue::residual) {
      if (gemm.m > 1 && gemm.d.ld != c_ld) return nullptr;
      for (int64_t entry = 0; entry < gemm.batch; ++entry) {
        if (overlap(gemm, entry)) return nullptr;
      }
    }
    return product_for({.input = type,
                        .output = type,
                        .m = gemm.m,
                        .n = gemm.n,
                        .k = gemm.k,
                        .a_ld = gemm.m == 1 ? gemm.k : gemm.a.ld,
                        .c_ld = c_ld,
                        .alpha = gemm.alpha,
                        .beta = gemm.beta,
                        .epilogue = gemm.epilogue});
  }

  /// oneDNN's part is the sum alone, in fp32; the rest is done in a second pass. A's rows are copied where
  /// they are widened, or are not one after the other: with packed weights, oneDNN 2.6 has only its slow
  /// reference for rows with gaps. Our own kernel multiplies what oneDNN has no fast code for at all.
  void multiply_in_two_passes(const Gemm& gemm, int64_t entry) {
    const bool widens = gemm.dtype != GemmDtype::f32 && type == dnnl_f32;
    const bool copies = widens || (gemm.m > 1 && gemm.a.ld != gemm.k);
    const int64_t row_floats = gemm.n + (copies ? gemm.k : 0);
    const auto fitting = static_cast<int64_t>(scratch_bytes / sizeof(float)) / row_floats;
    const int64_t most_rows = std::clamp<int64_t>(fitting, 1, gemm.m);
    const auto shape_of = [&](int64_t count) {
      return OnednnShape{.input = type, .m = count, .n = gemm.n, .k = gemm.k, .a_ld = gemm.k, .c_ld = gemm.n};
    };
    const int64_t row_bytes = gemm.a.ld * gemm_element_bytes(gemm.dtype);
    const auto* const a = matrix_of(gemm.a, gemm.dtype, entry);
    for (int64_t first = 0; first < gemm.m; first += most_rows) {
      const int64_t count = std::min(most_rows, gemm.m - first);
      const OnednnProduct* product = product_for(shape_of(count));
      if (product == nullptr && pack(count)) product = product_for(shape_of(count));
      if (product == nullptr) {
        multiply_rows(gemm, entry, first, gemm.m - first);
        return;
      }
      float* const sums = scratch_for(most_rows * row_floats);
      float* const rows_of_a = sums + most_rows * gemm.n;
      if (copies) copy_rows(gemm, a + first * row_bytes, count, widens, rows_of_a);
      const void* const from = copies ? static_cast<const void*>(rows_of_a) : a + first * row_bytes;
      product->multiply(engine.runtime, from, packed->of(rows, entry), nullptr, nullptr, sums);
      finish(gemm, entry, first, count, sums);
    }
  }

  /// Copies rows of A to [count, k] without gaps, of fp32 where they are widened and else of A's dtype.
  void copy_rows(const Gemm& gemm, const std::byte* from, int64_t count, bool widens, float* to) {
    const int64_t element_bytes = gemm_element_bytes(gemm.dtype);
    engine.team.run_ranges(count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        if (widens) {
          widen_elements(gemm.dtype, from, row * gemm.a.ld, gemm.k, to + row * gemm.k);
        } else {
          std::memcpy(reinterpret_cast<std::byte*>(to) + row * gemm.k * element_bytes,
                      from + row * gemm.a.ld * element_bytes, static_cast<size_t>(gemm.k * element_bytes));
        }
      }
    });
  }

  void multiply_onednn(const Gemm& gemm) {
    const OnednnThreads threads(engine.library, engine.team.threads());
    const OnednnProduct* const whole = packed || pack(gemm.m) ? whole_product(gemm) : nullptr;
    for (int64_t entry = 0; entry < gemm.batch; ++entry) {
      if (whole == nullptr) {
        multiply_in_two_passes(gemm, entry);
        continue;
      }
      const void* const d = gemm_has_operand(gemm.epilogue) ? matrix_of(gemm.d, gemm.dtype, entry) : nullptr;
      whole->multiply(engine.runtime, matrix_of(gemm.a, gemm.dtype, entry), packed->of(rows, entry),
                      gemm.bias, d, matrix_of(gemm.c, gemm.dtype, entry));
    }
  }
};

CpuGemm::CpuGemm(CpuEngine& engine, const Gemm& gemm, uint64_t scratch_bytes)
    : impl_(std::make_unique<Impl>(*engine.impl_, gemm, scratch_bytes)) {}
CpuGemm::~CpuGemm() = default;
CpuGemm::CpuGemm(CpuGemm&&) noexcept = default;

CpuGemmWay CpuGemm::way_for(int64_t m) {
  const int64_t most = has_few_rows_avx2() && !has_few_rows_avx512() ? kMostRowsAvx2 : kMostFewRows;
  return m <= most ? CpuGemmWay::rows : CpuGemmWay::onednn;
}

void CpuGemm::prepare(int64_t m) {
  if (way_for(m) == CpuGemmWay::rows || impl_->packed || impl_->rows.bytes() == 0) return;
  const OnednnThreads threads(impl_->engine.library, impl_->engine.team.threads());
  impl_->pack(m);
}

void CpuGemm::multiply(const Gemm& gemm) { multiply_by(way_for(gemm.m), gemm); }

void CpuGemm::multiply_by(CpuGemmWay way, const Gemm& gemm) {
  impl_->require(gemm);
  if (gemm.m == 0 || gemm.n == 0) return;
  if (gemm.k == 0) {
    for (int64_t entry = 0; entry < gemm.batch; ++entry) impl_->finish(gemm, entry, 0, gemm.m, nullptr);
  } else if (way == CpuGemmWay::onednn) {
    impl_->multiply_onednn(gemm);
  } else {
    for (int64_t entry = 0; entry < gemm.batch; ++entry) impl_->multiply_rows(gemm, entry, 0, gemm.m);
  }
}

uint64_t CpuGemm::weight_bytes() const {
  return impl_->rows.bytes() + (impl_->packed ? impl_->packed->bytes() : 0);
}

}  // namespace hfload
