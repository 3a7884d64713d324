#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/format/pickle_scan.h"

namespace hfload {

/// Most pickles of one file that are scanned.
inline constexpr size_t kMaxScannedPickles = 10'000;

/// One pickle of a file.
struct ScannedPickle {
  std::string member;  ///< of a zip archive; empty for a file of pickles
  uint64_t begin = 0;  ///< bytes from the start of the file
  PickleScan scan;
};

/// What a scan found in a file.
struct FileScan {
  std::vector<ScannedPickle> pickles;
  std::optional<Error> fault;  ///< of the container: pickles may be missing from the list

  /// Of that verdict, over all pickles.
  uint64_t count(GlobalVerdict verdict) const;
  /// The first fault, of the container or of a pickle; null when there is none.
  const Error* first_fault() const;
};

/// Scans every pickle of a file: members of a zip archive that are pickles by name or by their first bytes,
/// the pickles at the start of a legacy PyTorch file, or a file of pickles one after the other. Whatever is
/// malformed sets a fault. Throws Error(io_error, changed_during_read) only.
FileScan scan_pickle_file(const ByteSource& source);

/// Whether a file that starts so, of that name, may hold a pickle.
bool may_hold_pickle(std::string_view name, std::string_view start);

}  // namespace hfload
