#include "core/format/pickle_scan.h"

#include <fmt/core.h>
#include <simdjson.h>

#include <algorithm>
#include <unordered_map>

#include "core/base/name_hash.h"
#include "core/format/pickle.h"
#include "core/format/pickle_opcode_reader.h"

namespace hfload {
namespace {

/// The two's complement of 0x1950a86a20f9469cfc6c, torch.serialization.MAGIC_NUMBER.
constexpr std::string_view kLegacyMagic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);

// What an entry of a map takes beside its text.
constexpr uint64_t kEntryBytes = 96;

class Scanner : private PickleOpcodeReader {
 public:
  using PickleOpcodeReader::PickleOpcodeReader;

  PickleScan run() && {
    try {
      while (step()) {
      }
    } catch (const Error& error) {
      if (error.code() != ErrorCode::invalid_pickle) throw;
      found_.fault = error;
    }
    found_.end = reader_.position();
    return std::move(found_);
  }

 private:
  static constexpr uint32_t kUnset = UINT32_MAX, kOther = UINT32_MAX - 1;

  /// A string that a STACK_GLOBAL may use, or anything else.
  struct Item {
    enum class Kind : uint8_t { other, mark, text } kind = Kind::other;
    uint32_t text = 0;  ///< into texts_
  };

  bool step() {
    const PickleOpcodeInfo& info = next_opcode();
    opcode_ = info.name;
    if (info.opcode == PickleOpcode::stop) return false;
    read_argument(info);
    execute(info.opcode);
    return true;
  }

  /// Leaves a number in number_, a text in text_ and, for two lines, the first in module_.
  void read_argument(const PickleOpcodeInfo& info) {
    switch (info.argument) {
      case PickleArgument::none:
        return;
      case PickleArgument::bytes_1:
        number_ = number(1);
        return;
      case PickleArgument::bytes_2:
        number_ = number(2);
        return;
      case PickleArgument::bytes_4:
        number_ = number(4);
        return;
      case PickleArgument::bytes_8:
        number_ = number(8);
        return;
      case PickleArgument::line:
        text_ = line(kMaxPickleStringBytes);
        return;
      case PickleArgument::two_lines:
        module_ = line(kMaxPickleStringBytes);
        text_ = line(kMaxPickleStringBytes);
        return;
      case PickleArgument::text_1:
        return read_text(number(1));
      case PickleArgument::text_4:
        return read_text(number(4));
      case PickleArgument::text_8:
        return read_text(number(8));
    }
  }
  void read_text(uint64_t bytes) {
    need(bytes);
    const uint64_t kept = std::min(bytes, kMaxPickleStringBytes);
    text_.clear();
    reader_.append_to(text_, kept);
    reader_.skip(bytes - kept);
  }

  void execute(PickleOpcode opcode) {
    switch (opcode) {
      case PickleOpcode::proto:
      case PickleOpcode::frame:
      case PickleOpcode::readonly_buffer:
        return;
      case PickleOpcode::mark:
        return push({Item::Kind::mark, 0});
      case PickleOpcode::short_binunicode:
      case PickleOpcode::binunicode:
      case PickleOpcode::binunicode8:
      case PickleOpcode::unicode:
      case PickleOpcode::short_binstring:
      case PickleOpcode::binstring:
        return push_text(text_);
      case PickleOpcode::string:
        // Quoted; what is escaped in it stays escaped, which makes it no name of the allow-list.
        return push_text(text_.size() >= 2 ? text_.substr(1, text_.size() - 2) : text_);
      case PickleOpcode::long1:
      case PickleOpcode::long4:
        found_.is_legacy_magic |= text_ == kLegacyMagic;
        return push({});
      case PickleOpcode::pop:
        pop();
        return;
      case PickleOpcode::pop_mark:
        return pop_to_mark();
      case PickleOpcode::dup:
        return push(stack_.empty() ? Item{} : stack_.back());
      case PickleOpcode::binput:
      case PickleOpcode::long_binput:
        return put(number_);
      case PickleOpcode::memoize:
        return put(memo_count_);
      case PickleOpcode::put:
        return put(decimal());
      case PickleOpcode::binget:
      case PickleOpcode::long_binget:
        return get(number_);
      case PickleOpcode::get:
        return get(decimal());
      case PickleOpcode::global:
        note(module_, text_);
        return push({});
      case PickleOpcode::stack_global: {
        const Item name = pop(), module = pop();
        note(text_of(module), text_of(name));
        return push({});
      }
      case PickleOpcode::inst:
        note(module_, text_);
        pop_to_mark();
        return push({});
      case PickleOpcode::ext1:
      case PickleOpcode::ext2:
      case PickleOpcode::ext4:
        note("?", "?");
        return push({});
      case PickleOpcode::list:
      case PickleOpcode::tuple:
      case PickleOpcode::dict:
      case PickleOpcode::frozenset:
      case PickleOpcode::obj:
        pop_to_mark();
        return push({});
      case PickleOpcode::appends:
      case PickleOpcode::setitems:
      case PickleOpcode::additems:
        return pop_to_mark();
      case PickleOpcode::append:
      case PickleOpcode::build:
        pop();
        return;
      case PickleOpcode::setitem:
        pop();
        pop();
        return;
      case PickleOpcode::tuple3:
      case PickleOpcode::newobj_ex:
        pop();
        [[fallthrough]];
      case PickleOpcode::tuple2:
      case PickleOpcode::reduce:
      case PickleOpcode::newobj:
        pop();
        [[fallthrough]];
      case PickleOpcode::tuple1:
      case PickleOpcode::binpersid:
        pop();
        return push({});
      default:
        return push({});
    }
  }

