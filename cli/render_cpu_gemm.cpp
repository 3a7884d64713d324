#include "cli/render_cpu_gemm.h"

#include <fmt/format.h>

#include "cli/text.h"

namespace hfload::cli {
namespace {

/// A probe that varies by more than this makes its row void (docs/benchmarks.md).
constexpr double kMostSpread = 1.25;

const char* limit_name(CpuLimit limit) {
  switch (limit) {
    case CpuLimit::f32_peak:
      return "float32_peak";
    case CpuLimit::bf16_peak:
      return "bfloat16_peak";
    case CpuLimit::read:
      break;
  }
  return "read";
}

std::string limit_of(const CpuGemmTiming& timing) {
  switch (timing.limit) {
    case CpuLimit::f32_peak:
      return fmt::format("fp32 multiply-adds, {:.0f} GFLOP/s", timing.limit_rate / 1e9);
    case CpuLimit::bf16_peak:
      return fmt::format("VDPBF16PS, {:.0f} GFLOP/s", timing.limit_rate / 1e9);
    case CpuLimit::read:
      break;
  }
  return fmt::format("read scan, {:.1f} GB/s", timing.limit_rate / 1e9);
}

std::optional<double> of_openblas(const CpuGemmTiming& timing) {
  if (!timing.openblas_seconds) return std::nullopt;
  return *timing.openblas_seconds / timing.seconds;
}

}  // namespace

std::string render_cpu_gemm_checks(std::span<const CpuGemmCheck> checks) {
  std::string out =
      "| way | dtype | products | elements compared | faults | worst error / bound |\n"
      "|---|---|---|---|---|---|\n";
  for (const CpuGemmCheck& check : checks) {
    out +=
        fmt::format("| {} | {} | {} | {} | {} | {:.3f} |\n", cpu_gemm_way_name(check.way),
                    gemm_dtype_name(check.dtype), check.products, check.elements, check.faults, check.worst);
  }
  return out;
}

std::string render_cpu_gemm_bench(const CpuGemmBench& bench) {
  std::string out = fmt::format(
      "{}, {}; {}; {}\n\n"
      "| dtype | m | n | k | way | ms | GFLOP/s | GB/s | ratio to OpenBLAS | limit, same run | part of it | "
      "probe max/min |\n"
      "|---|---|---|---|---|---|---|---|---|---|---|---|\n",
      bench.cpu, count_of(bench.threads, "thread"), bench.onednn, bench.openblas);
  for (const CpuGemmTiming& timing : bench.timings) {
    const std::optional<double> rival = of_openblas(timing);
    out += fmt::format(
        "| {} | {} | {} | {} | {} | {:.3f} | {:.1f} | {:.1f} | {} | {} | {:.2f} | {:.2f}{} |\n",
        gemm_dtype_name(timing.dtype), timing.m, timing.n, timing.k, cpu_gemm_way_name(timing.way),
        timing.seconds * 1e3, timing.flops() / timing.seconds / 1e9, timing.bytes() / timing.seconds / 1e9,
        rival ? fmt::format("{:.2f}", *rival) : "-", limit_of(timing), timing.of_limit(), timing.limit_spread,
        timing.limit_spread > kMostSpread ? ", void" : "");
  }
  return out;
}

void write_cpu_gemm_checks(JsonWriter& json, std::span<const CpuGemmCheck> checks) {
  json.begin_array();
  for (const CpuGemmCheck& check : checks) {
    json.begin_object().key("kernel").string(cpu_gemm_way_name(check.way)).key("tile").null();
    json.key("dtype").string(gemm_dtype_name(check.dtype));
    json.key("products").number(check.products).key("elements").number(check.elements);
    json.key("faults").number(check.faults).key("worst_error_of_bound").real(check.worst).end_object();
  }
  json.end_array();
}

void write_cpu_gemm_bench(JsonWriter& json, const CpuGemmBench& bench) {
  const auto measurement = [&](std::string_view key, std::optional<double> value) {
    json.key(key);
    value ? json.real(*value) : json.null();
  };
  json.begin_object().key("cpu").string(bench.cpu).key("threads").number(bench.threads);
  json.key("onednn").string(bench.onednn).key("openblas").string(bench.openblas);
  json.key("products").begin_array();
  for (const CpuGemmTiming& timing : bench.timings) {
    json.begin_object().key("dtype").string(gemm_dtype_name(timing.dtype));
    json.key("m").number(static_cast<uint64_t>(timing.m)).key("n").number(static_cast<uint64_t>(timing.n));
    json.key("k").number(static_cast<uint64_t>(timing.k)).key("kernel").string(cpu_gemm_way_name(timing.way));
    measurement("seconds", timing.seconds);
    measurement("gigaflops", timing.flops() / timing.seconds / 1e9);
    measurement("gigabytes_per_second", timing.bytes() / timing.seconds / 1e9);
    measurement("openblas_seconds", timing.openblas_seconds);
    measurement("of_openblas", of_openblas(timing));
    json.key("limit").string(limit_name(timing.limit));
    measurement("limit_rate", timing.limit_rate);
    measurement("limit_spread", timing.limit_spread);
    measurement("of_limit", timing.of_limit());
    json.end_object();
  }
  json.end_array().end_object();
}

}  // namespace hfload::cli
