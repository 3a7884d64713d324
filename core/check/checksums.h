#pragma once

#include <string>
#include <vector>

#include "core/check/known_checksums.h"
#include "core/check/tensor_pieces.h"
#include "core/model/checkpoint.h"

namespace hfload {

/// A file that was held against a checksum.
struct CheckedFile {
  KnownChecksum known;
  /// What its bytes hash to; empty where its size alone tells that it is another file.
  std::string found;
  uint64_t found_bytes = 0;

  bool matches() const { return found == known.checksum.digest; }
};

/// Reads the files of these checksums and hashes them, each on one thread and several at a time, in 512 KiB a
/// thread. A file whose size is not the recorded one is not read. The result is in the order of `known`.
/// Progress counts the bytes that are read. Throws Interrupted, Error(changed_during_read, io_error).
std::vector<CheckedFile> check_checksums(const Checkpoint& checkpoint, std::vector<KnownChecksum> known,
                                         const CheckRun& run);

/// A finding `checksum_differs` for each file that does not match, and one `edited_since_download`, which is
/// no fault, for those of them that are no weights and were written to after their checksum was recorded.
std::vector<Finding> checksum_findings(const std::vector<CheckedFile>& files);

/// "sha256", "git_sha1".
std::string_view name_of(ShaKind kind);

}  // namespace hfload
