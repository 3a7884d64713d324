#include <fmt/core.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <thread>

#include "cli/commands.h"
#include "cli/json_writer.h"
#include "cli/render_gemm.h"
#include "cli/text.h"

namespace hfload::cli {
namespace {

constexpr uint32_t kGpu = 0;
constexpr unsigned kMostThreads = 256;

void require_no_faults(std::span<const GemmCheck> checks, const std::string& table, const char* processor,
                       const Context& context) {
  uint64_t faults = 0;
  for (const GemmCheck& check : checks) faults += check.faults;
  if (faults == 0) return;
  const auto first = std::ranges::find_if(checks, [](const GemmCheck& check) { return check.faults > 0; });
  context.messages.block(table);
  throw Error(ErrorCode::gemm_mismatch,
              fmt::format("{} products are wrong, the first by {} in {}: {}", faults, first->name(),
                          gemm_dtype_name(first->dtype), first->first_fault))
      .with_hint(fmt::format("Please report this, with the name of the {}.", processor));
}

}  // namespace

void run_gemm(const GemmCommand& command, const Context& context) {
  std::optional<CpuEngine> engine;
  if (command.cpu) {
    engine.emplace(command.threads != 0 ? command.threads
                                        : std::clamp(std::thread::hardware_concurrency(), 1U, kMostThreads));
  }
  std::string text;
  JsonWriter json;
  json.begin_object().key("schema").string("hfload.gemm/1").key("device").string(engine ? "cpu" : "gpu");
  json.key("check");
  if (command.check) {
    const std::vector<GemmCheck> checks =
        engine ? check_cpu_gemms(*engine, nullptr)
               : check_gemms(kGpu, std::numeric_limits<int64_t>::max(), nullptr);
    if (engine)
      text = fmt::format("{}, {}\n\n", engine->description(), count_of(engine->threads(), "thread"));
    text += render_gemm_checks(checks);
    require_no_faults(checks, text, engine ? "CPU" : "GPU", context);
    write_gemm_checks(json, checks);
  } else {
    json.null();
  }
  json.key("bench");
  const auto add_bench = [&](const auto& timed) {
    write_gemm_bench(json, timed);
    text += (text.empty() ? "" : "\n") + render_gemm_bench(timed);
  };
  if (!command.bench) {
    json.null();
  } else if (engine) {
    add_bench(bench_cpu_gemms(*engine, nullptr));
  } else {
    add_bench(bench_gemms(kGpu, nullptr));
  }
  json.end_object();
  write_standard_output(context.common.json ? json.take() : text);
}

}  // namespace hfload::cli
