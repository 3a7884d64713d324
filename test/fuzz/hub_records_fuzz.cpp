#include "core/format/hub_records.h"

#include <cmath>

#include "test/fuzz/check.h"

namespace hfload::fuzz {
namespace {

void check_listing(std::string_view text) {
  parse_tree_listing(text, [](std::string_view, const ListedFile& file) {
    if (file.checksum) require(checksum_of_etag(file.checksum->digest) == file.checksum);
  });
  require_json(text);
}

void check_metadata(std::string_view text) {
  const DownloadMetadata metadata = parse_download_metadata(text);
  require(std::isfinite(metadata.seconds) && metadata.commit.size() + metadata.etag.size() < text.size());
}

}  // namespace
}  // namespace hfload::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hfload::fuzz;
  refusal_of([&] { check_listing(as_text(data, size)); }, size);
  refusal_of([&] { check_metadata(as_text(data, size)); }, size);
  return 0;
}
