#pragma once

#include "core/model/module_builder.h"

namespace hfload {

/// The children of timm's MobileNetV5Encoder as `mobilenetv5_300m_enc` builds it (timm 1.0,
/// models/mobilenetv5.py): nothing of it depends on a config.
void mobilenetv5_300m_encoder(ModuleBuilder& b);

/// Features that it gives for each place of an image.
inline constexpr uint64_t kMobileNetV5Features = 2048;

}  // namespace hfload
