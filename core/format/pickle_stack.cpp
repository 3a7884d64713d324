#include "core/format/pickle_stack.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

namespace hfload {
namespace {

// What a value takes: itself, and while nesting is checked.
constexpr uint64_t kValueBytes = 12 + 6;
// A stack that grows takes its memory twice for a while.
constexpr uint64_t kStackBytes = 2 * sizeof(PickleId);
// What the readers of state dicts make of a storage.
constexpr uint64_t kStorageBytes = 120;

}  // namespace

PickleTree PickleStack::take_tree() {
  tree_.root_ = pop();
  if (!stack_.empty() || !marks_.empty()) throw invalid("values are left on the stack");
  stack_ = {};
  memo_ = {};
  tree_.check_nesting();
  return std::move(tree_);
}

void PickleStack::spend(uint64_t bytes) {
  spent_bytes_ += bytes;
  if (spent_bytes_ > kPickleMemoryBytes + kPickleMemoryPerByte * (at_ - tree_.begin_))
    throw invalid("the values take more than 32 MiB and two bytes for each byte of the pickle");
}

PickleId PickleStack::make(PickleKind kind, uint64_t payload) {
  spend(kValueBytes);
  tree_.values_.push_back({static_cast<uint32_t>(at_ - tree_.begin_), 0, 0});
  const auto id = static_cast<PickleId>(tree_.values_.size() - 1);
  set_payload(id, kind, payload);
  return id;
}

void PickleStack::set_payload(PickleId id, PickleKind kind, uint64_t payload) {
  PickleTree::Value& value = tree_.values_[id];
  value.low = static_cast<uint32_t>(payload);
  value.kind_and_high = static_cast<uint32_t>(kind) << 28 | static_cast<uint32_t>(payload >> 32);
}

void PickleStack::become(PickleId id, PickleKind kind) { set_payload(id, kind, tree_.values_[id].payload()); }

uint64_t PickleStack::wide(uint64_t number) {
  spend(sizeof number);
  tree_.wide_.push_back(number);
  return tree_.wide_.size() - 1;
}

void PickleStack::push_id(PickleId id) {
  if (stack_.size() >= kMaxPickleStack) throw invalid("the stack has more than 1,048,576 values");
  if (stack_.size() == stack_height_) {
    spend(kStackBytes);
    ++stack_height_;
  }
  stack_.push_back(id);
}

void PickleStack::push_integer(int64_t value) {
  if (value >= 0 && value < int64_t{PickleTree::kSmall}) {
    push_id(PickleTree::kSmall | static_cast<PickleId>(value));
  } else {
    push(PickleKind::integer, wide(static_cast<uint64_t>(value)));
  }
}

void PickleStack::push_text(PickleKind kind, uint64_t bytes) {
  constexpr uint64_t kBlock = PickleTree::kTextBlockBytes;
  if (text_end_ % kBlock + bytes > kBlock) text_end_ += kBlock - text_end_ % kBlock;
  while (tree_.text_.size() <= text_end_ / kBlock) {
    // Only what is written to takes memory.
    tree_.text_.push_back(std::make_unique_for_overwrite<char[]>(kBlock));
  }
  spend(bytes);
  const uint64_t start = text_end_;
  reader_.copy_to({tree_.text_[start / kBlock].get() + start % kBlock, bytes});
  text_end_ += bytes;
  push(kind, start << PickleTree::kSizeBits | bytes);
}

void PickleStack::push_call(PickleId function, PickleId arguments) {
  push_id(make_container(PickleKind::object, std::array{function, arguments}));
}

void PickleStack::push_persistent(PickleId id) {
  spend(kStorageBytes);
  push_id(make_container(PickleKind::persistent, {&id, 1}));
}

void PickleStack::push_global(const std::string& module, const std::string& name,
                              const GlobalSymbol& symbol) {
  std::vector<PickleGlobal>& globals = tree_.globals_;
  const auto known = std::ranges::find_if(
      globals, [&](const PickleGlobal& g) { return g.module == module && g.name == name; });
  const auto index = static_cast<uint64_t>(known - globals.begin());
  if (known == globals.end()) globals.push_back({module, name, symbol});
  push(PickleKind::global, index);
}

void PickleStack::mark() {
  if (marks_.size() >= kMaxPickleDepth) throw invalid("more than 1000 marks are open");
  marks_.push_back(stack_.size());
}

PickleId PickleStack::top() const {
  if (stack_.size() <= floor()) throw invalid("the stack is empty");
  return stack_.back();
}

PickleId PickleStack::pop() {
  const PickleId id = top();
  stack_.pop_back();
  return id;
}

size_t PickleStack::take_mark() {
  if (marks_.empty()) throw invalid("no mark is open");
  const size_t first = marks_.back();
  marks_.pop_back();
  return first;
}

size_t PickleStack::last(size_t count) const {
  if (stack_.size() - floor() < count) throw invalid("the stack is empty");
  return stack_.size() - count;
}

PickleId PickleStack::make_container(PickleKind kind, std::span<const PickleId> members) {
  if (kind == PickleKind::tuple && members.empty()) return PickleTree::kEmptyTuple;
  if (!PickleTree::is_fixed(kind)) {
    const PickleId id = make(kind, PickleTree::kNoRun | uint64_t{PickleTree::kNoRun} << 32);
    add(id, members);
    return id;
  }
  const uint64_t first = tree_.members_.size();
  spend(members.size() * sizeof(PickleId));
  for (const PickleId member : members) tree_.members_.push_back(member);
  return make(kind, first | uint64_t{members.size()} << 32);
}

void PickleStack::collect(PickleKind kind, size_t first) {
  const PickleId container = make_container(kind, from(first));
  stack_.resize(first);
  push_id(container);
}

void PickleStack::extend(PickleKind kind, size_t first) {
  if (first <= floor()) throw invalid("the stack is empty");
  const PickleId container = stack_[first - 1];
  if (tree_.kind(container) != kind) {
    throw invalid(fmt::format("it changes {}, not {}", describe(tree_.kind(container)), describe(kind)));
  }
  add(container, from(first));
  stack_.resize(first);
}

void PickleStack::add(PickleId container, std::span<const PickleId> members) {
  if (members.empty()) return;
  PickleBlocks<uint32_t>& all = tree_.members_;
  const uint64_t payload = tree_.values_[container].payload();
  auto first = static_cast<uint32_t>(payload), last = static_cast<uint32_t>(payload >> 32);
  // Most containers are made in one go: the last run goes on where nothing stands behind it.
  const bool goes_on = last != PickleTree::kNoRun && last + 2 + uint64_t{all[last]} == all.size();
  spend((members.size() + (goes_on ? 0 : 2)) * sizeof(PickleId));
  if (all.size() + 2 + members.size() >= PickleTree::kNoRun)
    throw invalid("the pickle has more than 268,435,452 members");
  if (!goes_on) {
    const auto run = static_cast<uint32_t>(all.size());
    all.push_back(0);
    all.push_back(PickleTree::kNoRun);
    if (last == PickleTree::kNoRun) {
      first = run;
    } else {
      all[last + 1] = run;
    }
    last = run;
  }
  for (const PickleId member : members) all.push_back(member);
  all[last] += static_cast<uint32_t>(members.size());
  set_payload(container, tree_.kind(container), first | uint64_t{last} << 32);
}

void PickleStack::require_key(PickleId id) const {
  const PickleKind k = tree_.kind(id);
  if (k == PickleKind::list || k == PickleKind::dict || k == PickleKind::set)
    throw invalid(fmt::format("{} cannot be a key", describe(k)));
}

void PickleStack::require_hashable(size_t first, size_t step) const {
  for (size_t i = first; i < stack_.size(); i += step) require_key(stack_[i]);
}

void PickleStack::require_pairs(size_t first) const {
  if ((stack_.size() - first) % 2 != 0) throw invalid("a key has no value");
  require_hashable(first, 2);
}

void PickleStack::put(uint64_t index) {
  // Picklers number what they remember; a pickle cannot have remembered more than it has opcodes.
  if (index > opcodes_) throw invalid(fmt::format("the memo has no place {} yet", index));
  if (index >= memo_.size()) {
    spend((index + 1 - memo_.size()) * sizeof(PickleId));
    while (memo_.size() <= index) memo_.push_back(kUnset);
  }
  if (memo_[index] == kUnset) ++memo_count_;
  memo_[index] = top();
}

void PickleStack::get(uint64_t index) {
  if (index >= memo_.size() || memo_[index] == kUnset)
    throw invalid(fmt::format("the memo has nothing at {}", index));
  push_id(memo_[index]);
}

}  // namespace hfload
