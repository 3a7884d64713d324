#include "core/format/pickle_opcodes.h"

#include <array>

namespace hfload {
namespace {

using enum PickleOpcode;
using A = PickleArgument;

constexpr PickleOpcodeInfo kTable[] = {
    {mark, "MARK", A::none},
    {stop, "STOP", A::none},
    {pop, "POP", A::none},
    {pop_mark, "POP_MARK", A::none},
    {dup, "DUP", A::none},
    {floating, "FLOAT", A::line},
    {integer, "INT", A::line},
    {binint, "BININT", A::bytes_4},
    {binint1, "BININT1", A::bytes_1},
    {long_text, "LONG", A::line},
    {binint2, "BININT2", A::bytes_2},
    {none, "NONE", A::none},
    {persid, "PERSID", A::line},
    {binpersid, "BINPERSID", A::none},
    {reduce, "REDUCE", A::none},
    {string, "STRING", A::line},
    {binstring, "BINSTRING", A::text_4},
    {short_binstring, "SHORT_BINSTRING", A::text_1},
    {unicode, "UNICODE", A::line},
    {binunicode, "BINUNICODE", A::text_4},
    {append, "APPEND", A::none},
    {build, "BUILD", A::none},
    {global, "GLOBAL", A::two_lines},
    {dict, "DICT", A::none},
    {empty_dict, "EMPTY_DICT", A::none},
    {appends, "APPENDS", A::none},
    {get, "GET", A::line},
    {binget, "BINGET", A::bytes_1},
    {inst, "INST", A::two_lines},
    {long_binget, "LONG_BINGET", A::bytes_4},
    {list, "LIST", A::none},
    {empty_list, "EMPTY_LIST", A::none},
    {obj, "OBJ", A::none},
    {put, "PUT", A::line},
    {binput, "BINPUT", A::bytes_1},
    {long_binput, "LONG_BINPUT", A::bytes_4},
    {setitem, "SETITEM", A::none},
    {tuple, "TUPLE", A::none},
    {empty_tuple, "EMPTY_TUPLE", A::none},
    {setitems, "SETITEMS", A::none},
    {binfloat, "BINFLOAT", A::bytes_8},
    {binbytes, "BINBYTES", A::text_4},
    {short_binbytes, "SHORT_BINBYTES", A::text_1},
    {proto, "PROTO", A::bytes_1},
    {newobj, "NEWOBJ", A::none},
    {ext1, "EXT1", A::bytes_1},
    {ext2, "EXT2", A::bytes_2},
    {ext4, "EXT4", A::bytes_4},
    {tuple1, "TUPLE1", A::none},
    {tuple2, "TUPLE2", A::none},
    {tuple3, "TUPLE3", A::none},
    {newtrue, "NEWTRUE", A::none},
    {newfalse, "NEWFALSE", A::none},
    {long1, "LONG1", A::text_1},
    {long4, "LONG4", A::text_4},
    {short_binunicode, "SHORT_BINUNICODE", A::text_1},
    {binunicode8, "BINUNICODE8", A::text_8},
    {binbytes8, "BINBYTES8", A::text_8},
    {empty_set, "EMPTY_SET", A::none},
    {additems, "ADDITEMS", A::none},
    {frozenset, "FROZENSET", A::none},
    {newobj_ex, "NEWOBJ_EX", A::none},
    {stack_global, "STACK_GLOBAL", A::none},
    {memoize, "MEMOIZE", A::none},
    {frame, "FRAME", A::bytes_8},
    {bytearray8, "BYTEARRAY8", A::text_8},
    {next_buffer, "NEXT_BUFFER", A::none},
    {readonly_buffer, "READONLY_BUFFER", A::none},
};

constexpr std::array<uint8_t, 256> kRows = [] {
  std::array<uint8_t, 256> rows{};
  for (uint8_t i = 0; i < std::size(kTable); ++i)
    rows[static_cast<uint8_t>(kTable[i].opcode)] = static_cast<uint8_t>(i + 1);
  return rows;
}();

}  // namespace

const PickleOpcodeInfo* find_pickle_opcode(uint8_t byte) {
  return kRows[byte] == 0 ? nullptr : &kTable[kRows[byte] - 1];
}

}  // namespace hfload
