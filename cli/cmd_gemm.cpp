#include <fmt/format.h>

#include <limits>

#include "cli/commands.h"
#include "cli/json_writer.h"
#include "cli/render_gemm.h"

namespace hfload::cli {
namespace {

constexpr uint32_t kGpu = 0;

void require_no_faults(const std::vector<GemmCheck>& checks, const Context& context) {
  uint64_t faults = 0;
  const GemmCheck* first = nullptr;
  for (const GemmCheck& check : checks) {
    if (check.faults > 0 && first == nullptr) first = &check;
    faults += check.faults;
  }
  if (first == nullptr) return;
  context.messages.block(render_gemm_checks(checks));
  throw Error(ErrorCode::gemm_mismatch,
              fmt::format("{} products are wrong, the first by {} {}x{} in {}: {}", faults,
                          gemm_kernel_name(first->rule.kernel), first->rule.tile_m, first->rule.tile_n,
                          gemm_dtype_name(first->dtype), first->first_fault))
      .with_hint("Please report this, with the name of the GPU.");
}

}  // namespace

void run_gemm(const GemmCommand& command, const Context& context) {
  std::string text;
  JsonWriter json;
  json.begin_object().key("schema").string("hfload.gemm/1").key("check");
  if (command.check) {
    const std::vector<GemmCheck> checks = check_gemms(kGpu, std::numeric_limits<int64_t>::max(), nullptr);
    require_no_faults(checks, context);
    text += render_gemm_checks(checks);
    write_gemm_checks(json, checks);
  } else {
    json.null();
  }
  json.key("bench");
  if (command.bench) {
    const GemmBench bench = bench_gemms(kGpu, nullptr);
    text += (text.empty() ? "" : "\n") + render_gemm_bench(bench);
    write_gemm_bench(json, bench);
  } else {
    json.null();
  }
  json.end_object();
  write_standard_output(context.common.json ? json.take() : text);
}

}  // namespace hfload::cli
