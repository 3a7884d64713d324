#pragma once

#include <span>
#include <string>

#include "cli/json_writer.h"
#include "core/run/cpu_gemm_bench.h"
#include "core/run/gemm_bench.h"
#include "core/run/gemm_check.h"

namespace hfload::cli {

/// What was checked, one row for each kernel, tile and dtype.
std::string render_gemm_checks(std::span<const GemmCheck> checks);
/// What was timed: a table of Markdown, for docs/benchmarks.md.
std::string render_gemm_bench(const GemmBench& bench);
std::string render_gemm_bench(const CpuGemmBench& bench);

/// The values of "check" and "bench" in the document of gemm --json.
void write_gemm_checks(JsonWriter& json, std::span<const GemmCheck> checks);
void write_gemm_bench(JsonWriter& json, const GemmBench& bench);
void write_gemm_bench(JsonWriter& json, const CpuGemmBench& bench);

}  // namespace hfload::cli
