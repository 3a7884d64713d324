#include "core/format/config_dtype.h"

#include <catch2/catch.hpp>

#include "core/base/error.h"

namespace hfload {

TEST_CASE("the dtype of a config is replaced where it stands") {
  CHECK(config_with_dtype(R"({"a": 1, "torch_dtype": "float32"})", "bfloat16") ==
        R"({"a": 1, "torch_dtype": "bfloat16"})");
  CHECK(config_with_dtype("{\n  \"dtype\" : null,\n  \"x\": [\"dtype\"]\n}\n", "float16") ==
        "{\n  \"dtype\" : \"float16\",\n  \"x\": [\"dtype\"]\n}\n");
  CHECK(config_with_dtype(R"({"dtype":"a\"\\b","torch_dtype":"float32","k":"dtype"})", "float16") ==
        R"({"dtype":"float16","torch_dtype":"float16","k":"dtype"})");
}

TEST_CASE("configs of parts follow, others do not") {
  CHECK(config_with_dtype(R"({"dtype":"x","text_config":{"dtype":"y","z":{"dtype":"w"}},)"
                          R"("quantization_config":{"dtype":"v"},"other":{"dtype":"u"},"n_config":3})",
                          "float16") ==
        R"({"dtype":"float16","text_config":{"dtype":"float16","z":{"dtype":"w"}},)"
        R"("quantization_config":{"dtype":"v"},"other":{"dtype":"u"},"n_config":3})");
}

TEST_CASE("a config without a dtype gets one") {
  CHECK(config_with_dtype("{\n  \"a\": 1\n}", "float16") ==
        "{\n  \"torch_dtype\": \"float16\",\n  \"a\": 1\n}");
  CHECK(config_with_dtype(" { } ", "float16") == " {\n  \"torch_dtype\": \"float16\"\n } ");
  CHECK(config_with_dtype(R"({"text_config":{"dtype":"y"}})", "float16") ==
        "{\n  \"torch_dtype\": \"float16\",\"text_config\":{\"dtype\":\"float16\"}}");
  CHECK(config_with_dtype(R"({"dtype": 5, "a": Infinity})", "float16") ==
        "{\n  \"torch_dtype\": \"float16\",\"dtype\": 5, \"a\": Infinity}");
}

TEST_CASE("what is no object is refused") {
  CHECK_THROWS_AS(config_with_dtype("[]", "float16"), Error);
  CHECK_THROWS_AS(config_with_dtype("{\"a\":1", "float16"), Error);
}

}  // namespace hfload
