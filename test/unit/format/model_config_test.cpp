#include "core/format/model_config.h"

#include <fmt/core.h>

#include <catch2/catch.hpp>
#include <cmath>

#include "core/base/error.h"

namespace hfload {
namespace {

template <class F>
Error error_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorCode::internal, "nothing was thrown");
}

template <class T>
T value_of(std::string_view number) {
  const ModelConfig config = parse_model_config("{\"x\":" + std::string(number) + "}");
  const auto* typed = std::get_if<T>(&config.find("x")->value);
  REQUIRE(typed != nullptr);
  return *typed;
}

TEST_CASE("Integers of a config stay exact, and keep their type") {
  CHECK(value_of<uint64_t>("0") == 0);
  CHECK(value_of<uint64_t>("-0") == 0);
  CHECK(value_of<uint64_t>("9007199254740993") == 9007199254740993u);
  CHECK(value_of<uint64_t>("18446744073709551615") == UINT64_MAX);
  CHECK(value_of<int64_t>("-1") == -1);
  CHECK(value_of<int64_t>("-9223372036854775808") == INT64_MIN);
  CHECK(value_of<double>("1.0") == 1.0);
  CHECK(value_of<double>("-0.0") == 0.0);
  CHECK(std::signbit(value_of<double>("-0.0")));
  CHECK(value_of<double>("1e-5") == 1e-5);
  CHECK(value_of<double>("1E+2") == 100.0);
  CHECK(value_of<double>("0.1") == 0.1);
  CHECK(value_of<double>("2.2250738585072011e-308") == 2.2250738585072011e-308);
}

TEST_CASE("What Python writes beyond JSON is accepted with a note") {
  CHECK(std::isnan(value_of<double>("NaN")));
  CHECK(value_of<double>("Infinity") == HUGE_VAL);
  CHECK(value_of<double>("-Infinity") == -HUGE_VAL);
  // int(1e30) of a tokenizer's model_max_length
  CHECK(value_of<double>("1000000000000000019884624838656") == 1e30);
  CHECK(value_of<double>("-9223372036854775809") == -9223372036854775808.0);
  const ModelConfig config = parse_model_config(
      R"({"a":Infinity,"b":[NaN,Infinity],"c":{"d":-Infinity},"e":1000000000000000019884624838656})");
  CHECK(config.notes().size() == 4);
  CHECK(parse_model_config(R"({"a":"Infinity NaN"})").notes().empty());
}

TEST_CASE("Members keep the order of the file, and strings their escapes") {
  const ModelConfig config =
      parse_model_config(R"({"z":[1,"\u00e9\n",null,true,false,{}],"a":{"":"x"},"\u0062":2})");
  const auto& members = std::get<ConfigValue::Object>(config.root().value);
  REQUIRE(members.size() == 3);
  CHECK(members[0].first == "z");
  CHECK(members[2].first == "b");
  const auto& array = std::get<ConfigValue::Array>(members[0].second.value);
  REQUIRE(array.size() == 6);
  CHECK(std::get<std::string>(array[1].value) == "\xc3\xa9\n");
  CHECK(array[2].is_null());
  CHECK(std::get<bool>(array[3].value));
  CHECK(!std::get<bool>(array[4].value));
  CHECK(std::get<ConfigValue::Object>(array[5].value).empty());
  CHECK(std::get<std::string>(config.find("a")->find("")->value) == "x");
  CHECK(config.find("absent") == nullptr);
  CHECK(config.find("z")->find("x") == nullptr);
}

