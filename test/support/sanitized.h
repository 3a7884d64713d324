#pragma once

#include <cstddef>

namespace hfload::test {

/// Of many cases that go the same way, sanitizers, which take ten times as long, try every n-th: `n` there,
/// else 1.
constexpr size_t every(size_t n) {
#if defined(HFLOAD_SANITIZED)
  return n;
#else
  return n > 0 ? 1 : 0;
#endif
}

}  // namespace hfload::test
