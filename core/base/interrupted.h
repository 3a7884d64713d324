#pragma once

namespace hfload {

/// Thrown by long work when its caller's `interrupted` function said so. Not an hfload::Error: nothing is
/// wrong.
struct Interrupted {};

}  // namespace hfload
