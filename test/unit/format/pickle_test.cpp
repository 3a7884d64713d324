#include "core/format/pickle.h"

#include <malloc.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <functional>

#include "core/base/error.h"
#include "test/support/zip_builder.h"

namespace hfload {
namespace {

using test::little_endian;
using namespace std::string_literals;

ParsedPickle parse(const std::string& bytes) {
  return parse_pickle(MemorySource(std::as_bytes(std::span(bytes))), 0, bytes.size());
}

Error refusal(const std::string& bytes) {
  try {
    parse(bytes);
  } catch (const Error& error) {
    REQUIRE(error.offset().has_value());
    CHECK(*error.offset() <= bytes.size());
    CHECK(error.exit_status() == 3);
    return error;
  }
  FAIL("accepted");
  throw;
}

const std::string kProto = "\x80\x02";
std::string text(std::string_view value) { return "X" + little_endian(value.size(), 4) + std::string(value); }
std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
std::string frame(const std::string& body) { return "\x95" + little_endian(body.size(), 8) + body; }
std::string repeat(const std::string& piece, size_t count) {
  std::string all;
  for (size_t i = 0; i < count; ++i) all += piece;
  return all;
}

/// The value as Python would print it, globals as <module.name>, calls as <name>(arguments) and storages as
/// @id.
std::string print(const PickleTree& tree, PickleId id) {
  const auto list = [&](std::string open, std::string close) {
    std::string out = open;
    for (const PickleId member : tree.members(id)) out += print(tree, member) + ",";
    return out + close;
  };
  switch (tree.kind(id)) {
    case PickleKind::none:
      return "None";
    case PickleKind::boolean:
      return tree.boolean(id) ? "True" : "False";
    case PickleKind::integer:
      return std::to_string(tree.integer(id));
    case PickleKind::big_integer:
      return "big:" + std::to_string(tree.text(id).size());
    case PickleKind::floating:
      return std::to_string(tree.floating(id));
    case PickleKind::string:
      return "'" + std::string(tree.text(id)) + "'";
    case PickleKind::bytes:
      return "b'" + std::string(tree.text(id)) + "'";
    case PickleKind::long_text:
      return "...";
    case PickleKind::list:
      return list("[", "]");
    case PickleKind::tuple:
      return list("(", ")");
    case PickleKind::dict:
      return list("{", "}");
    case PickleKind::set:
      return list("<", ">");
    case PickleKind::global:
      return "<" + tree.global(id).module + "." + tree.global(id).name + ">";
    case PickleKind::persistent:
      return list("@", "");
    case PickleKind::object:
      return list("call(", ")");
  }
  return "?";
}
std::string printed(const std::string& body) {
  const ParsedPickle parsed = parse(kProto + body + ".");
  CHECK(parsed.end == body.size() + 3);
  return print(parsed.tree, parsed.tree.root());
}

TEST_CASE("Values as Python's pickle writes them") {
  // Each line: pickletools.dis of pickle.dumps(value, 2), and the value.
  CHECK(printed("N") == "None");
  CHECK(printed("\x88") == "True");
  CHECK(printed("\x89") == "False");
  CHECK(printed("K\xff") == "255");
  CHECK(printed("M\xff\xff") == "65535");
  CHECK(printed("J\xff\xff\xff\xff") == "-1");
  CHECK(printed("\x8a\x05\x00\x00\x00\x00\x80"s) == "-549755813888");
  CHECK(printed("\x8a\x05\x00\x00\x00\x00\x01"s) == "4294967296");
  CHECK(printed("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f") == "9223372036854775807");
  CHECK(printed("\x8a\x00"s) == "0");
  CHECK(printed("J\xff\xff\xff\x7f") == "2147483647");
  CHECK(printed("\x8a\x05\x00\x00\x00\x80\x00"s) == "2147483648");
  CHECK(printed("\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01"s) == "big:9");
  CHECK(printed("G?\xf8\x00\x00\x00\x00\x00\x00"s) == "1.500000");
  CHECK(printed(text("é")) == "'é'");
  CHECK(printed("U\x02hi") == "'hi'");
  CHECK(printed("U\x01\xff") == "b'\xff'");
  CHECK(printed("\x8c\x01x") == "'x'");
  CHECK(printed("\x8d" + little_endian(1, 8) + "x") == "'x'");
  CHECK(printed("C\x02\x01\x02") == "b'\x01\x02'");
  CHECK(printed("B" + little_endian(1, 4) + "x") == "b'x'");
  CHECK(printed("\x8e" + little_endian(1, 8) + "x") == "b'x'");
  CHECK(printed("\x96" + little_endian(1, 8) + "x") == "b'x'");
  CHECK(printed("B" + little_endian(kMaxPickleStringBytes + 1, 4) +
                std::string(kMaxPickleStringBytes + 1, 'x')) == "...");
  CHECK(printed(text(std::string(kMaxPickleStringBytes, 'x'))).size() == kMaxPickleStringBytes + 2);
  CHECK(printed(")") == "()");
  CHECK(printed("K\x01\x85") == "(1,)");
  CHECK(printed("K\x01K\x02\x86") == "(1,2,)");
  CHECK(printed("K\x01K\x02K\x03\x87") == "(1,2,3,)");
  CHECK(printed("(K\x01K\x02t") == "(1,2,)");
  CHECK(printed("]q\0(K\x01K\x02"s
                "e") == "[1,2,]");
  CHECK(printed("]K\x01"s
                "a") == "[1,]");
  CHECK(printed("}(K\x01K\x02K\x03K\x04u") == "{1,2,3,4,}");
  CHECK(printed("}K\x01K\x02s") == "{1,2,}");
  CHECK(printed("\x8f(K\x01\x90") == "<1,>");
  CHECK(printed("(K\x01\x91") == "<1,>");
  CHECK(printed("(K\x07q\0h\0h\0t"s) == "(7,7,7,)");
  CHECK(printed("(K\x07\x94h\0j\0\0\0\0t"s) == "(7,7,7,)");
  CHECK(printed("(K\x07r\x01\0\0\0h\x01t"s) == "(7,7,)");
}

TEST_CASE("Lists that grow in turn keep their own members") {
  // a = []; b = []; a.append(1); b.append(2); a += [3, 4]; b.append(5); (a, b)
  const std::string grow =
      "h\x01K\x01"
      "a"
      "h\x02K\x02"
      "a"
      "h\x01(K\x03K\x04"
      "e"
      "h\x02K\x05"
      "a";
  const std::string a = "[1,3,4,],", b = "[2,5,],";
  CHECK(printed("(]q\x01]q\x02" + grow + "t") == "(" + a + b + a + b + a + b + ")");
}

TEST_CASE("More text than a block of memory holds is kept whole") {
  std::string body = "](", expected = "[";
  for (size_t i = 0; i < 60; ++i) {
    std::string value(kMaxPickleStringBytes - 7 * i, static_cast<char>('0' + i));
    value += std::to_string(i);
    value.resize(std::min<size_t>(value.size(), kMaxPickleStringBytes));
    body += text(value);
    expected += "'" + value + "',";
  }
  CHECK((printed(body + "e") == expected + "]"));
}

TEST_CASE("Names are symbols and calls are written down") {
  CHECK(printed(global("torch", "FloatStorage")) == "<torch.FloatStorage>");
  CHECK(printed("\x8c\x05torch\x8c\x07"
                "float32\x93") == "<torch.float32>");
  CHECK(printed(global("torch", "Size") + "K\x02\x85\x85R") == "call(<torch.Size>,((2,),),)");
  CHECK(printed(global("__builtin__", "set") + "]\x85R") == "call(<__builtin__.set>,([],),)");
  CHECK(printed(global("collections", "OrderedDict") + ")R") == "{}");
  CHECK(printed(global("collections", "OrderedDict") + ")Rq\x01K\x01K\x02s}b") == "{1,2,}");
  CHECK(printed(global("collections", "OrderedDict") + "]]K\x01"s
                                                       "aK\x02"s
                                                       "aa\x85R") == "{1,2,}");
  CHECK(printed(global("collections", "OrderedDict") + ")\x81") == "{}");
  CHECK(printed(global("collections", "Counter") + "}K\x01K\x02s\x85R") == "{1,2,}");
  CHECK(printed(global("numpy", "dtype") + "U\x02"s
                                           "f8\x85RNb") == "call(<numpy.dtype>,('f8',),None,)");
  CHECK(printed("(" + text("storage") + global("torch", "HalfStorage") + "tQ") ==
        "@('storage',<torch.HalfStorage>,),");
}

TEST_CASE("Frames") {
  const auto framed = [](const std::string& body) { return "\x80\x04" + body; };
  const ParsedPickle parsed = parse(framed(frame("K\x01.")));
  CHECK(parsed.tree.integer(parsed.tree.root()) == 1);
  // Outside of frames, as Python writes large strings.
  CHECK(parse(framed(frame("(K\x01") + text("x") + frame("t."))).end > 0);
  CHECK(refusal(framed(frame("K") + "\x01.")).message().find("straddles") != std::string::npos);
  CHECK(refusal(framed(frame(text("ab").substr(0, 6)) + "b.")).message().find("straddles") !=
        std::string::npos);
  CHECK(refusal(framed(frame("K\x01."
                             "N")))
            .message()
            .find("frame goes on") != std::string::npos);
  CHECK(refusal(framed(frame(frame("K\x01.")))).message().find("another frame") != std::string::npos);
  CHECK(refusal(framed("\x95" + little_endian(4, 8) + "K\x01.")).code() == ErrorCode::invalid_pickle);
  CHECK(refusal(framed("\x95" + little_endian(~0ULL, 8) + "K\x01.")).code() == ErrorCode::invalid_pickle);
  CHECK(refusal(framed("\x95" + little_endian(0, 8) + "K\x01.")).code() == ErrorCode::invalid_pickle);
}

TEST_CASE("Whatever could call code is refused, and the opcode and the offset are named") {
  const auto unsafe = [](const std::string& body, const std::string& opcode, uint64_t offset) {
    INFO(body);
    const Error error = refusal(kProto + body);
    CHECK(error.code() == ErrorCode::unsafe_pickle);
    CHECK(error.message().find("opcode " + opcode + ":") != std::string::npos);
    CHECK(error.offset() == offset);
  };
  unsafe(global("os", "system") + text("true") + "\x85R.", "GLOBAL", 2);
  unsafe(global("posix", "system") + ".", "GLOBAL", 2);
  unsafe(global("builtins", "eval") + ".", "GLOBAL", 2);
  unsafe(global("builtins", "getattr") + ".", "GLOBAL", 2);
  unsafe(global("torch.storage", "_load_from_bytes") + ".", "GLOBAL", 2);
  unsafe(global("torch", "load") + ".", "GLOBAL", 2);
  unsafe(global("torch", "_utils._rebuild_tensor_v2") + ".", "GLOBAL", 2);
  unsafe(global("collections", "OrderedDict.fromkeys") + ".", "GLOBAL", 2);
  unsafe(global("torch._utils", "_rebuild_tensor_v2 ") + ".", "GLOBAL", 2);
  unsafe(global("\xff", "x") + ".", "GLOBAL", 2);
  unsafe("\x8c\x02os\x8c\x06system\x93.", "STACK_GLOBAL", 14);
  unsafe("K\x01\x8c\x06system\x93.", "STACK_GLOBAL", 12);
  unsafe(text("x") + ")R.", "REDUCE", 9);
  unsafe(global("collections", "OrderedDict") + ")R)R.", "REDUCE", 30);
  unsafe(global("torch", "FloatStorage") + ")R.", "REDUCE", 23);
  unsafe(global("torch", "float32") + ")R.", "REDUCE", 18);
  unsafe(global("torch", "Tensor") + ")\x81.", "NEWOBJ", 17);
  unsafe(global("torch._utils", "_rebuild_tensor_v2") + ")\x81.", "NEWOBJ", 36);
  unsafe("(ios\nsystem\n.", "INST", 3);
  unsafe("(" + global("torch", "Size") + "o.", "OBJ", 15);
  unsafe("\x82\x01.", "EXT1", 2);
  unsafe("\x83\x01\x00."s, "EXT2", 2);
  unsafe("\x84\x01\x00\x00\x00."s, "EXT4", 2);
  unsafe(global("torch", "Size") + ")}\x92.", "NEWOBJ_EX", 16);
  unsafe(
      "K\x01"
      "0.",
      "POP", 4);
  unsafe(
      "K\x01"
      "2.",
      "DUP", 4);
  unsafe("(1.", "POP_MARK", 3);
  unsafe("Pid\n.", "PERSID", 2);
  unsafe("I1\n.", "INT", 2);
  unsafe("\x97.", "NEXT_BUFFER", 2);
  unsafe(text("storage") + "Q.", "BINPERSID", 14);
  unsafe(")Q.", "BINPERSID", 3);
  unsafe("(" + text("module") + "tQ.", "BINPERSID", 15);
  unsafe("]" + text("storage") + "aQ.", "BINPERSID", 16);
}

TEST_CASE("Malformed pickles") {
  const std::vector<std::string> bodies = {
      "",  // no STOP
      ".",
      "(.",
      "K\x01K\x02.",
      "(K\x01.",
      "K",
      "J\x01\x02",
      "G\x01",
      "X\x05\x00\x00\x00ab."s,
      "X\xff\xff\xff\xff"
      "ab.",
      "\x8d\xff\xff\xff\xff\xff\xff\xff\xff"
      "ab.",
      "\x8e\xff\xff\xff\xff\xff\xff\xff\x7f"
      "ab.",
      "\x8a\x10"
      "ab.",
      text("\xff") + ".",
      text("\xed\xa0\x80") + ".",
      "ctorch\nSize",
      "c" + std::string(2000, 'a') + "\nx\n.",
      "\xff.",
      "\x80\x02N.",
      "h\x01.",
      "j\x01\x00\x00\x00."s,
      "q\x01.",
      "(NNNNq\x03h\x01t.",  // the place is free
      "Nr\xff\xff\xff\xff.",
      "Nq\x05.",
      "a.",
      "Na.",
      "NNa.",
      "(e.",
      "N(e.",
      "K\x01(K\x02"
      "e.",
      "}K\x01"
      "a.",
      "]K\x01K\x02s.",
      ")K\x01K\x02s.",
      "K\x01K\x02K\x03s.",
      global("torch", "Size") + ")RK\x02K\x03s.",
      global("torch", "Size") + "K\x02K\x03s.",
      "}(K\x01u.",
      "}]Ns.",
      "}}Ns.",
      "}\x8fNs.",
      "\x8f(]\x90.",
      "(]\x91.",
      "](K\x01\x90.",
      "\x85.",
      "N\x86.",
      "N(\x85.",
      "t.",
      "u.",
      "N}b.",
      "]}b.",
      global("torch", "Size") + "}b.",
      "R.",
      ")R.",
      global("torch", "Size") + "NR.",
      global("torch", "Size") + "]R.",
      global("torch", "Size") + "N\x81.",
      global("collections", "OrderedDict") + "N\x85R.",
      global("collections", "OrderedDict") + "]Na\x85R.",
      global("collections", "OrderedDict") +
          "]K\x01\x85"
          "a\x85R.",
      global("collections", "OrderedDict") +
          "]]N\x86"
          "aN\x85R.",
      global("collections", "OrderedDict") + "NN\x86R.",
      "\x93.",
      "N\x93.",
      "Q.",
      "]q\x01h\x01"
      "a.",  // a list in itself
      "]q\x01]q\x02h\x01"
      "ah\x02"
      "a.",              // through another
      "}q\x01Nh\x01s.",  // a dict in itself
      global("numpy", "dtype") +
          ")Rq\x01h\x01"
          "b.",                                     // an object in its own state
      repeat("]", 2000) + repeat("a", 1999) + ".",  // deep
      repeat("(", 2000) + repeat("t", 2000) + ".",  // marks
      "N" + repeat("\x85", 2000) + ".",             // tuples
  };
  for (const std::string& body : bodies) {
    INFO(body);
    const ErrorCode code = refusal(kProto + body).code();
    CHECK((code == ErrorCode::invalid_pickle || code == ErrorCode::unsafe_pickle));
  }
  for (const std::string& whole :
       {""s, "N."s, "\x80"s, "\x80\x00N."s, "\x80\x01N."s, "\x80\x06N."s, "\x80\xffN."s}) {
    INFO(whole);
    CHECK(refusal(whole).code() == ErrorCode::invalid_pickle);
  }
}

TEST_CASE("A pickle as deep as is allowed, and one deeper") {
  const auto nested = [](size_t levels) {
    return kProto + repeat("]", levels) + repeat("a", levels - 1) + ".";
  };
  CHECK(parse(nested(1000)).end > 0);
  CHECK(refusal(nested(1001)).message().find("1000 levels") != std::string::npos);
  // A list of so many levels, and one of `outer` levels around the same.
  const auto shared = [](size_t inner, size_t outer) {
    return kProto + "(" + repeat("]", inner) + repeat("a", inner - 1) + "q\x01" + repeat("]", outer) +
           "h\x01" + repeat("a", outer) + "t.";
  };
  CHECK(parse(shared(600, 399)).end > 0);
  CHECK(refusal(shared(600, 400)).message().find("1000 levels") != std::string::npos);
}

TEST_CASE("As many open marks as are allowed, and one more") {
  // Each opens above the list that the last one is to fill.
  const auto marked = [](size_t marks) { return kProto + repeat("](", marks) + repeat("e", marks) + "."; };
  CHECK(parse(marked(1000)).end > 0);
  CHECK(refusal(marked(1001)).message().find("1000 marks") != std::string::npos);
}

/// A pickle of one long BINBYTES8, so large that it is made up where it is read.
class LongPickle final : public ByteSource {
 public:
  explicit LongPickle(uint64_t bytes)
      : bytes_(bytes), start_("\x80\x04\x8e" + little_endian(bytes - 12, 8)) {}
  uint64_t bytes() const override { return bytes_; }
  void read(uint64_t offset, std::span<std::byte> into) const override {
    for (size_t i = 0; i < into.size(); ++i) {
      const uint64_t at = offset + i;
      into[i] = static_cast<std::byte>(at < start_.size() ? start_[at] : at + 1 == bytes_ ? '.' : 'x');
    }
  }

