#include "cli/render_gemm.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace hfload::cli {
namespace {

std::string tile_of(const GemmRule& rule) { return fmt::format("{}x{}", rule.tile_m, rule.tile_n); }

/// The faster of cuBLAS's two interfaces; nothing where neither took part.
std::optional<double> best_rival(const GemmTiming& timing) {
  if (!timing.cublas_seconds) return timing.cublaslt_seconds;
  if (!timing.cublaslt_seconds) return timing.cublas_seconds;
  return std::min(*timing.cublas_seconds, *timing.cublaslt_seconds);
}

std::string tflops(const GemmTiming& timing, std::optional<double> seconds) {
  return seconds ? fmt::format("{:.1f}", timing.flops() / *seconds / 1e12) : "-";
}

}  // namespace

std::string render_gemm_checks(std::span<const GemmCheck> checks) {
  std::string out =
      "| kernel | tile | dtype | products | elements compared | faults | worst error / bound |\n"
      "|---|---|---|---|---|---|---|\n";
  for (const GemmCheck& check : checks) {
    if (check.products == 0) continue;
    out += fmt::format("| {} | {} | {} | {} | {} | {} | {:.3f} |\n", gemm_kernel_name(check.rule.kernel),
                       tile_of(check.rule), gemm_dtype_name(check.dtype), check.products, check.elements,
                       check.faults, check.worst);
  }
  return out;
}

std::string render_gemm_bench(const GemmBench& bench) {
  std::string out = fmt::format(
      "{}, {}\n\n"
      "| dtype | m | n | k | kernel | tile | splits | TFLOP/s | GB/s | cublasGemmEx TFLOP/s | cublasLt "
      "TFLOP/s | % of cuBLAS |\n"
      "|---|---|---|---|---|---|---|---|---|---|---|---|\n",
      bench.gpu, bench.cublas);
  for (const GemmTiming& timing : bench.timings) {
    const std::optional<double> rival = best_rival(timing);
    out += fmt::format(
        "| {} | {} | {} | {} | {} | {} | {} | {} | {:.0f} | {} | {} | {} |\n", gemm_dtype_name(timing.dtype),
        timing.m, timing.n, timing.k, gemm_kernel_name(timing.plan.rule.kernel), tile_of(timing.plan.rule),
        timing.plan.tiling.splits, tflops(timing, timing.seconds), timing.bytes() / timing.seconds / 1e9,
        tflops(timing, timing.cublas_seconds), tflops(timing, timing.cublaslt_seconds),
        rival ? fmt::format("{:.1f}", 100 * *rival / timing.seconds) : "-");
  }
  return out;
}

void write_gemm_checks(JsonWriter& json, std::span<const GemmCheck> checks) {
  json.begin_array();
  for (const GemmCheck& check : checks) {
    if (check.products == 0) continue;
    json.begin_object().key("kernel").string(gemm_kernel_name(check.rule.kernel));
    json.key("tile").string(tile_of(check.rule)).key("dtype").string(gemm_dtype_name(check.dtype));
    json.key("products").number(check.products).key("elements").number(check.elements);
    json.key("faults").number(check.faults).key("worst_error_of_bound").real(check.worst).end_object();
  }
  json.end_array();
}

void write_gemm_bench(JsonWriter& json, const GemmBench& bench) {
  const auto measurement = [&](std::string_view key, std::optional<double> value) {
    json.key(key);
    value ? json.real(*value) : json.null();
  };
  json.begin_object()
      .key("gpu")
      .string(bench.gpu)
      .key("cublas")
      .string(bench.cublas)
      .key("products")
      .begin_array();
  for (const GemmTiming& timing : bench.timings) {
    const std::optional<double> rival = best_rival(timing);
    json.begin_object().key("dtype").string(gemm_dtype_name(timing.dtype));
    json.key("m").number(static_cast<uint64_t>(timing.m)).key("n").number(static_cast<uint64_t>(timing.n));
    json.key("k").number(static_cast<uint64_t>(timing.k));
    json.key("kernel")
        .string(gemm_kernel_name(timing.plan.rule.kernel))
        .key("tile")
        .string(tile_of(timing.plan.rule));
    json.key("splits").number(static_cast<uint64_t>(timing.plan.tiling.splits));
    measurement("seconds", timing.seconds);
    measurement("tflops", timing.flops() / timing.seconds / 1e12);
    measurement("gigabytes_per_second", timing.bytes() / timing.seconds / 1e9);
    measurement("cublas_seconds", timing.cublas_seconds);
    measurement("cublaslt_seconds", timing.cublaslt_seconds);
    measurement("of_cublas", rival ? std::optional(*rival / timing.seconds) : std::nullopt);
    json.end_object();
  }
  json.end_array().end_object();
}

}  // namespace hfload::cli
