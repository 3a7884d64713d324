#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/format/pickle.h"
#include "core/format/pickle_opcode_reader.h"

namespace hfload {

/// Stack, marks and memo of the pickle machine, and the tree that grows under them, all within their limits.
/// Every function throws Error(invalid_pickle) where the pickle asks for what is not there.
class PickleStack : protected PickleOpcodeReader {
 public:
  PickleStack(const ByteSource& source, uint64_t begin, uint64_t limit)
      : PickleOpcodeReader(source, begin, limit) {
    tree_.begin_ = begin;
  }

  /// The one value that is left is the root. Checks that it holds no cycle and lies within the limits of
  /// nesting. The stack is of no use afterwards.
  PickleTree take_tree();

 protected:
  Error unsafe(std::string_view message) const {
    return fail(ErrorCode::unsafe_pickle, message)
        .with_hint("Do not open this file with Python's pickle. `hfload scan` lists what it names.");
  }

  void push_id(PickleId id);
  void push(PickleKind kind, uint64_t payload) { push_id(make(kind, payload)); }
  void push_none() { push_id(PickleTree::kNone); }
  void push_boolean(bool value) { push_id(value ? PickleTree::kTrue : PickleTree::kFalse); }
  void push_empty_tuple() { push_id(PickleTree::kEmptyTuple); }
  void push_integer(int64_t value);
  void push_floating(uint64_t bits) { push(PickleKind::floating, wide(bits)); }
  /// The next bytes of the pickle, at most kMaxPickleStringBytes and as many as there are.
  void push_text(PickleKind kind, uint64_t bytes);
  /// A container that is to grow.
  void push_empty(PickleKind kind) { push_id(make_container(kind, {})); }
  void push_call(PickleId function, PickleId arguments);
  void push_persistent(PickleId id);
  void push_global(const std::string& module, const std::string& name, const GlobalSymbol& symbol);
  void become(PickleId id, PickleKind kind);

  void mark();
  /// Below this the stack belongs to what was before the last mark.
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  PickleId top() const;
  PickleId pop();
  /// Where on the stack the values from the last mark on begin; the mark is gone.
  size_t take_mark();
  /// Where on the stack the last `count` values begin.
  size_t last(size_t count) const;
  std::span<const PickleId> from(size_t first) const { return std::span(stack_).subspan(first); }

  /// Puts a container in the place of the values from `first` on.
  void collect(PickleKind kind, size_t first);
  /// Takes the values from `first` on off the stack, and adds them to the container of that kind below.
  void extend(PickleKind kind, size_t first);
  void add(PickleId container, std::span<const PickleId> members);

  PickleKind kind(PickleId id) const { return tree_.kind(id); }
  /// Throws where the value can be no key.
  void require_key(PickleId id) const;
  /// Throws where a value from `first` on, or the first of each pair, can be no key.
  void require_hashable(size_t first, size_t step) const;
  void require_pairs(size_t first) const;

  void put(uint64_t index);
  void get(uint64_t index);
  uint64_t memo_count() const { return memo_count_; }

  PickleTree tree_;

 private:
  static constexpr PickleId kUnset = UINT32_MAX;

  /// Counts memory that is about to be taken.
  void spend(uint64_t bytes);
  PickleId make(PickleKind kind, uint64_t payload);
  PickleId make_container(PickleKind kind, std::span<const PickleId> members);
  void set_payload(PickleId id, PickleKind kind, uint64_t payload);
  uint64_t wide(uint64_t number);

  std::vector<PickleId> stack_;
  std::vector<size_t> marks_;  ///< sizes of the stack
  PickleBlocks<PickleId> memo_;
  uint64_t memo_count_ = 0;
  uint64_t text_end_ = 0;      ///< into the tree's text
  uint64_t stack_height_ = 0;  ///< the most that was on the stack
  uint64_t spent_bytes_ = 0;
};

}  // namespace hfload