 private:
  uint64_t bytes_;
  std::string start_;
};

TEST_CASE("A pickle of 512 MiB, and one longer by a byte") {
  constexpr uint64_t kMost = 512 << 20;
  const LongPickle longest(kMost), longer(kMost + 1);
  CHECK(parse_pickle(longest, 0, kMost).end == kMost);
  CHECK_THROWS_WITH(parse_pickle(longer, 0, kMost + 1), Catch::Contains("longer than 512 MiB"));
}

#if !defined(HFLOAD_SANITIZED)
uint64_t anonymous_bytes() {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("RssAnon:")) return std::stoull(line.substr(8)) * 1024;
  }
  return 0;
}

TEST_CASE("A pickle that is accepted takes 32 MiB and two bytes for each of its own at most") {
  const auto batches = [](const std::string& piece, size_t count) {
    return kProto + "]" + repeat("(" + repeat(piece, 1000) + "e", count / 1000) + ".";
  };
  for (const std::string& piece : {"\x8a\x01\xff"s, "G\0\0\0\0\0\0\0\0"s, "]"s, "\x8c\x01x"s}) {
    for (const size_t count : {1'200'000, 1'650'000, 2'050'000}) {
      const std::string bytes = batches(piece, count);
      malloc_trim(0);  // what other tests have left would be taken again unseen
      const uint64_t before = anonymous_bytes();
      try {
        const ParsedPickle parsed = parse(bytes);
        CHECK(anonymous_bytes() <= before + (33 << 20) + 2 * bytes.size());
      } catch (const Error& error) {
        CHECK(error.message().find("32 MiB") != std::string::npos);
      }
    }
  }
}
#endif

