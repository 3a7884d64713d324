#include "test/support/sha256.h"

#include <span>

#include "core/base/sha.h"

namespace hfload::test {

std::string sha256(std::string_view data) {
  Sha sha(ShaKind::sha256, data.size());
  sha.update(std::as_bytes(std::span(data.data(), data.size())));
  return sha.hex();
}

}  // namespace hfload::test
