#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/base/name_hash.h"
#include "core/format/pickle_blocks.h"
#include "core/format/pickle_opcode_reader.h"
#include "core/format/scanned_values.h"

namespace hfload {

/// The stack, the memo and the texts of a scan. All functions that add something throw Error(invalid_pickle)
/// where it would take too much memory.
class PickleScanState : protected PickleOpcodeReader {
 protected:
  using Value = ScannedValue;
  using Kind = ScannedValue::Kind;

  PickleScanState(const ByteSource& source, uint64_t begin, uint64_t limit)
      : PickleOpcodeReader(source, begin, limit, UINT64_MAX) {}

  void push(Value value);
  void push_text(const std::string& text);
  /// The beginning of a text or of bytes, which is only shown; or anything, where memory is short.
  void push_shown(std::string_view prefix, std::string_view text);
  /// An empty stack gives anything, so that what follows is still read.
  Value pop();
  Value top() const;
  /// The first of the values above the mark, more than ScannedValues keep.
  std::vector<Value> pop_to_mark();

  void put(uint64_t index);
  void get(uint64_t index);

  /// Counts memory that the pickle has to pay for.
  void keep(uint64_t bytes);
  /// "?" for what is no text.
  std::string text_of(Value value) const { return value.kind == Kind::text ? *texts_[value.id] : "?"; }

  /// What a pickle has for itself.
  struct Frame {
    std::vector<Value> stack;
    PickleBlocks<Value> memo;  ///< by place; a mark where nothing was put, as none is ever put there
    std::unordered_map<uint64_t, Value> far_memo;  ///< places beyond what picklers number
    uint64_t memo_count = 0;
  } frame_;
  /// Python's plain unpickler would have failed before: at a value that is missing, a persistent id, or a
  /// name that is none.
  bool is_chance_ = false;
  ScannedValues values_;
  std::vector<const std::string*> texts_;  ///< by id; text_ids_ keeps its keys in place

 private:
  uint32_t id_of(const std::string& text);
  Value* remembered(uint64_t index);

  std::unordered_map<std::string, uint32_t, NameHash> text_ids_;
  uint64_t begin_ = reader_.position(), kept_bytes_ = 0;
};

}  // namespace hfload
