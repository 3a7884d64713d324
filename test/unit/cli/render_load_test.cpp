#include "cli/render_load.h"

#include <catch2/catch.hpp>

namespace hfload::cli {
namespace {

std::string document(const LoadStatistics& statistics) {
  PlannedModel model;
  model.sizes.module_bytes = {0};
  model.sizes.cache_bytes = {0};
  LoadOutcome outcome;
  outcome.statistics = statistics;
  std::string text;
  write_load_json(model, {}, {}, outcome, [&](std::string_view part) { text += part; });
  return text;
}

bool has(const std::string& text, const std::string& line) { return text.find(line) != std::string::npos; }

TEST_CASE("The JSON of a load says where its readers ran and how GPUDirect Storage read") {
  const std::string without = document({});
  CHECK(has(without, "\"numa_node\": null"));
  CHECK(has(without, "\"gds\": null"));
  CHECK(has(without, "\"gds_bytes\": 0\n"));

  using Mode = GdsLibrary::Mode;
  for (const auto& [mode, name] : {std::pair{Mode::peer_to_peer, "\"p2p\""},
                                   {Mode::compatibility, "\"compat\""},
                                   {Mode::mixed, "\"mixed\""}}) {
    LoadStatistics statistics;
    statistics.numa_node = 3;
    statistics.gds = GdsLibrary::Statistics{mode, 4096};
    const std::string with = document(statistics);
    CHECK(has(with, "\"numa_node\": 3"));
    CHECK(has(with, std::string("\"gds\": ") + name));
    CHECK(has(with, "\"gds_bytes\": 4096\n"));
  }
}

}  // namespace
}  // namespace hfload::cli
