#pragma once

#include "core/model/architecture.h"

namespace hfload {

// list.inc is the one list: this declares each of its constants, architecture.cpp collects them.
#define HFLOAD_ARCHITECTURE(constant) extern const Architecture constant;
#include "core/model/architecture/list.inc"
#undef HFLOAD_ARCHITECTURE

}  // namespace hfload
