#include "core/format/pickle_scan.h"

#include <catch2/catch.hpp>

namespace hfload {
namespace {

using namespace std::string_literals;

PickleScan scan(const std::string& bytes) {
  return scan_pickle(MemorySource(std::as_bytes(std::span(bytes))), 0, bytes.size());
}

std::string listed(const PickleScan& found) {
  std::string text;
  for (const ScannedGlobal& g : found.globals) {
    text += g.opcode + " " + g.module + "." + g.name + " " + std::to_string(g.offset) + " " +
            std::string(to_string(g.verdict)) + "\n";
  }
  return text;
}

TEST_CASE("A scan lists every name and goes on after a denied one") {
  const PickleScan found = scan(
      "\x80\x02"
      "cos\nsystem\n(V\x01\ntRctorch\nSize\ncnumpy\ndtype\n.rest"s);
  CHECK(listed(found) ==
        "GLOBAL os.system 2 denied\nGLOBAL torch.Size 19 allowed\nGLOBAL numpy.dtype 31 unsupported\n");
  CHECK(!found.fault);
  CHECK(found.end == 45);
}

TEST_CASE("A scan reads every protocol's ways to a name") {
  CHECK(listed(scan("(iposix\nsystem\n.")) == "INST posix.system 1 denied\n");
  CHECK(listed(scan("(cos\nsystem\nS'id'\no.")) == "GLOBAL os.system 1 denied\n");
  CHECK(listed(scan("\x82\x01\x83\x01\x02\x84\x01\x02\x03\x04."s)) ==
        "EXT1 ?.? 0 denied\nEXT2 ?.? 2 denied\nEXT4 ?.? 5 denied\n");
  CHECK(listed(scan("\x8c\x02os\x8c\x06system\x93.")) == "STACK_GLOBAL os.system 12 denied\n");
  CHECK(listed(scan("Vos\nVsystem\n\x93.")) == "STACK_GLOBAL os.system 12 denied\n");
  CHECK(listed(scan("S'os'\nT\x06\0\0\0system\x93."s)) == "STACK_GLOBAL os.system 17 denied\n");
  CHECK(listed(scan("\x8c\x05torchN0\x8c\x04Size\x93.")) == "STACK_GLOBAL torch.Size 15 allowed\n");
}

TEST_CASE("A scan follows strings through stack and memo") {
  // The memo, by number, by MEMOIZE and in protocol 0.
  CHECK(listed(scan("\x8c\x02osq\x05"
                    "0\x8c\x01xq\x06"
                    "0h\x05\x8c\x06system\x93.")) == "STACK_GLOBAL os.system 23 denied\n");
  CHECK(listed(scan("\x8c\x02os\x94"
                    "0\x8c\x06system\x94"
                    "0h\0h\x01\x93."s)) == "STACK_GLOBAL os.system 20 denied\n");
  CHECK(listed(scan("\x8c\x02osp7\n0g7\n2\x93.")) == "STACK_GLOBAL os.os 12 denied\n");
  // Through a mark, and what a mark throws away.
  CHECK(listed(scan("\x8c\x02os(\x8c\x06systemN1\x8c\x05popen\x93.")) == "STACK_GLOBAL os.popen 22 denied\n");
  // Computed names are denied, whatever they are.
  CHECK(listed(scan("\x8c\x05torchcos\ngetcwd\n)R\x93.")) ==
        "GLOBAL os.getcwd 7 denied\nSTACK_GLOBAL torch.? 20 denied\n");
  CHECK(listed(scan("\x93.")) == "STACK_GLOBAL ?.? 0 denied\n");
}

TEST_CASE("A fault ends a scan and keeps what came before") {
  for (const std::string tail : {"", "\xff.", "X\xff\xff\xff\x7f", "J\x01"}) {
    INFO(tail);
    const PickleScan found = scan("cos\nsystem\n" + tail);
    CHECK(listed(found) == "GLOBAL os.system 0 denied\n");
    REQUIRE(found.fault);
    CHECK(found.fault->code() == ErrorCode::invalid_pickle);
    CHECK(*found.fault->offset() == 11);
  }
  // Underflows are no faults: Python would fail there, but other readers may not.
  CHECK(!scan("a0120RRR\x93u.").fault);
  CHECK(scan("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.").is_legacy_magic);
  CHECK(!scan("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x18.").is_legacy_magic);
}

std::string calls(const PickleScan& found) {
  std::string text;
  for (const ScannedGlobal& global : found.globals) {
    for (const ScannedCall& call : global.calls) text += call.opcode + " " + call.text + "\n";
  }
  return text;
}

TEST_CASE("A scan shows the calls of denied names, by every opcode that calls") {
  CHECK(calls(scan("cos\nsystem\n(S'true'\ntR.")) == "REDUCE os.system('true')\n");
  CHECK(calls(scan("(S'true'\nios\nsystem\n.")) == "INST os.system('true')\n");
  CHECK(calls(scan("(cos\nsystem\nS'true'\no.")) == "OBJ os.system('true')\n");
  CHECK(calls(scan("cos\nsystem\nX\x04\0\0\0true\x85\x81."s)) == "NEWOBJ os.system('true')\n");
  CHECK(calls(scan("cos\nsystem\nX\x04\0\0\0true\x85}\x92."s)) == "NEWOBJ_EX os.system('true')\n");
  // Values of every kind; through the memo; a callable that is itself the result of a call.
  CHECK(
      calls(scan(
          "csubprocess\nPopen\n(](X\x02\0\0\0shX\x02\0\0\0-ceJ\xff\xff\xff\xffNI01\nK\x07\x8a\x05\0\0\0\0\x10"
          "}X\x01\0\0\0kC\x02\x01'stR."s)) ==
      "REDUCE subprocess.Popen(['sh', '-c'], -1, None, True, 7, 68719476736, {'k': b'\\x01\\''})\n");
  CHECK(calls(scan("X\x01\0\0\0x\x85q\0000cos\nsystem\nh\0Rcos\nsystem\nh\0R."s)) ==
        "REDUCE os.system('x')\nREDUCE os.system('x')\n");
  CHECK(calls(scan("c__builtin__\ngetattr\n(cos\npath\nS'x'\ntR(tR.")) ==
        "REDUCE __builtin__.getattr(os.path, 'x')\nREDUCE __builtin__.getattr(os.path, 'x')()\n");
  // What is computed, what is allowed, and what the pickle does not have.
  CHECK(calls(scan("cos\nsystem\nPid\n\x85R.")) == "REDUCE os.system(?)\n");
  CHECK(calls(scan("ctorch\nSize\n)R.")).empty());
  CHECK(calls(scan("RRRcos\nsystem\nR.")).empty());
}

TEST_CASE("The calls that a scan shows are bounded and escaped") {
  const std::string text(5000, 'x');
  std::string many = "cos\nsystem\n(";
  for (int i = 0; i < 100; ++i) many += "S'" + text.substr(0, 150) + "'\n";
  CHECK(calls(scan(many + "tR.")).size() < kMaxCallBytes + 40);
  CHECK(calls(scan("cos\nsystem\nX\x88\x13\0\0"s + text + "\x85R.")) ==
        "REDUCE os.system('" + text.substr(0, 200) + "'…)\n");
  CHECK(calls(scan("cos\nsystem\nX\x06\0\0\0\x1b[2J\n\xff\x85R."s)) ==
        "REDUCE os.system('\\x1b[2J\\n\\xff')\n");
  std::string often = "cos\nsystem\nq\0"s;
  for (int i = 0; i < 100; ++i) often += "h\0)R"s;
  CHECK(scan(often + ".").globals[0].calls.size() == kMaxCallsOfGlobal);
  std::string deep = "cos\nsystem\n)";
  for (int i = 0; i < 100'000; ++i) deep += "\x85";
  CHECK(calls(scan(deep + "R.")).size() < 100);
  CHECK(calls(scan("cos\nsystem\n]q\0h\0ah\0a\x85R."s)).size() < kMaxCallBytes + 40);  // a list in itself
}

/// joblib's wrapper of an array and its state, up to BUILD (joblib/numpy_pickle.py).
std::string joblib_array(const std::string& dtype, const std::string& shape, bool has_alignment) {
  return "cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}(X\x05\0\0\0shape"s + shape +
         "X\x05\0\0\0dtypecnumpy\ndtype\n"s + dtype +
         (has_alignment ? "X\x1b\0\0\0numpy_array_alignment_bytesK\x10"s : ""s) + "ub";
}

TEST_CASE("A scan passes over the bytes of joblib's arrays and reads what follows") {
  const std::string after = "cos\nsystem\n.";
  const std::string f8 = "X\x02\0\0\0f8\x85R"s;
  // 2 x 3 doubles, behind 2 bytes of padding.
  const std::string doubles =
      joblib_array(f8, "K\x02K\x03\x86", true) + "\x02\xff\xff" + std::string(48, '.');
  PickleScan found = scan(doubles + after);
  CHECK(!found.fault);
  REQUIRE(found.globals.size() == 3);
  CHECK(found.globals[0].verdict == GlobalVerdict::unsupported);
  CHECK(found.globals[2].name == "system");
  // A structure of 12 bytes, by its state: version, order, subdtype, names, fields, size, alignment, flags.
  const std::string state = "(K\x03X\x01\0\0\0|NNNK\x0cK\x01K\x10tb"s;
  found = scan(joblib_array("X\x02\0\0\0V8\x85R"s + state, "K\x02\x85", true) + "\x01\xff" +
               std::string(24, '.') + after);
  CHECK(!found.fault);
  CHECK(found.globals.back().name == "system");
  // Of objects: a whole pickle, with a memo of its own, stands there.
  const std::string inner = "\x80\x05h\0q\0cposix\nsystem\n."s;
  found = scan("Nq\0"s + joblib_array("X\x02\0\0\0O8\x85R"s, "K\x01\x85", true) + inner + "h\0"s + after);
  CHECK(!found.fault);
  REQUIRE(found.globals.size() == 4);
  CHECK(found.globals[2].module == "posix");
  // Without padding, or with one that is an opcode, pickle.load would run what the array holds.
  found = scan(joblib_array(f8, "K\x01\x85", false) + "........" + after);
  CHECK(found.globals[0].verdict == GlobalVerdict::denied);
  found = scan(joblib_array(f8, "K\x01\x85", true) + "(" + std::string(40 + 8, '.') + after);
  CHECK(found.globals[0].verdict == GlobalVerdict::denied);
  CHECK(found.globals.back().name == "system");
}

TEST_CASE("A scan says where it cannot pass over an array of joblib") {
  const std::string shape = "K\x01\x85";
  for (const std::string& dtype : {"N\x85R"s, "X\x02\0\0\0V8\x85R(tb"s, "X\x02\0\0\0q8\x85R"s}) {
    const PickleScan found = scan(joblib_array(dtype, shape, true) + "\x01\xff" + std::string(8, '.') + ".");
    REQUIRE(found.fault);
    CHECK(found.fault->code() == ErrorCode::unsupported_format);
  }
  const std::string f8 = "X\x02\0\0\0f8\x85R"s;
  CHECK(scan(joblib_array(f8, "J\xff\xff\xff\xff\x85", true) + "\x01\xff.").fault->code() ==
        ErrorCode::unsupported_format);
  CHECK(scan(joblib_array(f8, "K\xff\x85", true) + "\x01\xff.").fault->code() == ErrorCode::invalid_pickle);
}

TEST_CASE("A scan of many names is bounded") {
  std::string bytes;
  for (int i = 0; i < 100'001; ++i) bytes += "ca\nb\n";
  const PickleScan found = scan(bytes + ".");
  CHECK(found.globals.size() == kMaxScannedGlobals);
  CHECK(found.fault);
}

}  // namespace
}  // namespace hfload