  void push(Item item) {
    if (stack_.size() >= kMaxPickleStack) throw invalid("the stack has more than 1,048,576 values");
    stack_.push_back(item);
  }
  void push_text(const std::string& text) {
    // Longer ones are no names; those that are kept are few in real files and bounded in others.
    if (text.size() > kMaxPickleNameBytes) return push({});
    const auto [it, is_new] = text_ids_.try_emplace(text, static_cast<uint32_t>(texts_.size()));
    if (is_new) {
      keep(text.size() + kEntryBytes);
      texts_.push_back(&it->first);
    }
    push({Item::Kind::text, it->second});
  }
  /// An empty stack gives anything, so that what follows is still read.
  Item pop() {
    if (stack_.empty()) return {};
    const Item item = stack_.back();
    stack_.pop_back();
    return item;
  }
  void pop_to_mark() {
    while (!stack_.empty() && pop().kind != Item::Kind::mark) {
    }
  }
  uint64_t decimal() const {
    uint64_t value = 0;
    for (const char c : text_) {
      if (c < '0' || c > '9' || value > UINT32_MAX) break;
      value = 10 * value + static_cast<uint64_t>(c - '0');
    }
    return value;
  }
  /// Where the memo has a place; null where nothing is there yet. Places beyond what picklers number stand
  /// apart.
  uint32_t* remembered(uint64_t index) {
    if (index < memo_.size() && memo_[index] != kUnset) return &memo_[index];
    const auto it = far_memo_.find(index);
    return it == far_memo_.end() ? nullptr : &it->second;
  }
  void put(uint64_t index) {
    const bool is_text = !stack_.empty() && stack_.back().kind == Item::Kind::text;
    const uint32_t value = is_text ? stack_.back().text : kOther;
    if (uint32_t* const place = remembered(index)) {
      *place = value;
      return;
    }
    ++memo_count_;
    if (index > opcodes_) {
      keep(kEntryBytes);
      far_memo_.emplace(index, value);
      return;
    }
    if (index >= memo_.size()) keep((index + 1 - memo_.size()) * sizeof value);
    while (index >= memo_.size()) memo_.push_back(kUnset);
    memo_[index] = value;
  }
  void get(uint64_t index) {
    const uint32_t* const place = remembered(index);
    push(place == nullptr || *place == kOther ? Item{} : Item{Item::Kind::text, *place});
  }
  void keep(uint64_t bytes) {
    kept_bytes_ += bytes;
    if (kept_bytes_ > kPickleMemoryBytes + kPickleMemoryPerByte * (at_ - begin_))
      throw invalid("its strings and names take more than 32 MiB and two bytes for each byte of the pickle");
  }
  std::string text_of(const Item& item) const {
    return item.kind == Item::Kind::text ? *texts_[item.text] : "?";
  }

  static std::string readable(const std::string& text) {
    return simdjson::validate_utf8(text.data(), text.size()) ? text.substr(0, kMaxPickleNameBytes) : "?";
  }
  void note(const std::string& module, const std::string& name) {
    if (found_.globals.size() >= kMaxScannedGlobals)
      throw invalid("the pickle names more than 100,000 globals");
    const GlobalVerdict verdict = verdict_of(find_pickle_global(module, name).kind);
    found_.globals.push_back({std::string(opcode_), readable(module), readable(name), at_, verdict});
    keep(found_.globals.back().bytes());
  }

  PickleScan found_;
  std::vector<Item> stack_;
  PickleBlocks<uint32_t> memo_;  ///< by place: a text, kOther or kUnset
  std::unordered_map<uint64_t, uint32_t> far_memo_;
  std::unordered_map<std::string, uint32_t, NameHash> text_ids_;
  std::vector<const std::string*> texts_;  ///< by id; the map keeps its keys in place
  uint64_t begin_ = reader_.position();
  uint64_t kept_bytes_ = 0, memo_count_ = 0, number_ = 0;
  std::string module_, text_;
  std::string_view opcode_;
};

}  // namespace

PickleScan scan_pickle(const ByteSource& source, uint64_t begin, uint64_t limit) {
  return Scanner(source, begin, limit).run();
}

}  // namespace hfload
