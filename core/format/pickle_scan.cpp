#include "core/format/pickle_scan.h"

#include <fmt/core.h>
#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <utility>

#include "core/format/joblib_array.h"
#include "core/format/pickle.h"
#include "core/format/pickle_scan_state.h"
#include "core/format/scanned_call.h"

namespace hfload {
namespace {

/// The two's complement of 0x1950a86a20f9469cfc6c, torch.serialization.MAGIC_NUMBER.
constexpr std::string_view kLegacyMagic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);

constexpr unsigned kMostCallDepth = 8;
constexpr uint64_t kMostPadding = 16;

// Names that no weights need and that do no harm: those of joblib's arrays, and of the .metadata of
// torch.distributed.checkpoint.
constexpr struct {
  std::string_view module, name;
} kHarmless[] = {
    {"joblib.numpy_pickle", "NumpyArrayWrapper"},
    {"torch.distributed.checkpoint.metadata", "Metadata"},
    {"torch.distributed.checkpoint.metadata", "MetadataIndex"},
    {"torch.distributed.checkpoint.metadata", "TensorStorageMetadata"},
    {"torch.distributed.checkpoint.metadata", "BytesStorageMetadata"},
    {"torch.distributed.checkpoint.metadata", "ChunkStorageMetadata"},
    {"torch.distributed.checkpoint.metadata", "TensorProperties"},
    {"torch.distributed.checkpoint.metadata", "StorageMeta"},
    {"torch.distributed.checkpoint.metadata", "_MEM_FORMAT_ENCODING"},
    {"torch.distributed.checkpoint.filesystem", "_StorageInfo"},
    {"pathlib", "PosixPath"},
    {"pathlib", "WindowsPath"},
};

// torch.FloatTensor and its kin, which files before torch 0.4 name.
constexpr std::string_view kTensorTypes[] = {"FloatTensor", "DoubleTensor", "HalfTensor", "ByteTensor",
                                             "CharTensor",  "ShortTensor",  "IntTensor",  "LongTensor"};

GlobalVerdict scan_verdict(std::string_view module, std::string_view name) {
  if (module == "torch" && std::ranges::find(kTensorTypes, name) != std::end(kTensorTypes))
    return GlobalVerdict::unsupported;
  for (const auto& harmless : kHarmless) {
    if (harmless.module == module && harmless.name == name) return GlobalVerdict::unsupported;
  }
  return verdict_of(find_pickle_global(module, name).kind);
}

class Scanner : private PickleScanState {
 public:
  Scanner(const ByteSource& source, uint64_t begin, uint64_t limit) : PickleScanState(source, begin, limit) {}

  PickleScan run() && {
    try {
      while (step()) {
      }
    } catch (const Error& error) {
      if (error.code() != ErrorCode::invalid_pickle && error.code() != ErrorCode::unsupported_format) throw;
      found_.fault = error;
    }
    found_.end = reader_.position();
    return std::move(found_);
  }

