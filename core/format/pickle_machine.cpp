#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <optional>

#include "core/base/error.h"
#include "core/format/pickle.h"
#include "core/format/pickle_opcodes.h"
#include "core/format/pickle_stack.h"

namespace hfload {

/// The stack machine of Python's pickle module, with values in the place of objects.
class PickleMachine : private PickleStack {
 public:
  PickleMachine(const ByteSource& source, uint64_t begin, uint64_t limit)
      : PickleStack(begin),
        reader_(source, begin, std::min(limit, begin + kMaxPickleBytes)),
        cut_by_limit_(limit - begin > kMaxPickleBytes) {}

  ParsedPickle run() && {
    while (step()) {
    }
    ParsedPickle parsed;
    parsed.end = reader_.position();
    parsed.tree = take_tree();
    return parsed;
  }

 private:
  void need(uint64_t bytes) const {
    if (bytes > reader_.remaining()) {
      throw invalid(cut_by_limit_ ? "the pickle is longer than 512 MiB"
                                  : "the pickle ends before it is complete");
    }
    if (frame_end_ && bytes > *frame_end_ - reader_.position())
      throw invalid("it straddles the end of its frame");
  }
  uint64_t number(unsigned bytes) {
    need(bytes);
    return reader_.little_endian(bytes);
  }

  /// Executes one opcode; false after STOP.
  bool step() {
    at_ = reader_.position();
    if (frame_end_ == at_) frame_end_.reset();
    opcode_name_ = "(none)";
    need(1);
    const uint8_t byte = reader_.next();
    const PickleOpcodeInfo* info = find_pickle_opcode(byte);
    if (info == nullptr) throw invalid(fmt::format("{:#04x} is no opcode", byte));
    opcode_name_ = info->name;
    if (++opcodes_ > kMaxPickleOpcodes) throw invalid("the pickle has more than 50,000,000 opcodes");
    if (opcodes_ == 1 && info->opcode != PickleOpcode::proto)
      throw invalid("a pickle of a supported protocol begins with PROTO");
    if (info->opcode == PickleOpcode::stop) {
      if (frame_end_ && *frame_end_ != reader_.position()) throw invalid("its frame goes on");
      return false;
    }
    execute(info->opcode);
    return true;
  }

  void execute(PickleOpcode opcode) {
    switch (opcode) {
      case PickleOpcode::proto:
        return proto();
      case PickleOpcode::frame:
        return frame();
      case PickleOpcode::none:
        return push(PickleKind::none);
      case PickleOpcode::newtrue:
        return push(PickleKind::boolean, 1);
      case PickleOpcode::newfalse:
        return push(PickleKind::boolean, 0);
      case PickleOpcode::binint:
        return push_integer(static_cast<int32_t>(number(4)));
      case PickleOpcode::binint1:
        return push_integer(static_cast<int64_t>(number(1)));
      case PickleOpcode::binint2:
        return push_integer(static_cast<int64_t>(number(2)));
      case PickleOpcode::long1:
        return long_integer(number(1));
      case PickleOpcode::binfloat:
        return push(PickleKind::floating, __builtin_bswap64(number(8)));
      case PickleOpcode::short_binstring:
        return text(number(1), PickleKind::bytes, true);
      case PickleOpcode::short_binunicode:
        return text(number(1), PickleKind::string);
      case PickleOpcode::binunicode:
        return text(number(4), PickleKind::string);
      case PickleOpcode::binunicode8:
        return text(number(8), PickleKind::string);
      case PickleOpcode::short_binbytes:
        return text(number(1), PickleKind::bytes);
      case PickleOpcode::binbytes:
        return text(number(4), PickleKind::bytes);
      case PickleOpcode::binbytes8:
      case PickleOpcode::bytearray8:
        return text(number(8), PickleKind::bytes);
      case PickleOpcode::mark:
        return mark();
      case PickleOpcode::empty_list:
        return push_container(PickleKind::list, {});
      case PickleOpcode::empty_dict:
        return push_container(PickleKind::dict, {});
      case PickleOpcode::empty_set:
        return push_container(PickleKind::set, {});
      case PickleOpcode::empty_tuple:
        return push_container(PickleKind::tuple, {});
      case PickleOpcode::tuple:
        return push_container(PickleKind::tuple, pop_to_mark());
      case PickleOpcode::frozenset:
        return push_container(PickleKind::set, hashable(pop_to_mark()));
      case PickleOpcode::tuple1:
        return push_container(PickleKind::tuple, pop(1));
      case PickleOpcode::tuple2:
        return push_container(PickleKind::tuple, pop(2));
      case PickleOpcode::tuple3:
        return push_container(PickleKind::tuple, pop(3));
      case PickleOpcode::append:
        return extend(pop(1), PickleKind::list);
      case PickleOpcode::appends:
        return extend(pop_to_mark(), PickleKind::list);
      case PickleOpcode::additems:
        return extend(hashable(pop_to_mark()), PickleKind::set);
      case PickleOpcode::setitem:
        return extend(pairs(pop(2)), PickleKind::dict);
      case PickleOpcode::setitems:
        return extend(pairs(pop_to_mark()), PickleKind::dict);
      case PickleOpcode::binput:
        return put(number(1), opcodes_);
      case PickleOpcode::long_binput:
        return put(number(4), opcodes_);
      case PickleOpcode::memoize:
        return put(memo_count_, opcodes_);
      case PickleOpcode::binget:
        return get(number(1));
      case PickleOpcode::long_binget:
        return get(number(4));
      case PickleOpcode::global:
        return global();
      case PickleOpcode::stack_global:
        return stack_global();
      case PickleOpcode::reduce:
        return reduce();
      case PickleOpcode::newobj:
        return newobj();
      case PickleOpcode::build:
        return build();
      case PickleOpcode::binpersid:
        return persistent_id();
      default:
        throw unsafe("no weights need it");
    }
  }

