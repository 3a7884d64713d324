#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/format/byte_source.h"
#include "core/format/pickle_globals.h"

namespace hfload {

/// Most names that a scan keeps of one pickle.
inline constexpr uint64_t kMaxScannedGlobals = 100'000;

/// A name that a pickle would import.
struct ScannedGlobal {
  std::string opcode;        ///< GLOBAL, STACK_GLOBAL, INST; EXT1, EXT2 and EXT4 take a number
  std::string module, name;  ///< "?" where the pickle computes it
  uint64_t offset = 0;       ///< of the opcode, bytes from the start of the source
  GlobalVerdict verdict = GlobalVerdict::denied;

  /// Memory that it takes.
  uint64_t bytes() const { return sizeof(ScannedGlobal) + module.size() + name.size(); }
};

/// What a scan found in one pickle.
struct PickleScan {
  std::vector<ScannedGlobal> globals;  ///< in file order; the same name as often as it occurs
  uint64_t end = 0;                    ///< after STOP, or where the fault is
  bool is_legacy_magic = false;        ///< it holds the number with which torch's older files begin
  std::optional<Error> fault;          ///< why the scan ended before STOP
};

/// Lists the names in the pickle from `begin` on, before `limit`, in any protocol, and goes on after a denied
/// one. Follows the stack and the memo only as far as strings go. Never throws for what it reads: a malformed
/// pickle sets `fault`, as Python would have imported what stands before it.
PickleScan scan_pickle(const ByteSource& source, uint64_t begin, uint64_t limit);

}  // namespace hfload
