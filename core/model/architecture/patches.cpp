#include "core/model/architecture/patches.h"

#include <fmt/core.h>

#include <utility>

#include "core/base/error.h"

namespace hfload {
namespace {

std::pair<uint64_t, uint64_t> get_size(const ModelConfig& config, const char* key, uint64_t fallback) {
  const ConfigValue* found = config.find(key);
  if (found == nullptr || !std::holds_alternative<ConfigValue::Array>(found->value)) {
    const uint64_t side = config.get_uint(key, fallback);
    return {side, side};
  }
  const auto sides = config.get_uints(key);
  if (!sides || sides->size() != 2)
    throw Error(ErrorCode::invalid_config, fmt::format("{} must be one number or two", key));
  return {(*sides)[0], (*sides)[1]};
}

}  // namespace

Patches read_patches(const ModelConfig& config, uint64_t default_image_size, uint64_t default_patch_size) {
  const auto [image_height, image_width] = get_size(config, "image_size", default_image_size);
  const auto [height, width] = get_size(config, "patch_size", default_patch_size);
  if (height == 0 || width == 0) throw Error(ErrorCode::invalid_config, "patch_size is 0");
  const uint64_t rows = image_height / height, columns = image_width / width;
  if (rows > 1'000'000 || columns > 1'000'000)
    throw Error(ErrorCode::invalid_config, "image_size is out of proportion");
  return {height, width, rows * columns};
}

}  // namespace hfload
