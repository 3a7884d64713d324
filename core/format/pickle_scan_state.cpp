#include "core/format/pickle_scan_state.h"

#include <fmt/core.h>

#include <algorithm>

#include "core/format/pickle.h"

namespace hfload {
namespace {

// What an entry of a map takes beside its text.
constexpr uint64_t kEntryBytes = 96;
constexpr size_t kShownBytes = 200;
// Texts that are only shown are kept while all that is kept takes no more than this.
constexpr uint64_t kShownMemory = 4 << 20;
constexpr auto kUnset = ScannedValue::Kind::mark;

}  // namespace

void PickleScanState::push(Value value) {
  if (frame_.stack.size() >= kMaxPickleStack) throw invalid("the stack has more than 1,048,576 values");
  frame_.stack.push_back(value);
}

uint32_t PickleScanState::id_of(const std::string& text) {
  const auto [it, is_new] = text_ids_.try_emplace(text, static_cast<uint32_t>(texts_.size()));
  if (is_new) {
    if (texts_.size() == Value::kIds - 1) throw invalid("the pickle has more than 268,435,454 texts");
    keep(text.size() + kEntryBytes);
    texts_.push_back(&it->first);
  }
  return it->second;
}

void PickleScanState::push_text(const std::string& text) {
  // Longer ones are no names; those that are kept are few in real files and bounded in others.
  if (text.size() > kMaxPickleNameBytes) return push_shown("", text);
  push(Value::of(Kind::text, id_of(text)));
}

/// The beginning of text_, for the arguments of calls only.
void PickleScanState::push_shown(std::string_view prefix, std::string_view text) {
  if (kept_bytes_ > kShownMemory) return push({});
  const std::string_view start = cut_text(text, kShownBytes);
  const bool is_whole = start.size() == text.size();
  push(Value::of(Kind::shown,
                 id_of(fmt::format("{}{}{}", prefix, quote_python_text(start), is_whole ? "" : "…"))));
}

/// An empty stack gives anything, so that what follows is still read.
ScannedValue PickleScanState::pop() {
  if (frame_.stack.empty() || frame_.stack.back().kind == Kind::mark) is_chance_ = true;
  if (frame_.stack.empty()) return {};
  const Value value = frame_.stack.back();
  frame_.stack.pop_back();
  return value;
}

/// The first of the values above the mark, more than a ScannedValues keeps.
std::vector<ScannedValue> PickleScanState::pop_to_mark() {
  size_t begin = frame_.stack.size();
  while (begin > 0 && frame_.stack[begin - 1].kind != Kind::mark) --begin;
  if (begin == 0) is_chance_ = true;
  const size_t count = std::min<size_t>(frame_.stack.size() - begin, ScannedValues::kMostMembers + 1);
  const auto first = frame_.stack.begin() + static_cast<ptrdiff_t>(begin);
  std::vector<Value> members(first, first + static_cast<ptrdiff_t>(count));
  frame_.stack.resize(begin == 0 ? 0 : begin - 1);
  return members;
}

/// Where the memo has a place; null where nothing is there yet. Places beyond what picklers number stand
/// apart.
ScannedValue* PickleScanState::remembered(uint64_t index) {
  if (index < frame_.memo.size() && frame_.memo[index].kind != kUnset) return &frame_.memo[index];
  const auto it = frame_.far_memo.find(index);
  return it == frame_.far_memo.end() ? nullptr : &it->second;
}

void PickleScanState::put(uint64_t index) {
  Value value = frame_.stack.empty() ? Value{} : frame_.stack.back();
  if (value.kind == kUnset) value = {};
  if (Value* const place = remembered(index)) {
    *place = value;
    return;
  }
  ++frame_.memo_count;
  if (index > opcodes_) {
    keep(kEntryBytes);
    frame_.far_memo.emplace(index, value);
    return;
  }
  if (index >= frame_.memo.size()) keep((index + 1 - frame_.memo.size()) * sizeof value);
  while (index >= frame_.memo.size()) frame_.memo.push_back(Value::of(kUnset));
  frame_.memo[index] = value;
}

void PickleScanState::get(uint64_t index) {
  const Value* const place = remembered(index);
  push(place == nullptr ? Value{} : *place);
}

void PickleScanState::keep(uint64_t bytes) {
  kept_bytes_ += bytes;
  if (kept_bytes_ > kPickleMemoryBytes + kPickleMemoryPerByte * (at_ - begin_))
    throw invalid("its strings and names take more than 32 MiB and two bytes for each byte of the pickle");
}

ScannedValue PickleScanState::top() const { return frame_.stack.empty() ? Value{} : frame_.stack.back(); }

}  // namespace hfload
