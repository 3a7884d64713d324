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

/// Most calls of one name that a scan keeps, of one pickle, and most bytes of each as it is shown.
inline constexpr size_t kMaxCallsOfGlobal = 8, kMaxScannedCalls = 1000, kMaxCallBytes = 400;

/// A call that a pickle would make.
struct ScannedCall {
  std::string opcode;   ///< REDUCE, OBJ, INST, NEWOBJ or NEWOBJ_EX
  uint64_t offset = 0;  ///< of the opcode
  std::string text;     ///< as Python writes it: "os.system('true')"; "?" for what the pickle computes
};

/// A name that a pickle would import.
struct ScannedGlobal {
  std::string opcode;        ///< GLOBAL, STACK_GLOBAL, INST; EXT1, EXT2 and EXT4 take a number
  std::string module, name;  ///< "?" where the pickle computes it
  uint64_t offset = 0;       ///< of the opcode, bytes from the start of the source
  GlobalVerdict verdict = GlobalVerdict::denied;
  std::vector<ScannedCall> calls;  ///< of a denied name: the first of them

  /// Memory that it takes.
  uint64_t bytes() const {
    uint64_t bytes = sizeof(ScannedGlobal) + module.size() + name.size();
    for (const ScannedCall& call : calls) bytes += sizeof(ScannedCall) + call.text.size();
    return bytes;
  }
};

/// Whether it looks like a name of Python: letters, digits, underscores and dots. What a text holds by chance
/// does not.
bool is_dotted_name(std::string_view name);

/// What a scan found in one pickle.
struct PickleScan {
  std::vector<ScannedGlobal> globals;  ///< in file order; the same name as often as it occurs
  uint64_t end = 0;                    ///< after STOP, or where the fault is
  /// It would name a denied global for which is_dotted_name holds, or call one, and nothing before that would
  /// end Python's plain unpickler: no value that is missing, no persistent id, no name that is none. What a
  /// text or an archive holds by chance does not come so far.
  bool names_denied = false;
  bool calls_denied_name = false;
  bool is_legacy_magic = false;  ///< it holds the number with which torch's older files begin
  std::optional<Error> fault;    ///< why the scan ended before STOP
};

/// Lists the names in the pickle from `begin` on, before `limit`, in any protocol, and goes on after a denied
/// one. Follows values through the stack and the memo as far as names, the arguments of calls and joblib's
/// arrays need it. The bytes of such an array, which stand between the opcodes, are passed over as
/// joblib.load does; where the pickle does not say how many they are, `fault` is unsupported_format. Never
/// throws for what it reads: a malformed pickle sets `fault`, as Python would have imported what stands
/// before it.
PickleScan scan_pickle(const ByteSource& source, uint64_t begin, uint64_t limit);

}  // namespace hfload
