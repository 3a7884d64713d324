#include "cli/render_gemm.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>

#include "cli/text.h"

namespace hfload::cli {
namespace {

/// A probe that varies by more than this makes its row void (docs/benchmarks.md).
constexpr double kMostSpread = 1.25;

/// "float32 | 1 | 4096 | 4096 | rows".
std::string product_columns(const GemmSize& size, const std::string& kernel) {
  return fmt::format("{} | {} | {} | {} | {}", gemm_dtype_name(size.dtype), size.m, size.n, size.k, kernel);
}

void begin_product(JsonWriter& json, const GemmSize& size, const char* kernel) {
  json.begin_object().key("dtype").string(gemm_dtype_name(size.dtype));
  json.key("m").number(static_cast<uint64_t>(size.m)).key("n").number(static_cast<uint64_t>(size.n));
  json.key("k").number(static_cast<uint64_t>(size.k)).key("kernel").string(kernel);
}

void write_measurement(JsonWriter& json, std::string_view key, std::optional<double> value) {
  json.key(key);
  value ? json.real(*value) : json.null();
}

/// How many times as long the rival takes; nothing where it took no part.
std::optional<double> ratio_to(std::optional<double> rival_seconds, double seconds) {
  if (!rival_seconds) return std::nullopt;
  return *rival_seconds / seconds;
}

/// The faster of cuBLAS's two interfaces; nothing where neither took part.
std::optional<double> best_rival(const GemmTiming& timing) {
  if (!timing.cublas_seconds) return timing.cublaslt_seconds;
  if (!timing.cublaslt_seconds) return timing.cublas_seconds;
  return std::min(*timing.cublas_seconds, *timing.cublaslt_seconds);
}

std::string tflops(const GemmTiming& timing, std::optional<double> seconds) {
  return seconds ? fmt::format("{:.1f}", timing.size.flops() / *seconds / 1e12) : "-";
}

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

}  // namespace

std::string render_gemm_checks(std::span<const GemmCheck> checks) {
  using Align = TextTable::Align;
  TextTable table({Align::left, Align::left, Align::right, Align::right, Align::right, Align::right});
  table.add_row({"kernel", "dtype", "products", "elements", "wrong", "worst error"});
  for (const GemmCheck& check : checks) {
    if (check.products == 0) continue;
    table.add_row({check.name(), gemm_dtype_name(check.dtype), group_digits(check.products),
                   group_digits(check.elements), group_digits(check.faults),
                   fmt::format("{:.3f}", check.worst)});
  }
  return table.render() + "worst error: the largest, as a part of its bound; at most 1 is right\n";
}

std::string render_gemm_bench(const GemmBench& bench) {
  std::string out = fmt::format(
      "{}, {}\n\n"
      "| dtype | m | n | k | kernel | tile | splits | TFLOP/s | GB/s | cublasGemmEx TFLOP/s | cublasLt "
      "TFLOP/s | % of cuBLAS |\n"
      "|---|---|---|---|---|---|---|---|---|---|---|---|\n",
      bench.gpu, bench.cublas);
  for (const GemmTiming& timing : bench.timings) {
    const GemmRule& rule = timing.plan.rule;
    const std::optional<double> of_rival = ratio_to(best_rival(timing), timing.seconds);
    out += fmt::format("| {} | {} | {} | {} | {:.0f} | {} | {} | {} |\n",
                       product_columns(timing.size, gemm_kernel_name(rule.kernel)), gemm_tile_name(rule),
                       timing.plan.tiling.splits, tflops(timing, timing.seconds),
                       timing.size.bytes() / timing.seconds / 1e9, tflops(timing, timing.cublas_seconds),
                       tflops(timing, timing.cublaslt_seconds),
                       of_rival ? fmt::format("{:.1f}", 100 * *of_rival) : "-");
  }
  return out;
}

std::string render_gemm_bench(const CpuGemmBench& bench) {
  std::string out = fmt::format(
      "{}, {}; {}; {}\n\n"
      "| dtype | m | n | k | way | ms | GFLOP/s | GB/s | ratio to OpenBLAS | limit, same run | part of it | "
      "probe max/min |\n"
      "|---|---|---|---|---|---|---|---|---|---|---|---|\n",
      bench.cpu, count_of(bench.threads, "thread"), bench.onednn, bench.openblas);
  for (const CpuGemmTiming& timing : bench.timings) {
    const std::optional<double> of_rival = ratio_to(timing.openblas_seconds, timing.seconds);
    out += fmt::format("| {} | {:.3f} | {:.1f} | {:.1f} | {} | {} | {:.2f} | {:.2f}{} |\n",
                       product_columns(timing.size, cpu_gemm_way_name(timing.way)), timing.seconds * 1e3,
                       timing.size.flops() / timing.seconds / 1e9, timing.size.bytes() / timing.seconds / 1e9,
                       of_rival ? fmt::format("{:.2f}", *of_rival) : "-", limit_of(timing), timing.of_limit(),
                       timing.limit_spread, timing.limit_spread > kMostSpread ? ", void" : "");
  }
  return out;
}

void write_gemm_checks(JsonWriter& json, std::span<const GemmCheck> checks) {
  json.begin_array();
  for (const GemmCheck& check : checks) {
    if (check.products == 0) continue;
    json.begin_object().key("kernel").string(check.kernel).key("tile").string_or_null(check.tile);
    json.key("dtype").string(gemm_dtype_name(check.dtype));
    json.key("products").number(check.products).key("elements").number(check.elements);
    json.key("faults").number(check.faults).key("worst_error_of_bound").real(check.worst).end_object();
  }
  json.end_array();
}

void write_gemm_bench(JsonWriter& json, const GemmBench& bench) {
  json.begin_object().key("gpu").string(bench.gpu).key("cublas").string(bench.cublas);
  json.key("products").begin_array();
  for (const GemmTiming& timing : bench.timings) {
    const GemmRule& rule = timing.plan.rule;
    begin_product(json, timing.size, gemm_kernel_name(rule.kernel));
    json.key("tile").string(gemm_tile_name(rule));
    json.key("splits").number(static_cast<uint64_t>(timing.plan.tiling.splits));
    write_measurement(json, "seconds", timing.seconds);
    write_measurement(json, "tflops", timing.size.flops() / timing.seconds / 1e12);
    write_measurement(json, "gigabytes_per_second", timing.size.bytes() / timing.seconds / 1e9);
    write_measurement(json, "cublas_seconds", timing.cublas_seconds);
    write_measurement(json, "cublaslt_seconds", timing.cublaslt_seconds);
    write_measurement(json, "of_cublas", ratio_to(best_rival(timing), timing.seconds));
    json.end_object();
  }
  json.end_array().end_object();
}

void write_gemm_bench(JsonWriter& json, const CpuGemmBench& bench) {
  json.begin_object().key("cpu").string(bench.cpu).key("threads").number(bench.threads);
  json.key("onednn").string(bench.onednn).key("openblas").string(bench.openblas);
  json.key("products").begin_array();
  for (const CpuGemmTiming& timing : bench.timings) {
    begin_product(json, timing.size, cpu_gemm_way_name(timing.way));
    write_measurement(json, "seconds", timing.seconds);
    write_measurement(json, "gigaflops", timing.size.flops() / timing.seconds / 1e9);
    write_measurement(json, "gigabytes_per_second", timing.size.bytes() / timing.seconds / 1e9);
    write_measurement(json, "openblas_seconds", timing.openblas_seconds);
    write_measurement(json, "of_openblas", ratio_to(timing.openblas_seconds, timing.seconds));
    json.key("limit").string(limit_name(timing.limit));
    write_measurement(json, "limit_rate", timing.limit_rate);
    write_measurement(json, "limit_spread", timing.limit_spread);
    write_measurement(json, "of_limit", timing.of_limit());
    json.end_object();
  }
  json.end_array().end_object();
}

}  // namespace hfload::cli
