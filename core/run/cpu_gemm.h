#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "kernels/gemm.h"

namespace hfload {

/// Matrix products on this machine's CPU: oneDNN, found at run time, and a team of threads. Several CpuGemms
/// share one engine, which outlives them. To be used by one thread at a time.
class CpuEngine {
 public:
  /// `threads`: 1 or more, the calling thread among them; the number is never taken from the environment.
  /// oneDNN gets as many by OpenMP's number, which is set for the calling thread during a call and put back.
  /// Throws Error(no_onednn) where there is no libdnnl.so.2, Error(onednn_error), Error(io_error).
  explicit CpuEngine(unsigned threads);
  ~CpuEngine();

  unsigned threads() const;
  /// "oneDNN 2.6.3, AVX2".
  std::string description() const;
  /// Whether oneDNN multiplies bf16 by instructions for it. Without them bf16 is widened to fp32.
  bool has_fast_bf16() const;

 private:
  friend class CpuGemm;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The two ways to compute a product.
enum class CpuGemmWay : uint8_t {
  rows,   ///< B is read in its own dtype, once for every eight rows of A, and widened in registers
  onednn  ///< oneDNN's matmul on weights that it has packed
};
inline constexpr CpuGemmWay kCpuGemmWays[] = {CpuGemmWay::rows, CpuGemmWay::onednn};
const char* cpu_gemm_way_name(CpuGemmWay way);

/// A weight, packed once, and its products by the contract of kernels/gemm.h: all dtypes, epilogues, leading
/// dimensions and batches. For the same number of threads the same call gives the same bits.
///
/// Memory: the weight's rows are copied in their own dtype, each padded to 32 elements. The first product by
/// oneDNN, or `prepare`, adds what oneDNN multiplies: nothing for fp32 where oneDNN takes rows as
/// they are (up to AVX2); otherwise a copy in the format that oneDNN picks, of bf16 where it has instructions
/// for it, and of fp32 else. fp16 is always widened to fp32 there, which keeps its values: oneDNN 2 has no
/// products of fp16 on the CPU.
class CpuGemm {
 public:
  static constexpr uint64_t kScratchBytes = 64 << 20;

  /// Reads dtype, n, k, batch and B of `gemm`, and copies B, which may go afterwards. Products that oneDNN
  /// cannot store as the contract asks go through at most `scratch_bytes` of fp32 sums and widened rows of A,
  /// or one row of them. Throws Error(out_of_memory), and Error(internal) where the contract is broken.
  CpuGemm(CpuEngine& engine, const Gemm& gemm, uint64_t scratch_bytes = kScratchBytes);
  ~CpuGemm();
  CpuGemm(CpuGemm&&) noexcept;

  /// The way that `multiply` takes for m rows.
  static CpuGemmWay way_for(int64_t m);

  /// Packs the weight for products of m rows now, rather than at the first of them.
  void prepare(int64_t m);

  /// Computes the product. dtype, n and k are those of the weight; the batch is not larger than its, unless
  /// all entries have one weight. B is not read. Throws Error(out_of_memory), Error(onednn_error), and
  /// Error(internal) where the contract is broken.
  void multiply(const Gemm& gemm);
  /// By this way, whatever m.
  void multiply_by(CpuGemmWay way, const Gemm& gemm);

  /// Bytes of memory that hold the weight.
  uint64_t weight_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hfload
