#include "core/plan/device_map.h"

#include <set>

#include "test/fuzz/check.h"

namespace hfload::fuzz {
namespace {

void check_device_map(std::string_view text) {
  try {
    std::set<std::string> modules;
    for (const DeviceMapEntry& entry : parse_device_map(text)) {
      require(simdjson::validate_utf8(entry.module.data(), entry.module.size()));
      require(modules.insert(entry.module).second);
      require(parse_device(to_string(entry.device)) == entry.device);
    }
    require(!modules.empty());
  } catch (const Error& error) {
    // A text that is well-formed and no map.
    if (error.code() != ErrorCode::invalid_device && error.code() != ErrorCode::invalid_device_map) throw;
  }
}

}  // namespace
}  // namespace hfload::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  hfload::fuzz::refusal_of([&] { hfload::fuzz::check_device_map(hfload::fuzz::as_text(data, size)); }, size);
  return 0;
}
