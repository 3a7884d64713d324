#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/format/byte_source.h"
#include "core/format/pickle.h"
#include "core/format/pickle_opcodes.h"

namespace hfload {

/// Goes through a pickle opcode by opcode, as the strict machine and the tolerant scan both do. All functions
/// throw Error(invalid_pickle), which names the opcode and where it is.
class PickleOpcodeReader {
 public:
  /// The pickle begins at `begin`, and ends before `limit` and before `most_bytes` have been read.
  PickleOpcodeReader(const ByteSource& source, uint64_t begin, uint64_t limit,
                     uint64_t most_bytes = kMaxPickleBytes);

 protected:
  Error fail(ErrorCode code, std::string_view message) const;
  Error invalid(std::string_view message) const;

  /// The next opcode, which becomes the one that errors name. Its argument follows.
  const PickleOpcodeInfo& next_opcode();
  /// Throws where fewer bytes are left, or the frame ends before them.
  void need(uint64_t bytes) const;
  /// Of 1 to 8 bytes, little-endian.
  uint64_t number(unsigned bytes);
  /// Up to a line feed, which is left out; of a longer line the first `most_bytes`.
  std::string line(uint64_t most_bytes);

  ByteReader reader_;
  uint64_t opcodes_ = 0;               ///< read so far
  uint64_t at_ = 0;                    ///< of the opcode, bytes from the start of the source
  std::optional<uint64_t> frame_end_;  ///< what no opcode may straddle; nothing outside of frames

 private:
  bool cut_by_limit_;
  std::string_view opcode_name_;  ///< empty before it is known
};

}  // namespace hfload
