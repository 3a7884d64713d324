#pragma once

#include "core/model/architecture/registry.h"

namespace hfload {

/// How a vision model cuts its images into patches.
struct Patches {
  uint64_t height, width;  ///< of one patch, in pixels
  uint64_t count;          ///< of patches in one image
};

/// Reads `image_size` and `patch_size`, each one number or a pair of height and width. Throws
/// Error(invalid_config) where they are out of proportion.
Patches read_patches(const ModelConfig& config, uint64_t default_image_size, uint64_t default_patch_size);

}  // namespace hfload
