#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/save/convert.h"
#include "core/save/tensor_source.h"

namespace hfload {

/// The most that one piece of work reads.
inline constexpr uint64_t kWritePieceBytes = 4 << 20;

/// Neighbours in a source file that are neighbours in an output file too and are cast alike, or one tensor:
/// many small tensors are moved at once.
struct WriteRun {
  uint32_t file = 0;        ///< into ConvertPlan::files
  uint32_t first_slot = 0;  ///< into its slots
  CastKind cast = CastKind::none;
  bool from_file = false;  ///< the bytes lie in the file range of the first slot's tensor, and go on after it
  uint32_t first_piece = 0;  ///< of the schedule
  uint64_t source_bytes = 0;
  uint64_t target_offset = 0;  ///< bytes from the start of the output file
};

/// A part of a run, of whole elements.
struct WritePiece {
  uint32_t run = 0;
  uint64_t first_byte = 0;  ///< of the run, as read
  uint64_t source_bytes = 0;
};

/// What is written, file by file in the order of offsets. Plain data.
struct WriteSchedule {
  std::vector<WriteRun> runs;
  size_t pieces = 0;  ///< into which the runs are cut, one after the other

  WritePiece piece(size_t index) const {
    const auto after = std::ranges::upper_bound(runs, index, {}, &WriteRun::first_piece);
    const auto run = static_cast<uint32_t>(after - runs.begin() - 1);
    const uint64_t first_byte = (index - runs[run].first_piece) * kWritePieceBytes;
    return {run, first_byte, std::min(kWritePieceBytes, runs[run].source_bytes - first_byte)};
  }
};

/// Merges the tensors of a plan to runs, but those of files with checksums. Opens the source's files. Throws
/// what TensorSource::file_range throws.
WriteSchedule make_write_schedule(const ConvertPlan& plan, const TensorSource& source);

/// Bytes that `source_bytes` become by a cast.
inline uint64_t cast_bytes(CastKind kind, uint64_t source_bytes) {
  return source_bytes / cast_source_bytes(kind) * cast_target_bytes(kind);
}

}  // namespace hfload
