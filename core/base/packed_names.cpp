#include "core/base/packed_names.h"

#include <algorithm>

namespace hfload {
namespace {

constexpr unsigned kDigitBits = 7;
constexpr size_t kMoreDigits = size_t{1} << kDigitBits;

void append_number(std::string& to, size_t number) {
  for (; number >= kMoreDigits; number >>= kDigitBits) {
    to.push_back(static_cast<char>(number % kMoreDigits | kMoreDigits));
  }
  to.push_back(static_cast<char>(number));
}

size_t take_number(std::string_view& from) {
  size_t number = 0;
  for (unsigned shift = 0;; shift += kDigitBits) {
    const size_t digit = static_cast<unsigned char>(from.front());
    from.remove_prefix(1);
    number |= digit % kMoreDigits << shift;
    if (digit < kMoreDigits) return number;
  }
}

}  // namespace

void PackedNames::add(std::string_view name) {
  constexpr size_t kBlockBytes = 64 << 10;
  if (blocks_.empty() || blocks_.back().size() >= kBlockBytes) {
    blocks_.emplace_back().reserve(kBlockBytes + 2 * name.size());
  }
  std::string& packed = blocks_.back();
  const auto shared = static_cast<size_t>(std::ranges::mismatch(last_, name).in1 - last_.begin());
  append_number(packed, shared);
  append_number(packed, name.size() - shared);
  packed.append(name.substr(shared));
  last_ = name;
}

void PackedNames::for_each(const std::function<void(std::string_view name)>& visit) const {
  std::string name;
  for (std::string_view left : blocks_) {
    while (!left.empty()) {
      name.resize(take_number(left));
      const size_t own = take_number(left);
      name.append(left.substr(0, own));
      left.remove_prefix(own);
      visit(name);
    }
  }
}

}  // namespace hfload
