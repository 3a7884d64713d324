#include "core/plan/device_map.h"

#include <catch2/catch.hpp>

#include "core/base/error.h"
#include "core/model/shell.h"
#include "core/plan/infer_device_map.h"
#include "test/support/fixtures.h"

namespace hfload {
namespace {

using namespace test;

ModuleTree t0pp() {
  return build_shell(open_checkpoint(locate_model(fixture_path("t0pp/config.json"), {})),
                     {.dtype = Dtype::f32})
      .tree;
}

template <class F>
Error error_of_call(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e;
  }
  FAIL("no error");
  throw std::logic_error("unreachable");
}

}  // namespace

TEST_CASE("the map of the transformers documentation, to the letter", "[plan]") {
  const ModuleTree tree = t0pp();
  std::string expected =
      "{'shared': 0,\n 'decoder.embed_tokens': 0,\n 'encoder': 0,\n 'decoder.block.0': 0,\n";
  for (int i = 1; i <= 21; ++i) expected += " 'decoder.block." + std::to_string(i) + "': 1,\n";
  expected +=
      " 'decoder.block.22': 'cpu',\n 'decoder.block.23': 'cpu',\n 'decoder.final_layer_norm': 'cpu',\n"
      " 'decoder.dropout': 'cpu',\n 'lm_head': 'cpu'}";
  const MaxMemory memory = parse_max_memory("0=20GiB,1=21GiB,cpu=60GiB");
  const ModuleSizes sizes = compute_module_sizes(tree, Dtype::f32);
  for (const Strategy strategy : {Strategy::balanced_auto, Strategy::balanced, Strategy::sequential}) {
    const DevicePlan plan =
        plan_device_map(tree, sizes, memory, strategy, true, {.no_split_modules = tree.no_split_modules});
    CHECK(format_device_map(plan.device_map) == expected);
  }
}

TEST_CASE("a user's map is checked against the model", "[plan]") {
  const ModuleTree tree = t0pp();
  const DeviceMap good = parse_device_map(R"({"shared": 0, "encoder": 0, "decoder": 1, "lm_head": 1})");
  // T5's stacks share the embedding with `shared`, so the decoder's copy is on another device.
  const std::vector<std::string> warnings = check_device_map(tree, good);
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0].find("decoder.embed_tokens.weight on 1") != std::string::npos);
  CHECK(check_device_map(tree, parse_device_map(R"({"": "cuda:1"})")).empty());

  const Error e = error_of_call(
      [&] { check_device_map(tree, parse_device_map(R"({"shared": 0, "encoder": 0, "decoder": 1})")); });
  CHECK(e.code() == ErrorCode::device_map_incomplete);
  CHECK(e.tensor() == "lm_head.weight");
  CHECK(e.message().find("lm_head.weight") != std::string::npos);

  const auto strange = check_device_map(tree, parse_device_map(R"({"": 0, "nonsense": 1})"));
  REQUIRE(strange.size() == 1);
  CHECK(strange[0].find("nonsense") != std::string::npos);
}

TEST_CASE("malformed maps are refused", "[plan]") {
  CHECK(error_of_call([] { parse_device_map("{}"); }).code() == ErrorCode::invalid_device_map);
  CHECK(error_of_call([] { parse_device_map(R"({"a": 0.5})"); }).code() == ErrorCode::invalid_device_map);
  CHECK(error_of_call([] { parse_device_map(R"({"a": null})"); }).code() == ErrorCode::invalid_device_map);
  CHECK(error_of_call([] { parse_device_map(R"({"a": -1})"); }).code() == ErrorCode::invalid_device);
  CHECK(error_of_call([] { parse_device_map(R"({"a": "tpu"})"); }).code() == ErrorCode::invalid_device);
  CHECK(error_of_call([] { parse_device_map(R"({"a": 0, "a": 1})"); }).code() == ErrorCode::duplicate_key);
}

