#include "core/format/model_config.h"

#include "test/fuzz/check.h"

namespace hfload::fuzz {
namespace {

/// Getters refuse by their own code, or give a value.
template <class Get>
void check_getter(Get&& get) {
  try {
    get();
  } catch (const Error& error) {
    require(error.code() == ErrorCode::invalid_config);
  }
}

void check_config(std::string_view text) {
  const ModelConfig config = parse_model_config(text);
  for (const auto& member : std::get<ConfigValue::Object>(config.root().value)) {
    const std::string& key = member.first;
    require(config.find(key) == &member.second);
    check_getter([&] { require(config.get_uint(key, 0) <= uint64_t{1} << 48); });
    check_getter([&] { require(config.get_count(key, 0) <= 100'000); });
    check_getter([&] { config.get_bool(key, false); });
    check_getter([&] { config.get_string(key, ""); });
    check_getter([&] { config.get_double(key, 0); });
    check_getter([&] { config.nested(key).architectures(); });
  }
  check_getter([&] { config.architectures(); });
  check_getter([&] { config.dtype(); });
  check_getter([&] { config.num_labels(); });
  if (config.notes().empty()) require_json(text);
}

}  // namespace
}  // namespace hfload::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  hfload::fuzz::refusal_of([&] { hfload::fuzz::check_config(hfload::fuzz::as_text(data, size)); }, size);
  return 0;
}
