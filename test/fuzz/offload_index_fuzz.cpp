#include "core/format/offload_index.h"

#include <optional>

#include "core/base/error.h"
#include "test/fuzz/check.h"

namespace hfload::fuzz {
namespace {

std::vector<OffloadEntry> parse(std::string_view text, size_t piece_bytes = kOffloadIndexPieceBytes) {
  std::vector<OffloadEntry> entries;
  parse_offload_index(
      text, [&](OffloadEntry entry) { entries.push_back(std::move(entry)); }, piece_bytes);
  return entries;
}

/// Small pieces are taken exactly where one is, for the same.
void check_pieces(std::string_view text) {
  constexpr size_t kPieceBytes = 5;
  std::optional<std::vector<OffloadEntry>> in_pieces;
  try {
    in_pieces = parse(text, kPieceBytes);
  } catch (const Error&) {
  }
  try {
    const std::vector<OffloadEntry> entries = parse(text);
    require(in_pieces == entries);
  } catch (const Error&) {
    require(!in_pieces);
  }
}

void check_offload_index(std::string_view text) {
  check_pieces(text);
  const std::vector<OffloadEntry> entries = parse(text);
  for (const OffloadEntry& entry : entries) require(entry.in_place() || !entry.dtype.empty());
  std::string written;
  const TextSink sink = [&](std::string_view part) { written += part; };
  OffloadIndexWriter writer(sink);
  for (const OffloadEntry& entry : entries) writer.add(entry);
  writer.finish();
  require(parse(written) == entries);
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
