#include "core/format/tensor_hashes.h"

#include "test/fuzz/check.h"

namespace hfload::fuzz {
namespace {

void check_tensor_hashes(std::string_view text) {
  parse_tensor_hashes(text, [](std::string_view, const SavedHash& saved) {
    require(saved.hash.size() == 16 && !saved.dtype.empty());
  });
  require_json(text);
}

}  // namespace
}  // namespace hfload::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  hfload::fuzz::refusal_of([&] { hfload::fuzz::check_tensor_hashes(hfload::fuzz::as_text(data, size)); },
                           size);
  return 0;
}
