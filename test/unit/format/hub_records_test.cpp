#include "core/format/hub_records.h"

#include <catch2/catch.hpp>
#include <map>

#include "core/base/error.h"

namespace hfload {
namespace {

const std::string kSha1(40, '1'), kSha256(64, '2');

std::map<std::string, ListedFile> files_of(std::string_view json) {
  std::map<std::string, ListedFile> files;
  parse_tree_listing(json, [&](std::string_view path, const ListedFile& file) { files.emplace(path, file); });
  return files;
}

template <class Parse>
ErrorCode refusal(Parse&& parse) {
  try {
    parse();
  } catch (const Error& error) {
    CHECK(error.offset());
    return error.code();
  }
  return ErrorCode::internal;
}

ErrorCode listing_refusal(std::string_view files) {
  const std::string json = R"({"format_version": 1, "files": )" + std::string(files) + "}";
  return refusal([&] { files_of(json); });
}

}  // namespace

TEST_CASE("an etag of the Hub is a hash by its digits", "[hub]") {
  CHECK(checksum_of_etag(kSha256) == Checksum{ShaKind::sha256, kSha256});
  CHECK(checksum_of_etag(kSha1) == Checksum{ShaKind::git_sha1, kSha1});
  for (const std::string& other :
       {std::string(), std::string(32, '1'), std::string(63, '2'), std::string(64, 'A'), std::string(64, 'g'),
        '"' + kSha256 + '"', kSha1 + "\n", "../" + std::string(37, '1')}) {
    CHECK(!checksum_of_etag(other));
  }
}

TEST_CASE("the record of a download has three lines", "[hub]") {
  // The example of huggingface_hub's _local_folder.py.
  const DownloadMetadata metadata = parse_download_metadata(
      "11c5a3d5811f50298f278a704980280950aedb10\na16a55fda99d2f2e7b69cce5cf93ff4ad3049930\n1712656091.123\n");
  CHECK(metadata.commit == "11c5a3d5811f50298f278a704980280950aedb10");
  CHECK(metadata.etag == "a16a55fda99d2f2e7b69cce5cf93ff4ad3049930");
  CHECK(metadata.seconds == 1712656091.123);
  const DownloadMetadata windows = parse_download_metadata("a\r\n b \r\n1e9\r\nmore\r\n");
  CHECK((windows.commit == "a" && windows.etag == "b" && windows.seconds == 1e9));
  for (const std::string_view text : {"", "\n", "a\nb", "a\nb\n", "a\nb\n\n1", "a\nb\nc", "a\nb\n1x",
                                      "a\nb\n1 2", "a\nb\nnan", "a\nb\ninf", "a\nb\n-inf", "a\nb\n1e999"}) {
    CHECK(refusal([&] { parse_download_metadata(text); }) == ErrorCode::invalid_metadata);
  }
}

TEST_CASE("a listing has the hash of the file, and not that of its LFS pointer", "[hub]") {
  const auto files = files_of(R"({"format_version": 1, "files": {
      "config.json": {"size": 519, "blob_id": ")" +
                              kSha1 + R"("},
      "a/model.safetensors": {"size": 7, "blob_id": ")" +
                              kSha1 + R"(", "lfs_sha256": ")" + kSha256 +
                              R"(", "lfs_size": 1234, "xet_hash": "x"},
      "b": {"size": 7, "blob_id": ")" +
                              kSha1 + R"(", "lfs_sha256": null, "lfs_size": null, "xet_hash": "x"},
      "../c": {"size": 18446744073709551615, "blob_id": ")" +
                              kSha1 + R"(", "new": [{}]}}})");
  CHECK(files.size() == 4);
  CHECK(files.at("config.json").bytes == 519);
  CHECK(files.at("config.json").checksum == Checksum{ShaKind::git_sha1, kSha1});
  CHECK(files.at("a/model.safetensors").bytes == 1234);
  CHECK(files.at("a/model.safetensors").checksum == Checksum{ShaKind::sha256, kSha256});
  CHECK(!files.at("b").checksum);
  CHECK(files.at("../c").bytes == UINT64_MAX);
}

TEST_CASE("a listing of another form is refused", "[hub]") {
  const std::string good = R"({"size": 1, "blob_id": ")" + kSha1 + R"("})";
  CHECK(listing_refusal("{}") == ErrorCode::internal);
  CHECK(listing_refusal(R"({"a": )" + good + R"(, "a": )" + good + "}") == ErrorCode::duplicate_key);
  CHECK(listing_refusal(R"({"a": {"size": 18446744073709551616, "blob_id": ")" + kSha1 + R"("}})") ==
        ErrorCode::invalid_number);
  CHECK(listing_refusal(R"({"a": {"size": -1, "blob_id": ")" + kSha1 + R"("}})") ==
        ErrorCode::invalid_number);
  for (const std::string& files :
       {std::string("[]"), std::string("1"), std::string(R"({"a": 1})"), std::string(R"({"a": {}})"),
        std::string(R"({"a": {"size": 1}})"), R"({"a": {"blob_id": ")" + kSha1 + R"("}})",
        R"({"a": {"size": "1", "blob_id": ")" + kSha1 + R"("}})",
        R"({"a": {"size": 1, "blob_id": ")" + kSha256 + R"("}})",
        std::string(R"({"a": {"size": 1, "blob_id": 1}})")})
    CHECK(listing_refusal(files) == ErrorCode::invalid_metadata);
  for (const std::string_view json :
       {R"({"format_version": 2, "files": {}})", R"({"files": {}})",
        R"({"format_version": "1", "files": {}})", R"({"format_version": 1})", "[]"})
    CHECK(refusal([&] { files_of(json); }) == ErrorCode::invalid_metadata);
  CHECK(refusal([&] { files_of(""); }) == ErrorCode::invalid_json);
  CHECK(refusal([&] { files_of(std::string(200, '[')); }) == ErrorCode::invalid_metadata);
}

}  // namespace hfload
