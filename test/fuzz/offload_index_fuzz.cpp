#include "core/format/offload_index.h"

#include "test/fuzz/check.h"

namespace hfload::fuzz {
namespace {

void check_offload_index(std::string_view text) {
  const std::vector<OffloadEntry> entries = parse_offload_index(text);
  for (const OffloadEntry& entry : entries) require(entry.in_place() || !entry.dtype.empty());
  const std::string written = format_offload_index(entries);
  require(parse_offload_index(written) == entries);
  require_json(text);
  require_json(written);
}

}  // namespace
}  // namespace hfload::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  hfload::fuzz::refusal_of([&] { hfload::fuzz::check_offload_index(hfload::fuzz::as_text(data, size)); },
                           size);
  return 0;
}
