#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/format/pickle.h"

namespace hfload {

/// Stack, marks and memo of the pickle machine, and the tree that grows under them, all within their limits.
/// Every function throws Error(invalid_pickle) where the pickle asks for what is not there.
class PickleStack {
 public:
  explicit PickleStack(uint64_t begin) { tree_.begin_ = begin; }

  /// The one value that is left is the root. Checks that it holds no cycle and lies within the limits of
  /// nesting.
  PickleTree take_tree() {
    tree_.root_ = pop();
    if (!stack_.empty() || !marks_.empty()) throw invalid("values are left on the stack");
    tree_.check_nesting();
    return std::move(tree_);
  }

 protected:
  Error fail(ErrorCode code, std::string_view message) const {
    return Error(code, fmt::format("the pickle's opcode {}: {}", opcode_name_, message)).with_offset(at_);
  }
  Error invalid(std::string_view message) const {
    return fail(ErrorCode::invalid_pickle, message)
        .with_hint("The file is damaged, or was not written by torch.save.");
  }
  Error unsafe(std::string_view message) const {
    return fail(ErrorCode::unsafe_pickle, message)
        .with_hint("Do not open this file with Python's pickle. `hfload scan` lists what it names.");
  }

  PickleId make(PickleKind kind, uint64_t payload) {
    if (tree_.values_.size() >= kMaxPickleValues) throw invalid("the pickle has more than 8,388,608 values");
    tree_.values_.push_back({kind, static_cast<uint32_t>(at_ - tree_.begin_), payload});
    return static_cast<PickleId>(tree_.values_.size() - 1);
  }
  void push_id(PickleId id) {
    if (stack_.size() >= kMaxPickleStack) throw invalid("the stack has more than 4,194,304 values");
    stack_.push_back(id);
  }
  void push(PickleKind kind, uint64_t payload = 0) { push_id(make(kind, payload)); }
  void push_integer(int64_t value) { push(PickleKind::integer, static_cast<uint64_t>(value)); }

  /// Appends to the tree's text; payload of a string.
  uint64_t text_payload(ByteReader& reader, uint64_t bytes) {
    std::string& all = tree_.text_;
    if (all.size() + bytes > kMaxPickleTextBytes) throw invalid("the pickle has more than 64 MiB of strings");
    const uint64_t start = all.size();
    reader.append_to(all, bytes);
    return start << 24 | bytes;
  }
  void become(PickleId id, PickleKind kind) { tree_.values_[id].kind = kind; }

  void mark() {
    if (marks_.size() >= kMaxPickleDepth) throw invalid("more than 1000 marks are open");
    marks_.push_back(stack_.size());
  }
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  PickleId top() const {
    if (stack_.size() <= floor()) throw invalid("the stack is empty");
    return stack_.back();
  }
  PickleId pop() {
    const PickleId id = top();
    stack_.pop_back();
    return id;
  }
  std::vector<PickleId> pop_from(size_t first) {
    std::vector<PickleId> items(stack_.begin() + static_cast<ptrdiff_t>(first), stack_.end());
    stack_.resize(first);
    return items;
  }
  std::vector<PickleId> pop(size_t count) {
    if (stack_.size() - floor() < count) throw invalid("the stack is empty");
    return pop_from(stack_.size() - count);
  }
  std::vector<PickleId> pop_to_mark() {
    if (marks_.empty()) throw invalid("no mark is open");
    const size_t first = marks_.back();
    marks_.pop_back();
    return pop_from(first);
  }

  PickleKind kind(PickleId id) const { return tree_.values_[id].kind; }

  void add(PickleId container, PickleId member) {
    if (tree_.members_.size() >= kMaxPickleMembers)
      throw invalid("the pickle has more than 16,777,216 members");
    const auto index = static_cast<uint32_t>(tree_.members_.size());
    tree_.members_.push_back({member, PickleTree::kEnd});
    Value& value = tree_.values_[container];
    const bool empty = PickleTree::first(value) == PickleTree::kEnd;
    if (!empty) tree_.members_[PickleTree::last(value)].next = index;
    value.payload = (empty ? index : PickleTree::first(value)) | uint64_t{index} << 32;
  }

  void push_container(PickleKind kind, const std::vector<PickleId>& members) {
    const PickleId container = make(kind, PickleTree::kEnd | uint64_t{PickleTree::kEnd} << 32);
    for (const PickleId member : members) add(container, member);
    push_id(container);
  }

  void extend(const std::vector<PickleId>& members, PickleKind wanted) {
    const PickleId container = top();
    if (kind(container) != wanted)
      throw invalid(fmt::format("it changes {}, not {}", describe(kind(container)), describe(wanted)));
    for (const PickleId member : members) add(container, member);
  }

  void require_hashable(PickleId id) const {
    const PickleKind k = kind(id);
    if (k == PickleKind::list || k == PickleKind::dict || k == PickleKind::set)
      throw invalid(fmt::format("{} cannot be a key", describe(k)));
  }
  std::vector<PickleId> hashable(std::vector<PickleId> items) const {
    for (const PickleId item : items) require_hashable(item);
    return items;
  }
  std::vector<PickleId> pairs(std::vector<PickleId> items) const {
    if (items.size() % 2 != 0) throw invalid("a key has no value");
    for (size_t i = 0; i < items.size(); i += 2) require_hashable(items[i]);
    return items;
  }

  /// Picklers number what they remember; a pickle cannot have remembered more than it has opcodes.
  void put(uint64_t index, uint64_t opcodes) {
    if (index > opcodes || index >= kMaxPickleValues)
      throw invalid(fmt::format("the memo has no place {} yet", index));
    if (index >= memo_.size()) memo_.resize(index + 1, kUnset);
    if (memo_[index] == kUnset) ++memo_count_;
    memo_[index] = top();
  }
  void get(uint64_t index) {
    if (index >= memo_.size() || memo_[index] == kUnset)
      throw invalid(fmt::format("the memo has nothing at {}", index));
    push_id(memo_[index]);
  }

  uint64_t index_of(const std::string& module, const std::string& name, const GlobalSymbol& symbol) {
    std::vector<PickleGlobal>& globals = tree_.globals_;
    const auto known = std::ranges::find_if(
        globals, [&](const PickleGlobal& g) { return g.module == module && g.name == name; });
    const auto index = static_cast<uint64_t>(known - globals.begin());
    if (known == globals.end()) globals.push_back({module, name, symbol});
    return index;
  }

  PickleTree tree_;
  std::vector<PickleId> stack_, memo_;
  std::vector<size_t> marks_;  ///< sizes of the stack
  uint64_t memo_count_ = 0;
  uint64_t at_ = 0;               ///< of the opcode that is executed
  std::string_view opcode_name_;  ///< its name

 private:
  using Value = PickleTree::Value;
  static constexpr PickleId kUnset = UINT32_MAX;
};

}  // namespace hfload
