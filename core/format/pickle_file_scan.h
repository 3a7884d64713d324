#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/format/pickle_scan.h"

namespace hfload {

/// Most pickles of one file that are scanned.
inline constexpr size_t kMaxScannedPickles = 10'000;
/// Containers, and what follows them, nest at most so deep; compressed streams among them.
inline constexpr unsigned kMaxContainerDepth = 16, kMaxPackedDepth = 4;
/// What the streams of a file unpack to in all: so many bytes, and so many for each byte of the file.
inline constexpr uint64_t kMaxUnpackedBytes = 256 << 20, kMaxUnpackedPerByte = 64;
/// Most bytes of it that are held in memory.
inline constexpr uint64_t kMaxHeldBytes = 64 << 20;

/// One pickle of a file.
struct ScannedPickle {
  /// Where it lies: the names of the members of archives and the compressed streams on the way to it, with
  /// colons between them, "a.tar:b.pkl" or "(gzip)"; empty for a pickle that is not in one.
  std::string member;
  /// Bytes from the start of the file, or of the innermost stream that was unpacked.
  uint64_t begin = 0;
  PickleScan scan;
};

/// What a scan found in a file.
struct FileScan {
  std::vector<ScannedPickle> pickles;
  std::vector<Error>
      faults;  ///< of containers: what was not looked into, and what is damaged; the first of them
  bool is_container = false;  ///< the file is an archive, a file of numpy or a compressed stream

  /// It holds pickles, or may.
  bool is_of_interest() const { return is_container || !pickles.empty() || !faults.empty(); }
  /// Of that verdict, over all pickles.
  uint64_t count(GlobalVerdict verdict) const;
  /// Those of containers and then of pickles, which say in their message where they are; the first 100.
  std::vector<Error> all_faults() const;
};

/// Scans every pickle of a file: the pickles at the start of a legacy PyTorch file, or a file of pickles one
/// after the other; and what lies in zip and tar archives, files of numpy, and streams of zlib, gzip, bzip2,
/// xz and lzma, at any depth up to a bound. The bytes tell what is what. `name` is that of the file: one with
/// has_pickle_name is a pickle where it is nothing else, and a fault says so where it is none. Whatever is
/// malformed or was not looked into sets a fault. Throws Error(io_error, changed_during_read) only.
FileScan scan_pickle_file(const ByteSource& source, std::string_view name);

/// Whether the name is that of a file that torch or pickle writes: ".bin", ".pkl" and the like.
bool has_pickle_name(std::string_view name);

/// Whether a file begins as a pickle of protocol 2 or later does.
bool starts_like_pickle(std::string_view start);

/// Whether a scan finds something in a file whose name says nothing: it is a container or begins as a pickle;
/// or it can be read as pickles, as those of the protocols 0 and 1 have no beginning of their own. Throws
/// Error(io_error, changed_during_read).
bool holds_pickles(const ByteSource& source);

}  // namespace hfload
