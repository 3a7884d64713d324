#include <fmt/core.h>
#include <simdjson.h>

#include "core/base/error.h"
#include "core/format/pickle.h"
#include "core/format/pickle_stack.h"

namespace hfload {

/// The stack machine of Python's pickle module, with values in the place of objects.
class PickleMachine : private PickleStack {
 public:
  PickleMachine(const ByteSource& source, uint64_t begin, uint64_t limit)
      : PickleStack(source, begin, limit), begin_(begin) {}

  ParsedPickle run() && {
    while (step()) {
    }
    ParsedPickle parsed;
    parsed.begin = begin_;
    parsed.end = reader_.position();
    parsed.tree = take_tree();
    return parsed;
  }

 private:
  /// Executes one opcode; false after STOP.
  bool step() {
    const PickleOpcode opcode = next_opcode().opcode;
    if (opcodes_ == 1 && opcode != PickleOpcode::proto)
      throw invalid("a pickle of a supported protocol begins with PROTO");
    if (opcode == PickleOpcode::stop) {
      if (frame_end_ && *frame_end_ != reader_.position()) throw invalid("its frame goes on");
      return false;
    }
    execute(opcode);
    return true;
  }

  void execute(PickleOpcode opcode) {
    switch (opcode) {
      case PickleOpcode::proto:
        return proto();
      case PickleOpcode::frame:
        return frame();
      case PickleOpcode::none:
        return push_none();
      case PickleOpcode::newtrue:
        return push_boolean(true);
      case PickleOpcode::newfalse:
        return push_boolean(false);
      case PickleOpcode::binint:
        return push_integer(static_cast<int32_t>(number(4)));
      case PickleOpcode::binint1:
        return push_integer(static_cast<int64_t>(number(1)));
      case PickleOpcode::binint2:
        return push_integer(static_cast<int64_t>(number(2)));
      case PickleOpcode::long1:
        return long_integer(number(1));
      case PickleOpcode::binfloat:
        return push_floating(__builtin_bswap64(number(8)));
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
        return push_empty(PickleKind::list);
      case PickleOpcode::empty_dict:
        return push_empty(PickleKind::dict);
      case PickleOpcode::empty_set:
        return push_empty(PickleKind::set);
      case PickleOpcode::empty_tuple:
        return push_empty_tuple();
      case PickleOpcode::tuple:
        return collect(PickleKind::tuple, take_mark());
      case PickleOpcode::frozenset:
        return collect(PickleKind::set, keys_from(take_mark()));
      case PickleOpcode::tuple1:
        return collect(PickleKind::tuple, last(1));
      case PickleOpcode::tuple2:
        return collect(PickleKind::tuple, last(2));
      case PickleOpcode::tuple3:
        return collect(PickleKind::tuple, last(3));
      case PickleOpcode::append:
        return extend(PickleKind::list, last(1));
      case PickleOpcode::appends:
        return extend(PickleKind::list, take_mark());
      case PickleOpcode::additems:
        return extend(PickleKind::set, keys_from(take_mark()));
      case PickleOpcode::setitem:
        return extend(PickleKind::dict, pairs_from(last(2)));
      case PickleOpcode::setitems:
        return extend(PickleKind::dict, pairs_from(take_mark()));
      case PickleOpcode::binput:
        return put(number(1));
      case PickleOpcode::long_binput:
        return put(number(4));
      case PickleOpcode::memoize:
        return put(memo_count());
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

  size_t keys_from(size_t first) const {
    require_hashable(first, 1);
    return first;
  }
  size_t pairs_from(size_t first) const {
    require_pairs(first);
    return first;
  }

  void long_integer(uint64_t bytes) {
    need(bytes);
    if (bytes > 8) return push_text(PickleKind::big_integer, bytes);
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
      return push(PickleKind::long_text, 0);
    }
    push_text(kind, bytes);
    const std::string_view kept = tree_.text(top());
    const bool utf8 = simdjson::validate_utf8(kept.data(), kept.size());
    if (kind == PickleKind::string && !utf8) throw invalid("the string is not valid UTF-8");
    if (utf8_is_string && utf8) become(top(), PickleKind::string);
  }

  std::string name_line() {
    std::string text = line(kMaxPickleNameBytes + 1);
    if (text.size() > kMaxPickleNameBytes) throw invalid("a name is longer than 1024 bytes");
    return text;
  }

  void global() {
    const std::string module = name_line();
    push_symbol(module, name_line());
  }
  void stack_global() {
    const PickleId name = pop(), module = pop();
    if (kind(name) != PickleKind::string || kind(module) != PickleKind::string)
      throw unsafe("module and name are not strings");
    push_symbol(std::string(tree_.text(module)), std::string(tree_.text(name)));
  }
  void push_symbol(const std::string& module, const std::string& name) {
    const GlobalSymbol symbol = find_pickle_global(module, name);
    if (symbol.kind == GlobalKind::denied) {
      const bool readable = simdjson::validate_utf8(module.data(), module.size()) &&
                            simdjson::validate_utf8(name.data(), name.size());
      throw unsafe(readable ? fmt::format("it names {}.{}, which no weights need", module, name)
                            : "it gives a name that is not UTF-8");
    }
    push_global(module, name, symbol);
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
        return make_dict(tuple);
      case GlobalKind::storage:
      case GlobalKind::untyped_storage:
      case GlobalKind::tensor_class:
      case GlobalKind::dtype:
        throw unsafe(fmt::format("it calls {}.{}, which no weights need", called.module, called.name));
      default:
        return push_call(function, tuple);
    }
  }

  /// What `OrderedDict(…)` would hold: nothing, another dict's members, or those of a list of pairs.
  void make_dict(PickleId arguments) {
    push_empty(PickleKind::dict);
    const PickleId dict = top();
    const std::vector<PickleId> values = tree_.members(arguments, 2);
    if (values.empty()) return;
    if (values.size() == 1 && kind(values[0]) == PickleKind::dict) {
      tree_.visit_members(values[0], [&](PickleId member) { add(dict, {&member, 1}); });
      return;
    }
    if (values.size() != 1 || kind(values[0]) != PickleKind::list)
      throw invalid("a dict is made from neither a dict nor a list of pairs");
    tree_.visit_members(values[0], [&](PickleId pair) {
      const bool sequence = kind(pair) == PickleKind::list || kind(pair) == PickleKind::tuple;
      const std::vector<PickleId> both = sequence ? tree_.members(pair, 3) : std::vector<PickleId>();
      if (both.size() != 2) throw invalid("a dict is made from something else than pairs");
      require_key(both[0]);
      add(dict, both);
    });
  }

  void newobj() {
    const PickleId tuple = pop(), type = pop();
    require_tuple(tuple);
    const PickleGlobal& made = callable(type);
    switch (made.symbol.kind) {
      case GlobalKind::ordered_dict:
      case GlobalKind::counter:
        return push_empty(PickleKind::dict);
      case GlobalKind::value:
      case GlobalKind::unsupported_value:
        return push_call(type, tuple);
      default:
        throw unsafe(fmt::format("it makes a {}.{}, which no weights need", made.module, made.name));
    }
  }

  void build() {
    const PickleId state = pop(), target = top();
    if (kind(target) == PickleKind::object) return add(target, {&state, 1});
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
    push_persistent(id);
  }

  uint64_t begin_;
};

ParsedPickle parse_pickle(const ByteSource& source, uint64_t begin, uint64_t limit) {
  return PickleMachine(source, begin, limit).run();
}

}  // namespace hfload
