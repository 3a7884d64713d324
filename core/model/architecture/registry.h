#pragma once

#include "core/model/architecture.h"

/// The families that core/model/architecture/*.cpp define, one line each.
namespace hfload {

extern const Architecture kBert;
extern const Architecture kGpt2;
extern const Architecture kLlama;
extern const Architecture kMistral;
extern const Architecture kQwen2;
extern const Architecture kT5;

}  // namespace hfload
