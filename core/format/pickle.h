#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/format/byte_source.h"
#include "core/format/pickle_globals.h"

namespace hfload {

/// Limits of one pickle. A state dict takes about 20 opcodes a tensor.
inline constexpr uint64_t kMaxPickleBytes = 512 << 20;
inline constexpr uint64_t kMaxPickleOpcodes = 50'000'000;
/// Values, and as many again for members of containers; a value takes 16 bytes, a member 8.
inline constexpr uint64_t kMaxPickleValues = 8 << 20, kMaxPickleMembers = 16 << 20;
inline constexpr uint64_t kMaxPickleStack = 4 << 20;
inline constexpr uint64_t kMaxPickleDepth = 1000;
/// Values as a reader without a memo would count them: what refers to one list ten times holds it ten times.
inline constexpr uint64_t kMaxPickleExpandedValues = 100'000'000;
/// Text that is kept; of a longer string than kMaxPickleStringBytes only the kind is.
inline constexpr uint64_t kMaxPickleTextBytes = 64 << 20, kMaxPickleStringBytes = 64 << 10;
/// Most bytes of a global's module or name.
inline constexpr uint64_t kMaxPickleNameBytes = 1024;

/// Index of a value in its tree.
using PickleId = uint32_t;

enum class PickleKind : uint8_t {
  none,
  boolean,
  integer,
  big_integer,  ///< of more than 64 bits: text() is its two's complement, little-endian
  floating,
  string,     ///< UTF-8
  bytes,      ///< also a string of Python 2 that is not UTF-8
  long_text,  ///< a string or bytes beyond kMaxPickleStringBytes, left out
  list,
  tuple,
  dict,  ///< also OrderedDict and Counter
  set,
  global,      ///< a symbol of the allow-list
  persistent,  ///< its one member is the id
  object,  ///< the call that was written down and not made: callable, arguments, then the states set on it
};

/// "a list", for messages.
std::string_view describe(PickleKind kind);

struct PickleGlobal {
  std::string module, name;
  GlobalSymbol symbol;
};

/// What a pickle says, as data. Values are shared where the pickle's memo shares them; there are no cycles.
class PickleTree {
 public:
  PickleId root() const { return root_; }
  /// Ids are below this.
  PickleId size() const { return static_cast<PickleId>(values_.size()); }
  PickleKind kind(PickleId id) const { return values_[id].kind; }
  /// Of the opcode that made the value, bytes from the start of the source.
  uint64_t offset(PickleId id) const { return begin_ + values_[id].at; }

  bool boolean(PickleId id) const { return values_[id].payload != 0; }
  int64_t integer(PickleId id) const { return static_cast<int64_t>(values_[id].payload); }
  double floating(PickleId id) const;
  /// Of a string, bytes, or a big integer.
  std::string_view text(PickleId id) const;
  const PickleGlobal& global(PickleId id) const { return globals_[values_[id].payload]; }
  /// The members of a container in order: elements, keys and values in turn, the id of a persistent value, or
  /// the callable, arguments and states of an object. A key may occur twice, as the pickle wrote it. Stops
  /// after `at_most`.
  std::vector<PickleId> members(PickleId id, uint64_t at_most = UINT64_MAX) const;

 private:
  friend class PickleStack;
  struct Value {
    PickleKind kind = PickleKind::none;
    uint32_t at = 0;       ///< bytes from begin_
    uint64_t payload = 0;  ///< number, index, or first and last member (32 bits each)
  };
  struct Member {
    PickleId value = 0;
    uint32_t next = 0;
  };
  /// Throws Error(invalid_pickle) where a value below the root contains itself or lies too deep, or where
  /// shared values multiply beyond the limit.
  void check_nesting() const;

  static constexpr uint32_t kEnd = UINT32_MAX;
  static bool is_container(PickleKind kind) { return kind >= PickleKind::list && kind != PickleKind::global; }
  static uint32_t first(const Value& value) { return static_cast<uint32_t>(value.payload); }
  static uint32_t last(const Value& value) { return static_cast<uint32_t>(value.payload >> 32); }

  uint64_t begin_ = 0;
  PickleId root_ = 0;
  std::vector<Value> values_;
  std::vector<Member> members_;
  std::vector<PickleGlobal> globals_;
  std::string text_;  ///< of all strings: a payload is an offset (40 bits) and a size (24 bits)
};

/// A pickle and where it ends.
struct ParsedPickle {
  PickleTree tree;
  uint64_t end = 0;  ///< after STOP, bytes from the start of the source
};

/// Reads the pickle that starts at `begin` and ends before `limit`, by the opcodes that torch's weights-only
/// loader accepts, and those that protocols 4 and 5 write in their place. Executes nothing: a global is a
/// symbol, which must be on the allow-list, and a call is written down. Memory is at most about 40 bytes for
/// a byte of the pickle, and 600 MiB. Throws Error(unsafe_pickle) for another opcode or global,
/// Error(invalid_pickle) for anything malformed or beyond a limit; messages name the opcode, offsets count
/// from the start of the source.
ParsedPickle parse_pickle(const ByteSource& source, uint64_t begin, uint64_t limit);

}  // namespace hfload