TEST_CASE("maps are read as Python prints them", "[plan]") {
  const auto modules = [](std::string_view text) {
    std::string names;
    for (const DeviceMapEntry& entry : parse_device_map(text))
      names += entry.module + "=" + to_string(entry.device) + ";";
    return names;
  };
  CHECK(modules("{'': 0}") == "=0;");
  CHECK(modules("{'b': 'cpu', 'a': 12,\n 'c': 'disk',}\n") == "b=cpu;a=12;c=disk;");
  // What repr() of Python 3.11 writes for these names: '\x00\t\r\n\x7f', "it's", 'it\'s "so"', 'a\\b',
  // '\u202e\xad', '\U000e0001', 'é日'.
  CHECK(modules(R"({'\x00\t\r\n\x7f': 0})") == std::string("\0\t\r\n\x7f=0;", 8));
  CHECK(modules(R"({"it's": 'cpu', 'it\'s "so"': 1, 'a\\b': 2})") == "it's=cpu;it's \"so\"=1;a\\b=2;");
  CHECK(modules(R"({'\u202e\xad': 0, '\U000e0001': 1, 'é日': 2})") ==
        "\xE2\x80\xAE\xC2\xAD=0;\xF3\xA0\x80\x81=1;\xC3\xA9\xE6\x97\xA5=2;");
  const DeviceMap map = {{"a'b\\c\n", Device::cpu()}, {"", Device::gpu(3)}, {"\x1b[2J", Device::disk()}};
  const DeviceMap again = parse_device_map(format_device_map(map));
  REQUIRE(again.size() == map.size());
  for (size_t i = 0; i < map.size(); ++i) {
    CHECK(again[i].module == map[i].module);
    CHECK(again[i].device == map[i].device);
  }
}

TEST_CASE("what Python does not print for a map is refused, with its place", "[plan]") {
  const std::pair<const char*, uint64_t> faults[] = {{"{'a': 0", 7},
                                                     {"{'a' 0}", 5},
                                                     {"{'a': 0,, 'b': 1}", 8},
                                                     {"{'a': 0 'b': 1}", 8},
                                                     {"{'a': 0} x", 9},
                                                     {"{'a': -1}", 6},
                                                     {"{'a': 007}", 6},
                                                     {"{'a': 0.5}", 7},
                                                     {"{'a': True}", 6},
                                                     {"{'a': {'b': 1}}", 6},
                                                     {"{0: 'a'}", 1},
                                                     {"{'a\nb': 0}", 3},
                                                     {"{'a", 3},
                                                     {"{b'a': 0}", 1},
                                                     {"{'a' 'b': 0}", 5},
                                                     {R"({'\q': 0})", 2},
                                                     {R"({'\x4': 0})", 2},
                                                     {R"({'\ud800': 0})", 2},
                                                     {R"({'\U00110000': 0})", 2},
                                                     {"dict('a')", 0},
                                                     {R"({'\)", 2}};
  for (const auto& [text, offset] : faults) {
    INFO(text);
    const Error error = error_of_call([&, t = text] { parse_device_map(t); });
    CHECK(error.code() == ErrorCode::malformed_device_map);
    CHECK(error.offset() == offset);
  }
  CHECK(error_of_call([] { parse_device_map("{'a': 0, 'a': 1}"); }).code() == ErrorCode::duplicate_key);
  CHECK(error_of_call([] { parse_device_map("{'a': 99999}"); }).code() == ErrorCode::invalid_device);
  CHECK(error_of_call([] { parse_device_map("{'a': 'gpu'}"); }).code() == ErrorCode::invalid_device);
  CHECK(error_of_call([] { parse_device_map("{'\xff': 0}"); }).code() == ErrorCode::invalid_utf8);
  // Without a single quote it was meant to be JSON.
  CHECK(error_of_call([] { parse_device_map("{\"a\": 0"); }).code() == ErrorCode::invalid_json);
  CHECK(error_of_call([] { parse_device_map("[\"a\"]"); }).code() == ErrorCode::invalid_device_map);
}

TEST_CASE("the map of a document is its hf_device_map", "[plan]") {
  for (const char* command : {"plan", "load"}) {
    const std::string text = std::string(R"({"schema": "hfload.)") + command +
                             R"(/1", "hf_device_map": {"b": 1, "a": "cpu"}, "x": [{}]})";
    CHECK(format_device_map(parse_device_map(text)) == "{'b': 1,\n 'a': 'cpu'}");
  }
  const auto code_of = [](const char* text) { return error_of_call([&] { parse_device_map(text); }).code(); };
  CHECK(code_of(R"({"schema": "hfload.inspect/1"})") == ErrorCode::invalid_device_map);
  CHECK(code_of(R"({"schema": "hfload.plan/2", "hf_device_map": {"": 0}})") == ErrorCode::invalid_device_map);
  CHECK(code_of(R"({"schema": "hfload.plan/1"})") == ErrorCode::invalid_device_map);
  CHECK(code_of(R"({"schema": "hfload.plan/1", "hf_device_map": 0})") == ErrorCode::invalid_device_map);
  // A module may be called so.
  CHECK(parse_device_map(R"({"schema": "cpu", "hf_device_map": 0})").size() == 2);
}

