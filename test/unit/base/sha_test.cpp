#include "core/base/sha.h"

#include <catch2/catch.hpp>
#include <string>

namespace hfload {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::string hash(ShaKind kind, std::string_view text) {
  Sha sha(kind, text.size());
  sha.update(bytes_of(text));
  return sha.hex();
}

}  // namespace

TEST_CASE("SHA-256 gives the answers of FIPS 180", "[sha]") {
  CHECK(hash(ShaKind::sha256, "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(hash(ShaKind::sha256, "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(hash(ShaKind::sha256, "") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(hash(ShaKind::sha256, std::string(1'000'000, 'a')) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("git's SHA-1 is that of git hash-object", "[sha]") {
  CHECK(hash(ShaKind::git_sha1, "") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
  CHECK(hash(ShaKind::git_sha1, "what is up, doc?") == "bd9dbf5aae1a3862dd1526723246b20206e5fc37");
}

TEST_CASE("parts give the hash of the whole", "[sha]") {
  // Of the hashes of 0, 1, … 200 bytes, around the ends of blocks, by Python's hashlib.
  std::string digests;
  for (size_t length = 0; length <= 200; ++length) {
    const std::string text(length, 'x');
    Sha sha(ShaKind::sha256, length);
    sha.update(bytes_of(text).first(length / 3));
    sha.update(bytes_of(text).subspan(length / 3));
    digests += sha.hex();
  }
  CHECK(hash(ShaKind::sha256, digests) == "75013a3fd49991ead9d8a57ea80485c088443c3406a0e8fa003ed57144041eb4");
}

}  // namespace hfload
