#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "core/save/convert.h"

namespace hfload {

/// A part of the elements of one tensor.
struct TensorPiece {
  uint32_t tensor = 0;
  uint64_t first_byte = 0, bytes = 0;  ///< of the contiguous tensor
};

/// How a check runs.
struct CheckRun {
  unsigned threads = 0;  ///< 0: one per processor, at most 16
  /// Called from one thread at a time, a few times a second. May be empty.
  std::function<void(const ConvertProgress&)> progress = nullptr;
  /// Looked at between pieces; when it returns true, Interrupted is thrown. May be empty.
  std::function<bool()> interrupted = nullptr;
};

/// The threads that a run takes.
unsigned threads_of_run(const CheckRun& run);

/// Cuts so many tensors, of bytes_of(index) bytes each, into pieces of at least 4 MiB, and so large that a
/// few tens of thousands are enough for all. What comes of it depends on the sizes alone: sums formed piece
/// by piece are the same for any number of threads.
std::vector<TensorPiece> cut_into_pieces(size_t tensors, const std::function<uint64_t(size_t)>& bytes_of);

/// Calls `work(index, worker)` for each piece, in order, on several threads. The first exception stops all.
/// Throws Interrupted and what `work` throws.
void run_pieces(const std::vector<TensorPiece>& pieces, const CheckRun& run,
                const std::function<void(size_t index, unsigned worker)>& work);

}  // namespace hfload