TEST_CASE("devices and budgets are read as they are written", "[plan]") {
  CHECK(parse_device("0") == Device::gpu(0));
  CHECK(parse_device("cuda") == Device::gpu(0));
  CHECK(parse_device("cuda:3") == Device::gpu(3));
  CHECK(parse_device("disk") == Device::disk());
  for (const char* text : {"", "-1", "CPU", "cuda:", "cuda:-1", "gpu", "0x1", "99999999999", "1 "}) {
    INFO(text);
    CHECK(error_of_call([&] { parse_device(text); }).code() == ErrorCode::invalid_device);
  }
  const MaxMemory memory = parse_max_memory("cpu=1GB,2=3KiB,0=0GiB");
  REQUIRE(memory.size() == 3);
  CHECK(memory[0].device == Device::gpu(0));
  CHECK(memory[0].bytes == 0);
  CHECK(memory[1].bytes == 3072);
  CHECK(memory[2].device == Device::cpu());
  CHECK(memory[2].bytes == 1e9);
  const MaxMemory spaced = parse_max_memory(" 0 = 40KB,\tcpu=1GB ");
  REQUIRE(spaced.size() == 2);
  CHECK(spaced[0].bytes == 40'000);
  CHECK(spaced[1].bytes == 1e9);
  CHECK(error_of_call([] { parse_max_memory("0"); }).code() == ErrorCode::invalid_size);
  CHECK(error_of_call([] { parse_max_memory("0=1GB,"); }).code() == ErrorCode::invalid_size);
  CHECK(error_of_call([] { parse_max_memory("0=1GB,0=2GB"); }).code() == ErrorCode::invalid_device);
}

TEST_CASE("entries whose siblings share a device are merged, a lone one is not", "[plan]") {
  const Device a = Device::gpu(0), b = Device::gpu(1);
  const auto text = [](const DeviceMap& map) { return format_device_map(clean_device_map(map)); };
  CHECK(text({{"x", a}, {"y", a}}) == "{'': 0}");
  CHECK(text({{"decoder", a}}) == "{'decoder': 0}");
  CHECK(text({{"m.x", a}, {"m.y", a}, {"h", b}}) == "{'m': 0,\n 'h': 1}");
  CHECK(text({{"m.x.1", a}, {"h", b}}) == "{'m.x.1': 0,\n 'h': 1}");
  CHECK(text({{"m.x", a}, {"h", b}, {"m.y", a}}) == "{'h': 1,\n 'm': 0}");
  CHECK(text({{"m.1", a}, {"m.10", b}, {"m.2", a}}) == "{'m.1': 0,\n 'm.10': 1,\n 'm.2': 0}");
  // Between a module and what is below it stand names that go on without a dot.
  CHECK(text({{"m-x", b}, {"m.1", a}, {"m!", b}, {"m.2", a}, {"m", a}}) == "{'m-x': 1,\n 'm!': 1,\n 'm': 0}");
}

TEST_CASE("odd names are no modules", "[plan]") {
  const Device a = Device::gpu(0), b = Device::gpu(1);
  const auto text = [](const DeviceMap& map) { return format_device_map(clean_device_map(map)); };
  CHECK(text({{".x", a}, {".y", a}, {"m", b}}) == "{'.x': 0,\n '.y': 0,\n 'm': 1}");
  CHECK(text({{".x.1", a}, {".x.2", a}, {".y", b}}) == "{'.x': 0,\n '.y': 1}");
  CHECK(text({{"..", a}, {"...", a}, {"", b}, {"....", b}}) == "{'..': 0,\n '...': 0,\n '': 1,\n '....': 1}");
}

TEST_CASE("the longest entry decides", "[plan]") {
  const DeviceMap map{{"", Device::cpu()}, {"a", Device::gpu(0)}, {"a.b", Device::gpu(1)}};
  const DeviceMapLookup lookup(map);
  CHECK(*lookup.find("a.b.c") == Device::gpu(1));
  CHECK(*lookup.find("a.bc") == Device::gpu(0));
  CHECK(*lookup.find("ab") == Device::cpu());
  const DeviceMap one{{"a", Device::cpu()}};
  CHECK(DeviceMapLookup(one).find("ab") == nullptr);
}

TEST_CASE("names are printed as Python literals", "[plan]") {
  CHECK(format_device_map({{"a'b\\c\n", Device::cpu()}}) == "{'a\\'b\\\\c\\x0a': 'cpu'}");
}

}  // namespace hfload
