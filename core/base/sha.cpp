#include "core/base/sha.h"

// These functions are deprecated since OpenSSL 3 in favour of EVP_Digest*, which calls the same code. Linking
// that one statically adds 4 MB and half a millisecond to each start of the program; these add 25 kB.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <fmt/core.h>
#include <openssl/sha.h>

#include <array>
#include <variant>

namespace hfload {
namespace {

template <size_t kBytes>
std::string hex_of(const std::array<unsigned char, kBytes>& digest) {
  std::string text;
  for (const unsigned char byte : digest) text += fmt::format("{:02x}", byte);
  return text;
}

}  // namespace

struct Sha::State {
  std::variant<SHA256_CTX, SHA_CTX> context;
};

Sha::Sha(ShaKind kind, uint64_t file_bytes) : state_(std::make_unique<State>()) {
  if (kind == ShaKind::sha256) {
    SHA256_Init(&state_->context.emplace<SHA256_CTX>());
    return;
  }
  SHA1_Init(&state_->context.emplace<SHA_CTX>());
  const std::string header = fmt::format("blob {}", file_bytes);
  update(std::as_bytes(std::span(header.c_str(), header.size() + 1)));
}

Sha::Sha(Sha&&) noexcept = default;
Sha& Sha::operator=(Sha&&) noexcept = default;
Sha::~Sha() = default;

void Sha::update(std::span<const std::byte> part) {
  if (auto* context = std::get_if<SHA256_CTX>(&state_->context)) {
    SHA256_Update(context, part.data(), part.size());
  } else {
    SHA1_Update(&std::get<SHA_CTX>(state_->context), part.data(), part.size());
  }
}

std::string Sha::hex() {
  if (auto* context = std::get_if<SHA256_CTX>(&state_->context)) {
    std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
    SHA256_Final(digest.data(), context);
    return hex_of(digest);
  }
  std::array<unsigned char, SHA_DIGEST_LENGTH> digest{};
  SHA1_Final(digest.data(), &std::get<SHA_CTX>(state_->context));
  return hex_of(digest);
}

}  // namespace hfload
