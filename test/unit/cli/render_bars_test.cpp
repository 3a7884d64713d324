#include "cli/render_bars.h"

#include <catch2/catch.hpp>
#include <cmath>

namespace hfload::cli {
namespace {

DeviceUsage usage(Device device, double budget, double weights, double caches = 0, double held_back = 0) {
  DeviceUsage usage;
  usage.device = device;
  usage.budget_bytes = budget;
  usage.used_bytes = weights;
  usage.cache_bytes = caches;
  usage.reserved_bytes = held_back;
  return usage;
}

TEST_CASE("Bars are scaled to each device's budget") {
  DevicePlan plan;
  plan.devices = {usage(Device::gpu(0), 1000, 500, 100, 200), usage(Device::cpu(), 100, 25)};
  CHECK(render_bars(device_shares(plan), {.columns = 33}) ==
        "0    ##########==----....  1000 B\n"
        "     weights 500 B  caches 100 B\n"
        "     held back 200 B  free 200 B\n"
        "cpu  #####...............   100 B\n"
        "     weights 25 B  free 75 B\n"
        "     # weights  = caches\n"
        "     - held back  . free\n");
}

TEST_CASE("What is there at all has a cell, and what is not there has none") {
  DevicePlan plan;
  plan.devices = {usage(Device::gpu(0), 1e12, 1, 1)};
  const std::string text = render_bars(device_shares(plan), {.columns = 60});
  CHECK(text.find("0  #=....") == 0);
  CHECK(text.find('-') == std::string::npos);
}

TEST_CASE("A device that holds more than its budget is drawn full") {
  DevicePlan plan;
  plan.devices = {usage(Device::gpu(0), 100, 150, 50)};
  const auto shares = device_shares(plan);
  CHECK(shares[0].whole() == 200);
  CHECK(shares[0].free == 0);
  CHECK(render_bars(shares, {.columns = 30}).find('.') == std::string::npos);
}

TEST_CASE("Held back is at most what is left") {
  DevicePlan plan;
  plan.devices = {usage(Device::gpu(0), 100, 80, 0, 50)};
  CHECK(device_shares(plan)[0].held_back == 20);
}

TEST_CASE("Devices without budget and contents are not drawn") {
  DevicePlan plan;
  plan.devices = {usage(Device::gpu(0), 0, 0), usage(Device::disk(), INFINITY, 0)};
  CHECK(device_shares(plan).empty());
  CHECK(render_bars({}, {}).empty());
}

TEST_CASE("Colours do not count as columns") {
  DevicePlan plan;
  plan.devices = {usage(Device::gpu(0), 100, 30, 10, 20), usage(Device::disk(), INFINITY, 7)};
  for (size_t columns = 24; columns < 130; ++columns) {
    std::string text = render_bars(device_shares(plan), {columns, true, true}), plain;
    for (size_t at = 0; at < text.size(); ++at) {
      if (text[at] == '\x1b')
        at = text.find('m', at);
      else
        plain += text[at];
    }
    CHECK(plain == render_bars(device_shares(plan), {columns, true, false}));
  }
}

TEST_CASE("Weights get what the caches leave of a budget") {
  PlannedModel model;
  model.max_memory = {{Device::gpu(0), 1000}, {Device::gpu(1), 10}, {Device::cpu(), 50}};
  model.plan.devices = {usage(Device::gpu(0), 600, 5, 100), usage(Device::gpu(1), 10, 5, 20),
                        usage(Device::cpu(), 50, 5)};
  const MaxMemory memory = memory_for_weights(model);
  CHECK(memory[0].bytes == 900);
  CHECK(memory[1].bytes == 0);
  CHECK(memory[2].bytes == 50);
}

}  // namespace
}  // namespace hfload::cli