TEST_CASE("Getters give the value, or the fallback for an absent or null key") {
  const ModelConfig config = parse_model_config(
      R"({"n":7,"big":281474976710656,"b":true,"s":"text","d":0.5,"null":null,"negative":-3,"nested":{"n":8}})");
  CHECK(config.get_uint("n", 1) == 7);
  CHECK(config.get_uint("n") == 7u);
  CHECK(config.get_uint("big", 1) == uint64_t{1} << 48);
  CHECK(config.get_uint("absent", 1) == 1);
  CHECK(config.get_uint("null", 1) == 1);
  CHECK(!config.get_uint("null"));
  CHECK(config.get_count("n", 1) == 7);
  CHECK(config.get_bool("b", false));
  CHECK(config.get_bool("absent", true));
  CHECK(config.get_string("s", "") == "text");
  CHECK(config.get_string("null", "fallback") == "fallback");
  CHECK(config.get_double("d", 0) == 0.5);
  CHECK(config.get_double("n", 0) == 7.0);
  CHECK(config.get_double("negative", 0) == -3.0);
  CHECK(config.nested("nested").get_uint("n", 0) == 8);
  CHECK(config.nested("absent").get_uint("n", 5) == 5);
  CHECK(config.nested("null").get_uint("n", 5) == 5);
}

TEST_CASE("Getters refuse other types and ranges and name the key") {
  const ModelConfig config = parse_model_config(
      R"({"text":"7","negative":-1,"fraction":7.0,"big":281474976710657,"count":100001,"n":7,"object":{"x":"y"},"array":[1]})");
  const std::pair<const char*, Error> errors[] = {
      {"text", error_of([&] { config.get_uint("text", 0); })},
      {"negative", error_of([&] { config.get_uint("negative", 0); })},
      {"fraction", error_of([&] { config.get_uint("fraction", 0); })},
      {"big", error_of([&] { config.get_uint("big", 0); })},
      {"count", error_of([&] { config.get_count("count", 0); })},
      {"n", error_of([&] { config.get_string("n", ""); })},
      {"text", error_of([&] { config.get_double("text", 0); })},
      {"array", error_of([&] { config.nested("array"); })},
      {"object.x", error_of([&] { config.nested("object").get_uint("x", 0); })},
  };
  for (const auto& [key, error] : errors) {
    CAPTURE(key, error.message());
    CHECK(error.code() == ErrorCode::invalid_config);
    CHECK(error.message().find(key) != std::string::npos);
  }
}

TEST_CASE("Getters name the file, nested ones too") {
  ModelConfig config = parse_model_config(R"({"n":"7","nested":{"n":"7"}})");
  config.set_path("model/config.json");
  for (const Error& error :
       {error_of([&] { config.get_uint("n"); }), error_of([&] { config.nested("nested").get_uint("n"); })}) {
    CHECK(error.path() == "model/config.json");
    CHECK(error.message().find("config.json") == std::string::npos);
  }
}

TEST_CASE("Architectures, dtype and labels") {
  CHECK(parse_model_config("{}").architectures().empty());
  CHECK(parse_model_config(R"({"architectures":null})").architectures().empty());
  CHECK(parse_model_config(R"({"architectures":["A","B"]})").architectures() ==
        std::vector<std::string>{"A", "B"});
  CHECK(error_of([] { parse_model_config(R"({"architectures":[1]})").architectures(); }).code() ==
        ErrorCode::invalid_config);

  CHECK(!parse_model_config("{}").dtype());
  CHECK(parse_model_config(R"({"torch_dtype":"torch.float16"})").dtype() == "float16");
  CHECK(parse_model_config(R"({"torch_dtype":"float16","dtype":"bfloat16"})").dtype() == "bfloat16");
  CHECK(parse_model_config(R"({"torch_dtype":"float16","dtype":null})").dtype() == "float16");
  CHECK(error_of([] { parse_model_config(R"({"dtype":16})").dtype(); }).code() == ErrorCode::invalid_config);

  CHECK(parse_model_config("{}").num_labels() == 2);
  CHECK(parse_model_config(R"({"num_labels":5})").num_labels() == 5);
  CHECK(parse_model_config(R"({"num_labels":5,"id2label":{"0":"a","1":"b","2":"c"}})").num_labels() == 3);
  CHECK(parse_model_config(R"({"num_labels":5,"id2label":null})").num_labels() == 5);
  CHECK(error_of([] { parse_model_config(R"({"id2label":["a"]})").num_labels(); }).code() ==
        ErrorCode::invalid_config);
  CHECK(parse_model_config(R"({"model_type":"t5"})").model_type() == "t5");
}

