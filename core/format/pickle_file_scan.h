#pragma once

#include <optional>
#include <string>
#include <string_view>
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

/// Whether the name is that of a file that torch or pickle writes: ".bin", ".pkl" and the like.
bool has_pickle_name(std::string_view name);

/// Whether a file begins as a pickle of protocol 2 or later does.
bool starts_like_pickle(std::string_view start);

/// Whether a file holds pickles, whatever its name: it begins as one, or as a zip archive, which may have
/// some; or it can be read as pickles, as those of the protocols 0 and 1 have no beginning of their own.
/// Throws Error(io_error, changed_during_read).
bool holds_pickles(const ByteSource& source);

}  // namespace hfload
