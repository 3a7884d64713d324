#pragma once

#include <span>
#include <string>

#include "cli/json_writer.h"
#include "core/run/cpu_gemm_bench.h"
#include "core/run/cpu_gemm_check.h"

namespace hfload::cli {

/// Tables of Markdown: what was checked, one row for each way and dtype; what was timed.
std::string render_cpu_gemm_checks(std::span<const CpuGemmCheck> checks);
std::string render_cpu_gemm_bench(const CpuGemmBench& bench);

/// The values of "check" and "bench" in the document of gemm --cpu --json.
void write_cpu_gemm_checks(JsonWriter& json, std::span<const CpuGemmCheck> checks);
void write_cpu_gemm_bench(JsonWriter& json, const CpuGemmBench& bench);

}  // namespace hfload::cli
