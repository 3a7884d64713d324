#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/run/cpu_gemm.h"
#include "core/run/gemm_timing.h"

namespace hfload {

/// What bounds a product on the CPU.
enum class CpuLimit : uint8_t {
  f32_peak,   ///< fp32 multiply-adds, flop/s
  bf16_peak,  ///< VDPBF16PS, flop/s; for bf16 where oneDNN multiplies it
  read        ///< reading memory, bytes/s; for few rows, unless multiplying them takes longer
};

/// One product, timed in turns with OpenBLAS and with a probe of what bounds it.
struct CpuGemmTiming {
  GemmSize size;
  CpuGemmWay way = CpuGemmWay::rows;
  double seconds = 0;                           ///< median of the blocks, per product
  std::optional<double> openblas_seconds = {};  ///< fp32 only; nothing where OpenBLAS is absent
  CpuLimit limit = CpuLimit::f32_peak;
  double limit_rate = 0;    ///< median of the probe in the same blocks
  double limit_spread = 0;  ///< the probe's greatest rate by its least; above 1.25 the timing says little

  /// The rate as a part of what bounds it.
  double of_limit() const {
    return (limit == CpuLimit::read ? size.bytes() : size.flops()) / seconds / limit_rate;
  }
};

struct CpuGemmBench {
  std::string cpu;  ///< its name
  unsigned threads = 0;
  std::string onednn, openblas;  ///< versions, or why there is none
  std::vector<CpuGemmTiming> timings;
};

/// Times fp32 squares and the projections of Llama 3 8B from one token to a long prompt, with weights packed
/// before, over as many weights as are larger than the last cache together. `progress` gets the part done, 0
/// to 1. Throws what CpuGemm throws.
CpuGemmBench bench_cpu_gemms(CpuEngine& engine, const std::function<void(double)>& progress);

}  // namespace hfload
