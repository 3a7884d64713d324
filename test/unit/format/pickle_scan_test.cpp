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

TEST_CASE("A scan of many names is bounded") {
  std::string bytes;
  for (int i = 0; i < 100'001; ++i) bytes += "ca\nb\n";
  const PickleScan found = scan(bytes + ".");
  CHECK(found.globals.size() == kMaxScannedGlobals);
  CHECK(found.fault);
}

}  // namespace
}  // namespace hfload
