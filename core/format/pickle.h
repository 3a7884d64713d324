#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/format/byte_source.h"
#include "core/format/pickle_blocks.h"
#include "core/format/pickle_globals.h"

namespace hfload {

/// Limits of one pickle. A state dict takes about 20 opcodes a tensor.
inline constexpr uint64_t kMaxPickleBytes = 512 << 20;
inline constexpr uint64_t kMaxPickleOpcodes = 50'000'000;
/// Most bytes of memory that values, and what is later made of them, may take: so many, and two for each byte
/// of the pickle so far. A state dict takes about two thirds of the second part alone.
inline constexpr uint64_t kPickleMemoryBytes = 32 << 20, kPickleMemoryPerByte = 2;
inline constexpr uint64_t kMaxPickleStack = 1 << 20;
inline constexpr uint64_t kMaxPickleDepth = 1000;
/// Values as a reader without a memo would count them: what refers to one list ten times holds it ten times.
inline constexpr uint64_t kMaxPickleExpandedValues = 100'000'000;
/// Of a longer string only the kind is kept.
inline constexpr uint64_t kMaxPickleStringBytes = 64 << 10;
/// Most bytes of a global's module or name.
inline constexpr uint64_t kMaxPickleNameBytes = 1024;

/// A value of a tree: an index, or an integer from 0 to 2^31 - 1 itself.
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

/// What a pickle says, as data. Values are shared where the pickle's memo shares them, and None, booleans,
/// the empty tuple and small integers are one value each; there are no cycles.
class PickleTree {
 public:
  PickleTree();

  PickleId root() const { return root_; }
  /// Indices are below this; small integers are not among them.
  PickleId size() const { return static_cast<PickleId>(values_.size()); }
  PickleKind kind(PickleId id) const { return is_small(id) ? PickleKind::integer : values_[id].kind(); }
  /// Of the opcode that made the value, bytes from the start of the source; of those that are one value each,
  /// of the pickle.
  uint64_t offset(PickleId id) const { return begin_ + (is_small(id) ? 0 : values_[id].at); }
  /// Whether `offset` is the value's own.
  bool has_offset(PickleId id) const { return !is_small(id) && id > kEmptyTuple; }

  bool boolean(PickleId id) const { return id == kTrue; }
  int64_t integer(PickleId id) const {
    return is_small(id) ? static_cast<int64_t>(id & ~kSmall)
                        : static_cast<int64_t>(wide_[values_[id].payload()]);
  }
  double floating(PickleId id) const;
  /// Of a string, bytes, or a big integer.
  std::string_view text(PickleId id) const;
  const PickleGlobal& global(PickleId id) const { return globals_[values_[id].payload()]; }
  /// The members of a container in order: elements, keys and values in turn, the id of a persistent value, or
  /// the callable, arguments and states of an object. A key may occur twice, as the pickle wrote it. Stops
  /// after `at_most`.
  std::vector<PickleId> members(PickleId id, uint64_t at_most = UINT64_MAX) const;
  /// Calls `visit(member)` for all of them.
  template <class Visit>
  void visit_members(PickleId id, Visit&& visit) const {
    for (Cursor cursor = members_of(id); !at_end(cursor);) visit(take(cursor));
  }

 private:
  friend class PickleStack;
  struct Value {
    uint32_t at = 0;  ///< bytes from begin_
    uint32_t low = 0, kind_and_high = 0;

    PickleKind kind() const { return static_cast<PickleKind>(kind_and_high >> 28); }
    /// 60 bits: the index of a number or global; of text an offset and, in 17 bits, a size; of a tuple or
    /// persistent value its first member and, from bit 32, their number; of another container its first run
    /// of members and, from bit 32, its last.
    uint64_t payload() const { return uint64_t{kind_and_high & kHigh} << 32 | low; }
  };
  /// What is left of a container's members.
  struct Cursor {
    uint32_t at = 0, left = 0;  ///< of the run: into members_
    uint32_t next = kNoRun;     ///< the run after it
  };

  static constexpr PickleId kSmall = 1U << 31;
  static constexpr PickleId kNone = 0, kFalse = 1, kTrue = 2, kEmptyTuple = 3;
  static constexpr uint32_t kHigh = (1U << 28) - 1, kNoRun = kHigh;
  static constexpr unsigned kSizeBits = 17;

  static bool is_small(PickleId id) { return (id & kSmall) != 0; }
  static bool is_container(PickleKind kind) { return kind >= PickleKind::list && kind != PickleKind::global; }
  /// A container that is complete once it is made.
  static bool is_fixed(PickleKind kind) {
    return kind == PickleKind::tuple || kind == PickleKind::persistent;
  }
  Cursor members_of(PickleId id) const;
  Cursor run_at(uint32_t run) const { return {run + 2, members_[run], members_[run + 1]}; }
  static bool at_end(const Cursor& cursor) { return cursor.left == 0; }
  PickleId take(Cursor& cursor) const {
    const PickleId member = members_[cursor.at++];
    if (--cursor.left == 0 && cursor.next != kNoRun) cursor = run_at(cursor.next);
    return member;
  }
  /// Throws Error(invalid_pickle) where a value below the root contains itself or lies too deep, or where
  /// shared values multiply beyond the limit.
  void check_nesting() const;

  uint64_t begin_ = 0;
  PickleId root_ = 0;
  PickleBlocks<Value> values_;
  PickleBlocks<uint64_t> wide_;     ///< floating-point numbers, and integers that are not small
  PickleBlocks<uint32_t> members_;  ///< values; before those of a run their number and the next run
  std::vector<PickleGlobal> globals_;
  static constexpr uint64_t kTextBlockBytes = 1 << 20;
  std::vector<std::unique_ptr<char[]>> text_;  ///< blocks, which no string straddles
};

/// A pickle and where it ends.
struct ParsedPickle {
  PickleTree tree;
  uint64_t begin = 0, end = 0;  ///< `end` after STOP, bytes from the start of the source

  uint64_t bytes() const { return end - begin; }
};

/// Reads the pickle that starts at `begin` and ends before `limit`, by the opcodes that torch's weights-only
/// loader accepts, and those that protocols 4 and 5 write in their place. Executes nothing: a global is a
/// symbol, which must be on the allow-list, and a call is written down. Memory is at most 32 MiB and two
/// bytes for each byte of the pickle. Throws Error(unsafe_pickle) for another opcode or global,
/// Error(invalid_pickle) for anything malformed or beyond a limit; messages name the opcode, offsets count
/// from the start of the source.
ParsedPickle parse_pickle(const ByteSource& source, uint64_t begin, uint64_t limit);

}  // namespace hfload
