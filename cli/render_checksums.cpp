#include "cli/render_checksums.h"

#include <fmt/core.h>

#include <algorithm>

#include "cli/text.h"

namespace hfload::cli {
namespace {

constexpr std::string_view words_for(ShaKind kind) { return kind == ShaKind::sha256 ? "sha256" : "git sha1"; }

constexpr std::string_view words_for(ChecksumSource source) {
  switch (source) {
    case ChecksumSource::blob_name:
      return "names of blobs";
    case ChecksumSource::tree_listing:
      return "listing of the commit";
    default:
      return "records of the download";
  }
}

}  // namespace

std::string render_checksums(const VerifiedChecksums& checksums) {
  std::string text;
  for (const ChecksumSource source :
       {ChecksumSource::blob_name, ChecksumSource::tree_listing, ChecksumSource::download_metadata}) {
    for (const ShaKind kind : {ShaKind::sha256, ShaKind::git_sha1}) {
      const auto count = std::ranges::count_if(checksums.files, [&](const CheckedFile& file) {
        return file.matches() && file.known.source == source && file.known.checksum.kind == kind;
      });
      if (count == 0) continue;
      text += fmt::format("{} {} ({})\n",
                          count == 1 ? "1 file matches its" : fmt::format("{} files match their", count),
                          words_for(kind), words_for(source));
    }
  }
  if (!checksums.files.empty() && !checksums.without.empty()) {
    const size_t count = checksums.without.size();
    text += fmt::format("{} no checksum at hand: {}{}\n",
                        count == 1 ? "1 file has" : fmt::format("{} files have", count),
                        escape_text(checksums.without.front()), count == 1 ? "" : ", …");
  }
  return text;
}

void write_checksums(JsonWriter& json, const VerifiedChecksums& checksums) {
  json.key("checksums").begin_array();
  for (const CheckedFile& file : checksums.files) {
    json.begin_object().key("file").string(file.known.file);
    json.key("algorithm").string(name_of(file.known.checksum.kind));
    json.key("source").string(name_of(file.known.source));
    json.key("expected").string(file.known.checksum.digest);
    json.key("found").string_or_null(file.found).key("matches").boolean(file.matches()).end_object();
  }
  json.end_array();
}

}  // namespace hfload::cli
