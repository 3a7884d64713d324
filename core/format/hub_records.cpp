#include "core/format/hub_records.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "core/base/error.h"
#include "core/format/json.h"
#include "core/format/json_file.h"

namespace hfload {
namespace {

bool is_hex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

/// The next line without white space around it, as Python's readline().strip() gives it.
std::string_view take_line(std::string_view& text) {
  constexpr std::string_view kWhiteSpace = " \t\r\n\v\f";
  const size_t end = std::min(text.find('\n'), text.size());
  std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  const size_t first = line.find_first_not_of(kWhiteSpace);
  if (first == std::string_view::npos) return {};
  line = line.substr(first, line.find_last_not_of(kWhiteSpace) - first + 1);
  return line;
}

[[noreturn]] void fail(const json::Value& value, std::string message) {
  throw Error(ErrorCode::invalid_metadata, std::move(message)).with_offset(value.offset());
}

Checksum read_digest(json::Value& value, ShaKind kind, std::string_view field) {
  if (value.kind() == json::Kind::string) {
    const std::optional<Checksum> checksum = checksum_of_etag(value.string());
    if (checksum && checksum->kind == kind) return *checksum;
  }
  fail(value, fmt::format("the file's {} is no such hash", field));
}

uint64_t read_bytes(const json::Value& value, std::string_view field) {
  if (value.kind() != json::Kind::number) fail(value, fmt::format("the file's {} is no number", field));
  return value.uint64();
}

ListedFile read_listed_file(json::Value& value) {
  if (value.kind() != json::Kind::object) fail(value, "the file's entry is not an object");
  std::optional<uint64_t> bytes, lfs_bytes;
  std::optional<Checksum> blob, lfs;
  bool has_xet = false;
  const uint64_t offset = value.offset();
  value.for_each_member([&](std::string_view key, json::Value& field) {
    if (field.kind() == json::Kind::null) return;
    if (key == "size") {
      bytes = read_bytes(field, key);
    } else if (key == "lfs_size") {
      lfs_bytes = read_bytes(field, key);
    } else if (key == "blob_id") {
      blob = read_digest(field, ShaKind::git_sha1, key);
    } else if (key == "lfs_sha256") {
      lfs = read_digest(field, ShaKind::sha256, key);
    } else if (key == "xet_hash") {
      has_xet = true;
    }
  });
  if (!bytes || !blob) {
    throw Error(ErrorCode::invalid_metadata, "the file's entry lacks its size or its blob_id")
        .with_offset(offset);
  }
  if (lfs) return {lfs_bytes.value_or(*bytes), std::move(lfs)};
  // Of a file in Xet git has a pointer alone.
  return {*bytes, has_xet ? std::nullopt : std::move(blob)};
}

void parse(simdjson::padded_string text, const ListedFileSink& sink) {
  bool is_known = false, has_files = false;
  json::Document document(std::move(text), 0);
  document.read([&](json::Value& root) {
    if (root.kind() != json::Kind::object) fail(root, "the listing is not a JSON object");
    root.for_each_member([&](std::string_view key, json::Value& value) {
      if (key == "format_version") {
        is_known = value.kind() == json::Kind::number && value.number() == "1";
      } else if (key == "files") {
        if (value.kind() != json::Kind::object) fail(value, "the files are not an object");
        has_files = true;
        value.for_each_member(
            [&](std::string_view path, json::Value& file) { sink(path, read_listed_file(file)); });
      }
    });
  });
  if (is_known && has_files) return;
  throw Error(ErrorCode::invalid_metadata,
              is_known ? "the listing has no files" : "the listing is not of version 1")
      .with_offset(0);
}

}  // namespace

std::optional<Checksum> checksum_of_etag(std::string_view etag) {
  constexpr size_t kSha256Digits = 64, kSha1Digits = 40;
  if (!is_hex(etag)) return std::nullopt;
  if (etag.size() == kSha256Digits) return Checksum{ShaKind::sha256, std::string(etag)};
  if (etag.size() == kSha1Digits) return Checksum{ShaKind::git_sha1, std::string(etag)};
  return std::nullopt;
}

DownloadMetadata parse_download_metadata(std::string_view text) {
  std::string_view rest = text;
  DownloadMetadata metadata;
  metadata.commit = take_line(rest);
  metadata.etag = take_line(rest);
  const uint64_t offset = text.size() - rest.size();
  const std::string_view seconds = take_line(rest);
  const char* end = seconds.data() + seconds.size();
  const auto [stop, fault] = std::from_chars(seconds.data(), end, metadata.seconds);
  if (fault != std::errc() || stop != end || !std::isfinite(metadata.seconds)) {
    throw Error(ErrorCode::invalid_metadata, "the third line is not a time in seconds").with_offset(offset);
  }
  return metadata;
}

void parse_tree_listing(std::string_view json, const ListedFileSink& sink) {
  parse(json::padded_copy(json), sink);
}

void read_tree_listing(const RegularFile& file, const ListedFileSink& sink) {
  parse(json::read_padded_file(file, kMaxTreeListingBytes), sink);
}

}  // namespace hfload