  void proto() {
    const uint64_t protocol = number(1);
    if (opcodes_ != 1) throw invalid("it is not the first opcode");
    if (protocol < 2 || protocol > 5)
      throw invalid(fmt::format("protocol {} is not one of 2 to 5", protocol));
  }

  void frame() {
    const uint64_t bytes = number(8);
    if (frame_end_) throw invalid("it lies inside another frame");
    if (bytes == 0 || bytes > reader_.remaining())
      throw invalid(fmt::format("a frame of {} bytes does not fit in the pickle", bytes));
    frame_end_ = reader_.position() + bytes;
  }

  void long_integer(uint64_t bytes) {
    need(bytes);
    if (bytes > 8) return keep_text(bytes, PickleKind::big_integer);
    const uint64_t raw = reader_.little_endian(static_cast<unsigned>(bytes));
    if (bytes == 0 || bytes == 8) return push_integer(static_cast<int64_t>(raw));
    const unsigned unused = 64 - 8 * static_cast<unsigned>(bytes);
    push_integer(static_cast<int64_t>(raw << unused) >> unused);
  }

  /// `utf8_is_string`: the strings of Python 2 have no encoding; what is UTF-8 is taken as that.
  void text(uint64_t bytes, PickleKind kind, bool utf8_is_string = false) {
    need(bytes);
    if (bytes > kMaxPickleStringBytes) {
      reader_.skip(bytes);
      return push(PickleKind::long_text);
    }
    keep_text(bytes, kind);
    const std::string_view kept = tree_.text(stack_.back());
    const bool utf8 = simdjson::validate_utf8(kept.data(), kept.size());
    if (kind == PickleKind::string && !utf8) throw invalid("the string is not valid UTF-8");
    if (utf8_is_string && utf8) become(stack_.back(), PickleKind::string);
  }

  void keep_text(uint64_t bytes, PickleKind kind) { push(kind, text_payload(reader_, bytes)); }

  std::string line() {
    std::string text;
    for (;;) {
      need(1);
      const char c = static_cast<char>(reader_.next());
      if (c == '\n') return text;
      if (text.size() == kMaxPickleNameBytes) throw invalid("a name is longer than 1024 bytes");
      text.push_back(c);
    }
  }

  void global() {
    const std::string module = line();
    push_global(module, line());
  }
  void stack_global() {
    const PickleId name = pop(), module = pop();
    if (kind(name) != PickleKind::string || kind(module) != PickleKind::string)
      throw unsafe("module and name are not strings");
    push_global(std::string(tree_.text(module)), std::string(tree_.text(name)));
  }
  void push_global(const std::string& module, const std::string& name) {
    const GlobalSymbol symbol = find_pickle_global(module, name);
    if (symbol.kind == GlobalKind::denied) {
      const bool readable = simdjson::validate_utf8(module.data(), module.size()) &&
                            simdjson::validate_utf8(name.data(), name.size());
      throw unsafe(readable ? fmt::format("it names {}.{}, which no weights need", module, name)
                            : "it gives a name that is not UTF-8");
    }
    push(PickleKind::global, index_of(module, name, symbol));
  }

