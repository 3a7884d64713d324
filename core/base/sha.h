#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace hfload {

/// How the Hub identifies a file: one in Git LFS or Xet by the SHA-256 of its bytes, any other as git does,
/// by the SHA-1 of "blob <bytes>\0" and its bytes.
enum class ShaKind : uint8_t { sha256, git_sha1 };

/// One of these hashes (FIPS 180-4), formed part by part. By OpenSSL, whose headers are seen in this file's
/// source only; it uses the processor's SHA instructions where there are some.
class Sha {
 public:
  /// Of a file of so many bytes, which git's hash begins with.
  Sha(ShaKind kind, uint64_t file_bytes);
  Sha(Sha&&) noexcept;
  Sha& operator=(Sha&&) noexcept;
  ~Sha();

  void update(std::span<const std::byte> part);
  /// The hash in lower-case hexadecimal digits: 64, or 40 of a SHA-1. To be called once, at the end.
  std::string hex();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hfload
