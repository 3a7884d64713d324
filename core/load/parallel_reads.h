#pragma once

#include <cstdint>
#include <functional>

#include "core/base/file.h"
#include "core/load/loader.h"
#include "core/load/shard_reader.h"
#include "core/model/checkpoint.h"

namespace hfload {

/// Independent pieces of work on shards, such as the chunks of a load.
struct ParallelReads {
  uint64_t count = 0;
  /// The shard of a piece; grows with the piece's index.
  std::function<uint32_t(uint64_t piece)> shard;
  /// The bytes of a piece. Where it is given, a worker takes neighbouring pieces together up to 4 MiB: what
  /// they fill is mostly one region of memory, whose huge pages two workers would else clear at the same
  /// time.
  std::function<uint64_t(uint64_t piece)> bytes = nullptr;
  /// Does one piece and returns the bytes that progress counts for it. Called from `worker`s at the same
  /// time.
  std::function<uint64_t(uint64_t piece, OpenShard& shard, unsigned worker)> work;
  /// Called with each shard once it is open. May be empty.
  std::function<void(OpenShard& shard)> opened = nullptr;
  uint64_t total_bytes = 0;  ///< what progress counts up to
};

/// The readers that `options` asks for.
unsigned reader_threads(const LoadOptions& options);

/// Does all pieces in order of their index on several threads, opening each shard once (a few hundred at a
/// time at most), and checks after its last piece that the shard has not changed. Reports progress. The first
/// exception stops all workers and is thrown again once they have returned. Throws Interrupted,
/// Error(changed_during_read), and what `work` throws.
void run_parallel_reads(const Checkpoint& checkpoint, const ParallelReads& reads, const LoadOptions& options);

}  // namespace hfload