  /// The callable of a REDUCE or NEWOBJ; its arguments have been taken off the stack.
  const PickleGlobal& callable(PickleId id) const {
    if (kind(id) != PickleKind::global) throw unsafe(fmt::format("it calls {}", describe(kind(id))));
    return tree_.global(id);
  }
  void require_tuple(PickleId arguments) const {
    if (kind(arguments) != PickleKind::tuple)
      throw invalid(fmt::format("the arguments are {}, not a tuple", describe(kind(arguments))));
  }

  void reduce() {
    const PickleId tuple = pop(), function = pop();
    require_tuple(tuple);
    const PickleGlobal& called = callable(function);
    switch (called.symbol.kind) {
      case GlobalKind::ordered_dict:
      case GlobalKind::counter:
        return push_container(PickleKind::dict, dict_arguments(tuple));
      case GlobalKind::storage:
      case GlobalKind::untyped_storage:
      case GlobalKind::tensor_class:
      case GlobalKind::dtype:
        throw unsafe(fmt::format("it calls {}.{}, which no weights need", called.module, called.name));
      default:
        return push_container(PickleKind::object, {function, tuple});
    }
  }

  /// What `OrderedDict(…)` would hold: nothing, another dict's members, or those of a list of pairs.
  std::vector<PickleId> dict_arguments(PickleId tuple) const {
    const std::vector<PickleId> values = tree_.members(tuple, 2);
    if (values.empty()) return {};
    if (values.size() == 1 && kind(values[0]) == PickleKind::dict) return tree_.members(values[0]);
    if (values.size() != 1 || kind(values[0]) != PickleKind::list)
      throw invalid("a dict is made from neither a dict nor a list of pairs");
    std::vector<PickleId> found;
    for (const PickleId pair : tree_.members(values[0])) {
      const bool sequence = kind(pair) == PickleKind::list || kind(pair) == PickleKind::tuple;
      const std::vector<PickleId> both = sequence ? tree_.members(pair, 3) : std::vector<PickleId>();
      if (both.size() != 2) throw invalid("a dict is made from something else than pairs");
      found.insert(found.end(), both.begin(), both.end());
      if (found.size() > kMaxPickleMembers) throw invalid("the pickle has more than 16,777,216 members");
    }
    return pairs(std::move(found));
  }

  void newobj() {
    const PickleId tuple = pop(), type = pop();
    require_tuple(tuple);
    const PickleGlobal& made = callable(type);
    switch (made.symbol.kind) {
      case GlobalKind::ordered_dict:
      case GlobalKind::counter:
        return push_container(PickleKind::dict, {});
      case GlobalKind::value:
      case GlobalKind::unsupported_value:
        return push_container(PickleKind::object, {type, tuple});
      default:
        throw unsafe(fmt::format("it makes a {}.{}, which no weights need", made.module, made.name));
    }
  }

  void build() {
    const PickleId state = pop(), target = top();
    if (kind(target) == PickleKind::object) return add(target, state);
    // The state of an OrderedDict is its attributes, such as _metadata.
    if (kind(target) != PickleKind::dict)
      throw invalid(fmt::format("it sets the state of {}", describe(kind(target))));
  }

  void persistent_id() {
    const PickleId id = pop();
    const std::vector<PickleId> parts =
        kind(id) == PickleKind::tuple ? tree_.members(id, 1) : std::vector<PickleId>();
    if (parts.empty() || kind(parts[0]) != PickleKind::string || tree_.text(parts[0]) != "storage")
      throw unsafe("the persistent id is not that of a storage");
    push_container(PickleKind::persistent, {id});
  }

  ByteReader reader_;
  bool cut_by_limit_;
  std::optional<uint64_t> frame_end_;
  uint64_t opcodes_ = 0;
};

ParsedPickle parse_pickle(const ByteSource& source, uint64_t begin, uint64_t limit) {
  return PickleMachine(source, begin, limit).run();
}

}  // namespace hfload
