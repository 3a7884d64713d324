#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <thread>

#include "cli/commands.h"
#include "cli/json_writer.h"
#include "cli/render_cpu_gemm.h"
#include "cli/render_gemm.h"
#include "cli/text.h"

namespace hfload::cli {
namespace {

constexpr uint32_t kGpu = 0;
constexpr unsigned kMostThreads = 256;

std::string name_of(const GemmCheck& check) {
  return fmt::format("{} {}x{}", gemm_kernel_name(check.rule.kernel), check.rule.tile_m, check.rule.tile_n);
}
std::string name_of(const CpuGemmCheck& check) { return cpu_gemm_way_name(check.way); }

template <class Check>
void require_no_faults(const std::vector<Check>& checks, const std::string& table, const char* processor,
                       const Context& context) {
  uint64_t faults = 0;
  const Check* first = nullptr;
  for (const Check& check : checks) {
    if (check.faults > 0 && first == nullptr) first = &check;
    faults += check.faults;
  }
  if (first == nullptr) return;
  context.messages.block(table);
  throw Error(ErrorCode::gemm_mismatch,
              fmt::format("{} products are wrong, the first by {} in {}: {}", faults, name_of(*first),
                          gemm_dtype_name(first->dtype), first->first_fault))
      .with_hint(fmt::format("Please report this, with the name of the {}.", processor));
}

/// The products' front door on one kind of processor: text for people is returned, the values of "check" and
/// "bench" are written.
struct GpuGemms {
  const Context& context;

  std::string check(JsonWriter& json) {
    const std::vector<GemmCheck> checks = check_gemms(kGpu, std::numeric_limits<int64_t>::max(), nullptr);
    std::string table = render_gemm_checks(checks);
    require_no_faults(checks, table, "GPU", context);
    write_gemm_checks(json, checks);
    return table;
  }
  std::string bench(JsonWriter& json) {
    const GemmBench timed = bench_gemms(kGpu, nullptr);
    write_gemm_bench(json, timed);
    return render_gemm_bench(timed);
  }
};

struct CpuGemms {
  const Context& context;
  CpuEngine engine;

  std::string check(JsonWriter& json) {
    const std::vector<CpuGemmCheck> checks = check_cpu_gemms(engine, nullptr);
    std::string table =
        fmt::format("{}, {}\n\n", engine.description(), count_of(engine.threads(), "thread")) +
        render_cpu_gemm_checks(checks);
    require_no_faults(checks, table, "CPU", context);
    write_cpu_gemm_checks(json, checks);
    return table;
  }
  std::string bench(JsonWriter& json) {
    const CpuGemmBench timed = bench_cpu_gemms(engine, nullptr);
    write_cpu_gemm_bench(json, timed);
    return render_cpu_gemm_bench(timed);
  }
};

template <class Gemms>
void run(const GemmCommand& command, const char* device, Gemms gemms, const Context& context) {
  std::string text;
  JsonWriter json;
  json.begin_object().key("schema").string("hfload.gemm/1").key("device").string(device).key("check");
  if (command.check) {
    text += gemms.check(json);
  } else {
    json.null();
  }
  json.key("bench");
  if (command.bench) {
    text += (text.empty() ? "" : "\n") + gemms.bench(json);
  } else {
    json.null();
  }
  json.end_object();
  write_standard_output(context.common.json ? json.take() : text);
}

}  // namespace

void run_gemm(const GemmCommand& command, const Context& context) {
  if (!command.cpu) return run(command, "gpu", GpuGemms{context}, context);
  const unsigned threads = command.threads != 0
                               ? command.threads
                               : std::clamp(std::thread::hardware_concurrency(), 1U, kMostThreads);
  run(command, "cpu", CpuGemms{context, CpuEngine(threads)}, context);
}

}  // namespace hfload::cli
