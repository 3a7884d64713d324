#pragma once

#include <string>
#include <vector>

#include "cli/json_writer.h"
#include "core/check/checksums.h"

namespace hfload::cli {

/// Which files were held against checksums that were at hand.
struct VerifiedChecksums {
  std::vector<CheckedFile> files;
  std::vector<std::string> without;  ///< as KnownChecksums has it
};

/// "3 files match their sha256 (names of blobs)", a line for each hash and source; empty where nothing was
/// held against a checksum.
std::string render_checksums(const VerifiedChecksums& checksums);
/// The member `checksums`: an array, one object a file and source.
void write_checksums(JsonWriter& json, const VerifiedChecksums& checksums);

}  // namespace hfload::cli