TEST_CASE("Shared values are counted as often as they occur") {
  const auto laughs = [](unsigned levels) {
    std::string body = "]q\x01" + text("lol") + "a";
    for (unsigned i = 0; i < levels; ++i) {
      const char from = static_cast<char>(i + 1), to = static_cast<char>(i + 2);
      body += "](" + repeat("h"s + from, 10) + "e" + "q" + to;
    }
    return body;
  };
  // Every level stays on the stack, so all end in one tuple.
  CHECK(parse(kProto + "(" + laughs(6) + "t.").end > 0);
  CHECK(refusal(kProto + "(" + laughs(9) + "t.").message().find("100,000,000") != std::string::npos);
}

TEST_CASE("Every shortened pickle is refused") {
  const std::string whole = kProto + "}q\x01(" + text("a") + global("torch", "Size") + "K\x02\x85\x85R" +
                            text("b") + "(" + text("storage") + "tQ" + text("c") +
                            "]\x88"
                            "au.";
  CHECK(parse(whole).end == whole.size());
  for (size_t bytes = 0; bytes < whole.size(); ++bytes) refusal(whole.substr(0, bytes));
}

TEST_CASE("The verdicts on names") {
  const auto verdict = [](std::string_view module, std::string_view name) {
    return verdict_of(find_pickle_global(module, name).kind);
  };
  CHECK(verdict("torch._utils", "_rebuild_tensor_v2") == GlobalVerdict::allowed);
  CHECK(verdict("__builtin__", "set") == GlobalVerdict::allowed);
  CHECK(verdict("torch", "bfloat16") == GlobalVerdict::allowed);
  CHECK(find_pickle_global("torch", "BFloat16Storage").dtype->dtype == Dtype::bf16);
  CHECK(find_pickle_global("torch", "ComplexDoubleStorage").dtype->swap_bytes == 8);
  CHECK(verdict("torch._utils", "_rebuild_sparse_tensor") == GlobalVerdict::unsupported);
  CHECK(verdict("numpy", "dtype") == GlobalVerdict::unsupported);
  for (const auto& [module, name] :
       std::vector<std::pair<std::string, std::string>>{{"os", "system"},
                                                        {"builtins", "eval"},
                                                        {"builtins", "exec"},
                                                        {"numpy", "load"},
                                                        {"torch", "hub"},
                                                        {"", ""},
                                                        {"torch", ""},
                                                        {"copyreg", "_reconstructor"},
                                                        {"collections", "namedtuple"},
                                                        {"functools", "partial"}}) {
    CHECK(verdict(module, name) == GlobalVerdict::denied);
  }
}

}  // namespace
}  // namespace hfload