 private:
  using Value = ScannedValue;
  using Kind = ScannedValue::Kind;

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
        return push(Value::of(Kind::mark));
      case PickleOpcode::none:
        return push(Value::of(Kind::none));
      case PickleOpcode::newtrue:
        return push(Value::of(Kind::yes));
      case PickleOpcode::newfalse:
        return push(Value::of(Kind::no));
      case PickleOpcode::pop:
        if (top().kind == Kind::mark) {
          frame_.stack.pop_back();
        } else {
          pop();
        }
        return;
      case PickleOpcode::pop_mark:
        pop_to_mark();
        return;
      case PickleOpcode::dup:
        return push(top());
      case PickleOpcode::binput:
      case PickleOpcode::long_binput:
        return put(number_);
      case PickleOpcode::memoize:
        return put(frame_.memo_count);
      case PickleOpcode::put:
        return put(decimal());
      case PickleOpcode::binget:
      case PickleOpcode::long_binget:
        return get(number_);
      case PickleOpcode::get:
        return get(decimal());
      case PickleOpcode::persid:
        is_chance_ = true;
        return push({});
      case PickleOpcode::binpersid:
        is_chance_ = true;
        pop();
        return push({});
      default:
        if (!push_literal(opcode) && !name_global(opcode) && !fill_container(opcode)) call(opcode);
    }
  }

  /// Texts and numbers.
  bool push_literal(PickleOpcode opcode) {
    switch (opcode) {
      case PickleOpcode::short_binunicode:
      case PickleOpcode::binunicode:
      case PickleOpcode::binunicode8:
      case PickleOpcode::unicode:
      case PickleOpcode::short_binstring:
      case PickleOpcode::binstring:
        push_text(text_);
        return true;
      case PickleOpcode::string:
        // Quoted; what is escaped in it stays escaped, which makes it no name of the allow-list.
        push_text(text_.size() >= 2 ? text_.substr(1, text_.size() - 2) : text_);
        return true;
      case PickleOpcode::short_binbytes:
      case PickleOpcode::binbytes:
      case PickleOpcode::binbytes8:
      case PickleOpcode::bytearray8:
        push_shown("b", text_);
        return true;
      case PickleOpcode::binint:
        push(values_.make_integer(static_cast<int32_t>(static_cast<uint32_t>(number_))));
        return true;
      case PickleOpcode::binint1:
      case PickleOpcode::binint2:
        push(values_.make_integer(static_cast<int64_t>(number_)));
        return true;
      case PickleOpcode::integer:
        push(text_ == "01" ? Value::of(Kind::yes) : text_ == "00" ? Value::of(Kind::no) : written_value());
        return true;
      case PickleOpcode::long_text:
        if (text_.ends_with('L')) text_.pop_back();
        push(written_value());
        return true;
      case PickleOpcode::long1:
      case PickleOpcode::long4:
        found_.is_legacy_magic |= text_ == kLegacyMagic;
        push(long_value());
        return true;
      default:
        return false;
    }
  }
  Value written_value() {
    int64_t value = 0;
    const char* const end = text_.data() + text_.size();
    const auto [stop, fault] = std::from_chars(text_.data(), end, value);
    return fault == std::errc() && stop == end ? values_.make_integer(value) : Value{};
  }
  Value long_value() {
    if (text_.empty() || text_.size() > 8) return {};
    uint64_t bits = text_.back() & 0x80 ? UINT64_MAX : 0;
    for (size_t i = text_.size(); i-- > 0;) bits = bits << 8 | static_cast<uint8_t>(text_[i]);
    return values_.make_integer(static_cast<int64_t>(bits));
  }

  bool name_global(PickleOpcode opcode) {
    switch (opcode) {
      case PickleOpcode::global:
        push(note(module_, text_));
        return true;
      case PickleOpcode::stack_global: {
        const Value name = pop(), module = pop();
        push(note(text_of(module), text_of(name)));
        return true;
      }
      case PickleOpcode::ext1:
      case PickleOpcode::ext2:
      case PickleOpcode::ext4:
        push(note("?", "?"));
        return true;
      default:
        return false;
    }
  }

  bool fill_container(PickleOpcode opcode) {
    const auto make = [&](Kind kind, std::initializer_list<Value> members) {
      push(values_.make(kind, members));
      return true;
    };
    switch (opcode) {
      case PickleOpcode::empty_tuple:
        return make(Kind::tuple, {});
      case PickleOpcode::empty_list:
        return make(Kind::list, {});
      case PickleOpcode::empty_dict:
        return make(Kind::dict, {});
      case PickleOpcode::tuple1:
        return make(Kind::tuple, {pop()});
      case PickleOpcode::tuple2: {
        const Value second = pop(), first = pop();
        return make(Kind::tuple, {first, second});
      }
      case PickleOpcode::tuple3: {
        const Value third = pop(), second = pop(), first = pop();
        return make(Kind::tuple, {first, second, third});
      }
      case PickleOpcode::tuple:
      case PickleOpcode::list:
      case PickleOpcode::dict: {
        const Kind kind = opcode == PickleOpcode::tuple  ? Kind::tuple
                          : opcode == PickleOpcode::list ? Kind::list
                                                         : Kind::dict;
        const std::vector<Value> members = pop_to_mark();
        push(values_.make(kind, members));
        return true;
      }
      case PickleOpcode::frozenset:
        pop_to_mark();
        push({});
        return true;
      case PickleOpcode::appends:
      case PickleOpcode::setitems:
      case PickleOpcode::additems: {
        const std::vector<Value> members = pop_to_mark();
        values_.append(top(), members);
        return true;
      }
      case PickleOpcode::append: {
        const Value member = pop();
        values_.append(top(), {member});
        return true;
      }
      case PickleOpcode::setitem: {
        const Value member = pop(), key = pop();
        values_.append(top(), {key, member});
        return true;
      }
      default:
        return false;
    }
  }

  void call(PickleOpcode opcode) {
    switch (opcode) {
      case PickleOpcode::newobj_ex:
        pop();
        [[fallthrough]];
      case PickleOpcode::reduce:
      case PickleOpcode::newobj: {
        const Value arguments = pop(), callable = pop();
        return push(call(callable, arguments));
      }
      case PickleOpcode::obj: {
        std::vector<Value> members = pop_to_mark();
        const Value callable = members.empty() ? Value{} : members.front();
        if (!members.empty()) members.erase(members.begin());
        return push(call(callable, values_.make(Kind::tuple, members)));
      }
      case PickleOpcode::inst: {
        const Value callable = note(module_, text_);
        const std::vector<Value> members = pop_to_mark();
        return push(call(callable, values_.make(Kind::tuple, members)));
      }
      case PickleOpcode::build:
        return set_state(pop());
      default:
        return push({});
    }
  }

  /// The value that a call makes; notes calls of denied names.
  Value call(Value callable, Value arguments) {
    const auto* const given = values_.members(arguments);
    if (is_named(callable, "numpy", "dtype") && given != nullptr && !given->empty() &&
        given->front().kind == Kind::text)
      return values_.make_dtype(numpy_dtype(*texts_[given->front().id]));
    std::vector<Value> members{callable};
    if (given == nullptr) {
      members.push_back({});
    } else {
      members.insert(members.end(), given->begin(), given->end());
    }
    const Value made = values_.make(Kind::call, members);
    note_call(callable, made);
    return made;
  }

  void note_call(Value callable, Value made) {
    for (unsigned depth = 0; callable.kind == Kind::call && depth < kMostCallDepth; ++depth) {
      const auto* const members = values_.members(callable);
      if (members == nullptr) return;
      callable = members->front();
    }
    if (callable.kind != Kind::global) return;
    ScannedGlobal& global = found_.globals[callable.id];
    if (global.verdict != GlobalVerdict::denied) return;
    found_.calls_denied_name |= !is_chance_ && is_dotted_name(global.module) && is_dotted_name(global.name);
    if (global.calls.size() >= kMaxCallsOfGlobal || calls_ >= kMaxScannedCalls) return;
    ++calls_;
    std::string text = show_call(made, values_, texts_, found_.globals);
    keep(sizeof(ScannedCall) + text.size());
    global.calls.push_back({std::string(opcode_), at_, std::move(text)});
  }

  bool is_named(Value value, std::string_view module, std::string_view name) const {
    if (value.kind != Kind::global) return false;
    const ScannedGlobal& global = found_.globals[value.id];
    return global.module == module && global.name == name;
  }

  /// BUILD: the state becomes that of the value on the stack's top. With an array of joblib, its bytes
  /// follow.
  void set_state(Value state) {
    const Value value = top();
    if (ScannedDtype* const dtype = values_.dtype(value)) return set_dtype_state(values_, state, *dtype);
    const auto* const made = values_.members(value);
    const bool is_array = value.kind == Kind::call && made != nullptr && !made->empty() &&
                          is_named(made->front(), "joblib.numpy_pickle", "NumpyArrayWrapper");
    if (is_array && !is_inner_) pass_over_array(made->front(), state);
  }

  void pass_over_array(Value wrapper, Value state) {
    const std::optional<JoblibArray> array = find_joblib_array(values_, texts_, state);
    if (!array)
      throw fail(
          ErrorCode::unsupported_format,
          "an array of joblib follows, of a size that the scan does not know; what stands from there on was "
          "not looked into");
    if (array->is_pickle) return scan_inner_pickle();
    uint64_t padding = 0;
    if (array->has_padding) {
      padding = number(1);
      need(padding);
      reader_.skip(padding);
    }
    // Without padding, as joblib before 1.2 writes arrays, the first of their bytes is an opcode to
    // pickle.load, which does not pass over them.
    if (!array->has_padding || padding > kMostPadding)
      found_.globals[wrapper.id].verdict = GlobalVerdict::denied;
    need(array->bytes);
    reader_.skip(array->bytes);
  }

  /// A whole pickle, with a stack and a memo of its own, between two opcodes of this one.
  void scan_inner_pickle() {
    Frame outer = std::exchange(frame_, {});
    is_inner_ = true;
    while (step()) {
    }
    is_inner_ = false;
    frame_ = std::move(outer);
  }

  uint64_t decimal() const {
    uint64_t value = 0;
    for (const char c : text_) {
      if (c < '0' || c > '9' || value > UINT32_MAX) break;
      value = 10 * value + static_cast<uint64_t>(c - '0');
    }
    return value;
  }
  static std::string readable(const std::string& text) {
    const std::string_view start = cut_text(text, kMaxPickleNameBytes);
    return simdjson::validate_utf8(start.data(), start.size()) ? std::string(start) : "?";
  }
  Value note(const std::string& module, const std::string& name) {
    if (found_.globals.size() >= kMaxScannedGlobals)
      throw invalid("the pickle names more than 100,000 globals");
    found_.globals.push_back(
        {std::string(opcode_), readable(module), readable(name), at_, scan_verdict(module, name), {}});
    keep(found_.globals.back().bytes());
    is_chance_ |= !is_dotted_name(module) || !is_dotted_name(name);
    found_.names_denied |= !is_chance_ && found_.globals.back().verdict == GlobalVerdict::denied;
    return Value::of(Kind::global, found_.globals.size() - 1);
  }

  PickleScan found_;
  ScannedValues values_;
  uint64_t number_ = 0;
  size_t calls_ = 0;
  bool is_inner_ = false;  ///< in a pickle between the opcodes of another
  std::string module_, text_;
  std::string_view opcode_;
};

}  // namespace

bool is_dotted_name(std::string_view name) {
  return !name.empty() && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
  });
}

PickleScan scan_pickle(const ByteSource& source, uint64_t begin, uint64_t limit) {
  return Scanner(source, begin, limit).run();
}

}  // namespace hfload
