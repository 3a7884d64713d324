#include "core/plan/cache.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <set>

#include "core/base/error.h"
#include "core/model/shell.h"
#include "test/unit/plan/cached_blocks.h"

namespace hfload {
namespace {

using namespace test;

Shell shell_of(const ConfigValue& config, Dtype dtype) {
  Checkpoint checkpoint;
  checkpoint.has_config = true;
  checkpoint.config = ModelConfig(config);
  return build_shell(checkpoint, {.dtype = dtype});
}

/// Sums by layer, self-attention's and cross-attention's bytes apart, as the fixture has them. A layer's
/// caches stand in module order, its own before the one over the source.
std::vector<std::vector<uint64_t>> by_layer(const std::vector<CacheBytes>& caches, size_t layers) {
  REQUIRE(caches.size() % layers == 0);
  std::vector<std::vector<uint64_t>> sums;
  for (size_t i = 0; i < caches.size(); i += caches.size() / layers)
    sums.push_back({caches[i].bytes, caches.size() == layers ? 0 : caches[i + 1].bytes});
  return sums;
}

std::vector<std::vector<uint64_t>> recorded(const ConfigValue& value) {
  std::vector<std::vector<uint64_t>> layers;
  for (const ConfigValue& layer : array_of(value))
    layers.push_back({uint_of(array_of(layer)[0]), uint_of(array_of(layer)[1])});
  return layers;
}

/// Compares a case of the oracle with the caches that the config's declaration has; returns how many windows
/// it found full.
size_t check_caches(const ConfigValue& c, const ConfigValue& config) {
  const Dtype dtype = dtype_of(at(c, "dtype")).value();
  const Shell shell = shell_of(config, dtype);
  const uint64_t tokens = uint_of(at(c, "tokens"));
  INFO(tokens << " tokens");
  const auto attended = recorded(at(c, "attended")), kept = recorded(at(c, "kept"));
  const auto caches = cache_bytes(shell.tree, {tokens, uint_of(at(c, "batch")), dtype});
  CHECK(by_layer(caches, attended.size()) == attended);
  if (!at(c, "static").is_null()) CHECK(by_layer(caches, attended.size()) == recorded(at(c, "static")));
  // Between two tokens, transformers keeps one token less than a full window.
  size_t windowed = 0;
  for (size_t i = 0; i < kept.size(); ++i) {
    CHECK(kept[i][0] <= attended[i][0]);
    windowed += kept[i][0] < attended[i][0];
  }
  return windowed;
}

}  // namespace

TEST_CASE("caches take what transformers allocates for them", "[plan]") {
  const ConfigValue fixture = read_json_fixture("caches/caches.json");
  const ConfigValue& configs = at(fixture, "configs");
  size_t cases = 0, windowed = 0;
  for (const ConfigValue& c : array_of(at(fixture, "cases"))) {
    INFO(string_of(at(c, "model")));
    windowed += check_caches(c, at(configs, string_of(at(c, "model"))));
    ++cases;
  }
  CHECK(cases == 140);
  CHECK(windowed > 20);
}

TEST_CASE("every family that generates takes what transformers allocates for it", "[plan]") {
  size_t cases = 0, windowed = 0;
  std::set<std::string> types;
  for (const ConfigValue& c : read_xz_jsonl_fixture("caches/families.jsonl.xz")) {
    const ConfigValue& config = at(c, "config");
    INFO(string_of(at(c, "case")));
    windowed += check_caches(c, config);
    types.insert(string_of(at(config, "model_type")));
    // What transformers caches of latent attention is more than the latent vectors.
    if (const ConfigValue* expanded = c.find("expanded"); expanded != nullptr)
      CHECK(recorded(*expanded)[0][0] > recorded(at(c, "attended"))[0][0]);
    ++cases;
  }
  CHECK(cases == 685);
  CHECK(types.size() == 76);
  CHECK(windowed > 20);
}

TEST_CASE("latent attention, states and fixed sources", "[plan]") {
  ModuleTree tree;
  ModuleBuilder b(tree, Dtype::bf16, false);
  b.latent_cache(512 + 64);
  b.state_cache(1000);
  b.cross_attention_cache(2, 8, 1500);
  b.cross_attention_cache(2, 8);
  b.attention_cache(1, 4, 100);
  b.finish();
  const auto caches = cache_bytes(tree, {4096, 3, Dtype::bf16});
  // DeepSeek-V2 (arXiv 2405.04434, section 2.1): kv_lora_rank + qk_rope_head_dim elements a token and layer.
  CHECK(caches[0].bytes == 3ULL * 4096 * 576 * 2);
  CHECK(caches[0].bytes_per_token == 1152);
  CHECK(caches[1].bytes == 3ULL * 1000 * 2);
  CHECK(caches[1].bytes_per_token == 0);
  CHECK(caches[2].bytes == 3ULL * 1500 * 32 * 2);
  CHECK(caches[2].bytes_per_token == 0);
  CHECK(caches[3].bytes == 3ULL * 4096 * 32 * 2);
  CHECK(caches[3].bytes_per_token == 64);
  CHECK(caches[4].bytes == 3ULL * 100 * 8 * 2);
  CHECK(caches[4].bytes_per_token == 0);
  CHECK(cache_bytes(tree, {99, 1, Dtype::bf16})[4].bytes_per_token == 16);
  CHECK(cache_bytes(tree, {100, 1, Dtype::bf16})[4].bytes_per_token == 0);
  CHECK(cache_bytes(tree, {99, 1, Dtype::f32})[4].bytes == 99ULL * 8 * 4);
}

TEST_CASE("caches beyond 2^50 bytes are refused, whatever makes them so", "[plan]") {
  const ModuleTree tree = blocks(2, 10, 4);
  const auto is_refused = [&](uint64_t context, uint64_t batch) {
    try {
      cache_bytes(tree, {context, batch, Dtype::f32});
      return false;
    } catch (const Error& e) {
      return e.code() == ErrorCode::does_not_fit;
    }
  };
  CHECK(is_refused(UINT64_MAX, 1));
  CHECK(is_refused(1, UINT64_MAX));
  CHECK(is_refused(uint64_t{1} << 60, uint64_t{1} << 60));
  CHECK(is_refused(uint64_t{1} << 45, 1));  // 2^49 each, together too many
  CHECK_FALSE(is_refused((uint64_t{1} << 45) - 1, 1));
}

TEST_CASE("the caches of offloaded layers are kept on the first GPU", "[plan]") {
  // Ten blocks of 100 bytes with 40 bytes of cache each. A GPU of 1000 holds back a block, 100, and all ten
  // caches are on it, 400: of the other 500, five blocks' weights.
  const ModuleTree tree = blocks(10, 100, 4);
  const MaxMemory memory = {{Device::gpu(0), 1000}, {Device::cpu(), 10000}};
  const Planned planned = plan_blocks(tree, {10, 1, Dtype::u8}, memory);
  check_plan(tree, planned, memory);
  const DeviceUsage& gpu = usage(planned.plan, Device::gpu(0));
  CHECK(gpu.used_bytes == 500);
  CHECK(gpu.cache_bytes == 400);
  CHECK(gpu.budget_bytes == 1000);
  CHECK(gpu.reserved_bytes == 100);
  CHECK(gpu.cache_bytes_per_token == 40);
  CHECK(usage(planned.plan, Device::cpu()).used_bytes == 500);
  CHECK(usage(planned.plan, Device::cpu()).cache_bytes == 0);
}

TEST_CASE("the CPU's budget is not charged for caches that a GPU holds", "[plan]") {
  // Beside the 100 that it holds back for a layer, the CPU has room for the weights of exactly seven blocks.
  const ModuleTree tree = blocks(10, 100, 4);
  const MaxMemory memory = {{Device::gpu(0), 800}, {Device::cpu(), 800}};
  const Planned planned = plan_blocks(tree, {10, 1, Dtype::u8}, memory);
  check_plan(tree, planned, memory);
  CHECK(usage(planned.plan, Device::gpu(0)).used_bytes == 300);
  CHECK(usage(planned.plan, Device::cpu()).used_bytes == 700);
  CHECK(usage(planned.plan, Device::disk()).used_bytes == 0);
}

TEST_CASE("without a GPU the caches are on the CPU, those of layers on the disk too", "[plan]") {
  const ModuleTree tree = blocks(10, 100, 4);
  const MaxMemory memory = {{Device::cpu(), 1000}};
  const Planned planned = plan_blocks(tree, {10, 1, Dtype::u8}, memory);
  check_plan(tree, planned, memory);
  CHECK(usage(planned.plan, Device::cpu()).cache_bytes == 400);
  CHECK(usage(planned.plan, Device::cpu()).used_bytes == 500);
  CHECK(usage(planned.plan, Device::disk()).used_bytes == 500);
}

TEST_CASE("a GPU whose budget the offloaded caches take whole is not used", "[plan]") {
  const ModuleTree tree = blocks(10, 100, 40);
  const MaxMemory memory = {{Device::gpu(0), 900}, {Device::cpu(), 100000}};
  const Planned planned = plan_blocks(tree, {10, 1, Dtype::u8}, memory);
  check_plan(tree, planned, memory);
  CHECK(usage(planned.plan, Device::cpu()).cache_bytes == 4000);
  CHECK(planned.plan.warnings.size() == 1);
}

TEST_CASE("plans with caches keep every budget", "[plan]") {
  for (const Strategy strategy : {Strategy::sequential, Strategy::balanced_auto, Strategy::tight}) {
    for (const uint64_t window : {0, 6}) {
      for (double gpu = 300; gpu < 4000; gpu += 170) {
        const ModuleTree tree = blocks(12, 100, 12, 150, window);
        const MaxMemory memory = {{Device::gpu(0), gpu}, {Device::gpu(1), gpu / 2}, {Device::cpu(), 900}};
        INFO("GPU 0 with " << gpu << ", window " << window);
        const Planned planned = plan_blocks(tree, {10, 2, Dtype::u8}, memory, strategy);
        if (main_device(planned.plan.device_map).is_gpu()) check_plan(tree, planned, memory);
      }
    }
  }
}

TEST_CASE("tight with caches is the best of all divisions", "[plan]") {
  std::mt19937 random(7);
  const auto draw = [&](uint64_t least, uint64_t most) { return least + random() % (most - least + 1); };
  size_t offloaded = 0;
  for (int round = 0; round < 1000; ++round) {
    const size_t n = draw(1, 7);
    std::vector<double> weights(n), caches(n);
    ModuleTree tree;
    ModuleBuilder b(tree, Dtype::u8, false);
    b.list("layers", n, [&](uint64_t i) {
      b.module(index_name(i), "Block", [&] {
        const uint64_t weight = draw(1, 60), cache = draw(0, 10);
        b.parameter("weight", {weight});
        b.latent_cache(cache);
        weights[i] = static_cast<double>(weight);
        caches[i] = static_cast<double>(cache);
      });
    });
    b.finish();
    const MaxMemory memory = {{Device::gpu(0), static_cast<double>(draw(1, 160))},
                              {Device::gpu(1), static_cast<double>(draw(1, 160))},
                              {Device::cpu(), static_cast<double>(draw(1, 160))}};

    // Weights on the disk, then on the CPU, of every division that a GPU runs and that fits.
    std::optional<std::pair<double, double>> best;
    const auto sum = [](const std::vector<double>& of, size_t from, size_t to) {
      double total = 0;
      for (size_t i = from; i < to; ++i) total += of[i];
      return total;
    };
    const auto largest = [&](size_t from) {
      return from == n
                 ? 0.0
                 : *std::max_element(weights.begin() + static_cast<std::ptrdiff_t>(from), weights.end());
    };
    for (size_t first = 0; first <= n; ++first) {
      for (size_t second = std::max<size_t>(first, 1); second <= n; ++second) {
        for (size_t cpu = second; cpu <= n; ++cpu) {
          const double extra = sum(caches, second, n) + largest(second);
          const double one = sum(weights, 0, first) + sum(caches, 0, first) + (first > 0 ? extra : 0);
          const double two =
              sum(weights, first, second) + sum(caches, first, second) + (first > 0 ? 0 : extra);
          const double host = cpu > second ? sum(weights, second, cpu) + largest(cpu) : 0;
          if (one > memory[0].bytes || two > memory[1].bytes || host > memory[2].bytes) continue;
          const std::pair found{sum(weights, cpu, n), sum(weights, second, cpu)};
          if (!best || found < *best) best = found;
        }
      }
    }
    INFO("round " << round);
    const Planned planned = plan_blocks(tree, {1, 1, Dtype::u8}, memory, Strategy::tight);
    CHECK(main_device(planned.plan.device_map).is_gpu() == best.has_value());
    if (!best) continue;
    check_plan(tree, planned, memory);
    CHECK(usage(planned.plan, Device::disk()).used_bytes == best->first);
    CHECK(usage(planned.plan, Device::cpu()).used_bytes == best->second);

    offloaded += best->first + best->second > 0;
  }
  CHECK(offloaded > 80);
}

TEST_CASE("a module that caches stays whole, though its class may be split", "[plan]") {
  ModuleTree tree;
  ModuleBuilder b(tree, Dtype::u8, false);
  b.module("attention", "Attention", [&] {
    b.module("k", "Linear", [&] { b.parameter("weight", {100}); });
    b.module("v", "Linear", [&] { b.parameter("weight", {100}); });
    b.attention_cache(1, 1);
  });
  b.module("head", "Linear", [&] { b.parameter("weight", {10}); });
  b.finish();
  const MaxMemory memory = {{Device::gpu(0), 190}, {Device::gpu(1), 1000}};
  for (const Strategy strategy : {Strategy::sequential, Strategy::tight}) {
    const Planned planned = plan_blocks(tree, {5, 1, Dtype::u8}, memory, strategy);
    check_plan(tree, planned, memory);
    CHECK(dictionary(planned.plan.device_map) == Dictionary{{"", "1"}});
  }
  // tight would put one half on each of two GPUs that are too small for both.
  const MaxMemory small = {{Device::gpu(0), 150}, {Device::gpu(1), 150}, {Device::cpu(), 1000}};
  const Planned planned = plan_blocks(tree, {5, 1, Dtype::u8}, small, Strategy::tight);
  CHECK(dictionary(planned.plan.device_map) == Dictionary{{"", "cpu"}});
}

TEST_CASE("sizes with caches remember what of them is caches", "[plan]") {
  const ModuleTree tree = blocks(3, 100, 4, 7);
  const ModuleSizes plain = compute_module_sizes(tree, std::nullopt);
  ModuleSizes sizes = plain;
  add_cache_bytes(sizes, tree, cache_bytes(tree, {10, 1, Dtype::u8}));
  CHECK(sizes.total() == 314 + 120);
  CHECK(sizes.weights(0) == 314);
  CHECK(sizes.cache(0) == 120);
  CHECK(plain.cache(0) == 0);
  for (ModuleId m = 0; m < tree.modules.size(); ++m) CHECK(sizes.weights(m) == plain.module_bytes[m]);
}

}  // namespace hfload