// What json.loads of Python 3.11 and transformers 4.57.6 make of these texts.
TEST_CASE("A config is read as Python's json module reads it") {
  const ModelConfig twice = parse_model_config(
      R"({"a":1,"b":{"c":1,"c":{"d":2}},"a":3,"x":"\ud83d.","y":"\ud83d\ude00","z":"\\\\ud83d"})");
  CHECK(twice.get_uint("a", 0) == 3);
  CHECK(twice.nested("b").nested("c").get_uint("d", 0) == 2);
  CHECK(twice.get_string("x", "") == "\xEF\xBF\xBD.");
  CHECK(twice.get_string("y", "") == "\xF0\x9F\x98\x80");
  CHECK(twice.get_string("z", "") == "\\\\ud83d");
  CHECK(twice.notes().size() == 3);
  std::string many = "{";
  for (int i = 0; i < 20; ++i) many += fmt::format("\"k{}\":{},", i % 15, i);
  const ModelConfig last = parse_model_config(many + "\"end\":0}");
  for (unsigned i = 0; i < 15; ++i) CHECK(last.get_uint(fmt::format("k{}", i), 99) == (i < 5 ? i + 15 : i));

  const ModelConfig numbers = parse_model_config(R"({"a":1e999,"b":-1e999,"c":1e-999})");
  CHECK(numbers.get_double("a", 0) == std::numeric_limits<double>::infinity());
  CHECK(numbers.get_double("b", 0) == -std::numeric_limits<double>::infinity());
  CHECK(numbers.get_double("c", 1) == 0);
  CHECK(numbers.notes().size() == 3);
}

// bool(value) of Python.
TEST_CASE("A boolean is what Python takes for true") {
  const ModelConfig config = parse_model_config(
      R"({"t":"false","e":"","z":0,"o":-1,"f":0.5,"n":0.0,"l":[],"m":[0],"d":{},"k":{"a":"True"}})");
  for (const char* key : {"t", "o", "f", "m", "k"}) CHECK(config.get_bool(key, false));
  for (const char* key : {"e", "z", "n", "l", "d"}) CHECK_FALSE(config.get_bool(key, true));
  REQUIRE(config.notes().size() == 2);
  CHECK(config.notes()[0].starts_with("t is the text \"false\""));
  CHECK(config.notes()[1].starts_with("k.a is the text \"True\""));
}

TEST_CASE("A class name may stand without a list, and a dtype for each part") {
  const ModelConfig config = parse_model_config(
      R"({"architectures":"LlavaModel","torch_dtype":{"":"torch.float16","text_config":"bfloat16"},
          "text_config":{"dtype":"float32","hidden_size":8},"vision_config":{"dtype":"float32"}})");
  CHECK(config.architectures() == std::vector<std::string>{"LlavaModel"});
  CHECK(config.dtype() == "float16");
  CHECK(config.nested("text_config").dtype() == "bfloat16");
  CHECK(config.nested("text_config").get_uint("hidden_size", 0) == 8);
  CHECK(config.nested("vision_config").dtype() == "float32");
  CHECK_FALSE(parse_model_config(R"({"dtype":{"text_config":"bfloat16"}})").dtype());
  CHECK(error_of([] { parse_model_config(R"({"dtype":{"":"int8"}})").weight_dtype(); }).code() ==
        ErrorCode::invalid_config);
}

TEST_CASE("Any JSON array or object is read as a tree") {
  std::vector<std::string> notes;
  const ConfigValue array = parse_config_value("[1,[2]]", JsonRules::strict, notes);
  CHECK(std::get<ConfigValue::Array>(array.value).size() == 2);
  const std::string open(128, '['), close(128, ']');
  CHECK_NOTHROW(parse_config_value(open + close, JsonRules::strict, notes));
  CHECK(error_of([&] { parse_config_value("[" + open + close + "]", JsonRules::strict, notes); }).code() ==
        ErrorCode::json_too_deep);
  CHECK(notes.empty());
}

}  // namespace
}  // namespace hfload
