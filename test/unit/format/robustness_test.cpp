#include <sys/resource.h>

#include <catch2/catch.hpp>
#include <chrono>

#include "core/base/error.h"
#include "core/format/model_config.h"
#include "core/format/safetensors.h"
#include "core/format/shard_index.h"
#include "test/support/checkpoint_builder.h"
#include "test/support/malformed_corpus.h"

namespace hfload {
namespace {

using test::CheckpointBuilder;

SafetensorsHeader parse(std::string_view bytes) {
  return parse_safetensors_header(std::as_bytes(std::span(bytes)), bytes.size());
}

/// The exit status of the refusal, or 0 when `f` returns.
template <class F>
int status_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.exit_status();
  }
  return 0;
}

/// Eight small files of different kinds.
std::vector<std::string> small_checkpoints() {
  std::vector<std::string> files;
  files.push_back(test::safetensors_bytes("{}", ""));
  files.push_back(CheckpointBuilder().metadata("format", "pt").bytes());
  files.push_back(CheckpointBuilder().filled("a", "U8", {1}, 1).bytes());
  files.push_back(CheckpointBuilder().filled("a", "F32", {2, 2}, 16).filled("b", "BF16", {3}, 6).bytes());
  files.push_back(
      CheckpointBuilder().filled("empty", "F32", {0, 4}, 0).filled("scalar", "I64", {}, 8).bytes());
  files.push_back(CheckpointBuilder().filled("f4", "F4", {2, 3}, 3).filled("f8", "F8_E4M3", {5}, 5).bytes());
  files.push_back(
      CheckpointBuilder().filled("n\"\\\n\xc3\xa9", "BOOL", {3}, 3).metadata("k\x01", "v").bytes());
  files.push_back(CheckpointBuilder()
                      .metadata("format", "pt")
                      .filled("model.embed_tokens.weight", "F16", {4, 2}, 16)
                      .filled("model.norm.weight", "F16", {2}, 4)
                      .filled("lm_head.weight", "F16", {4, 2}, 16)
                      .bytes());
  return files;
}

/// What a file holds must not contradict itself, whatever was done to its header: tensors lie one after the
/// other from the first byte of the data to the last of the file, and sizes are those of dtype and shape.
void check_layout(const SafetensorsHeader& header, uint64_t file_bytes) {
  uint64_t end = 0;
  for (const TensorInfo& tensor : header.tensors) {
    REQUIRE(tensor.begin == end);
    REQUIRE(tensor.end >= tensor.begin);
    if (tensor.dtype != Dtype::unknown) REQUIRE(tensor_bytes(tensor.dtype, tensor.shape) == tensor.bytes());
    end = tensor.end;
  }
  REQUIRE(header.data_start + end == file_bytes);
}

TEST_CASE("A checkpoint that ends early is refused at every length") {
  for (const std::string& whole : small_checkpoints()) {
    REQUIRE(status_of([&] { parse(whole); }) == 0);
    for (size_t bytes = 0; bytes < whole.size(); ++bytes) {
      CAPTURE(bytes);
      REQUIRE(status_of([&] { parse(std::string_view(whole).substr(0, bytes)); }) == 3);
    }
  }
}

TEST_CASE("A checkpoint with bytes before or after it is refused") {
  for (const std::string& whole : small_checkpoints()) {
    for (size_t extra = 1; extra <= 64; ++extra) {
      for (const char byte : {'\0', ' ', '{', '\xff'}) {
        CAPTURE(extra, byte);
        REQUIRE(status_of([&] { parse(whole + std::string(extra, byte)); }) == 3);
        REQUIRE(status_of([&] { parse(std::string(extra, byte) + whole); }) == 3);
      }
    }
  }
}

TEST_CASE("Every flipped bit of a header gives a refusal or a consistent header") {
  size_t accepted = 0, refused = 0;
  for (const std::string& whole : small_checkpoints()) {
    const uint64_t data_start = parse(whole).data_start;
    for (uint64_t bit = 0; bit < 8 * data_start; ++bit) {
      std::string flipped = whole;
      flipped[bit / 8] = static_cast<char>(static_cast<unsigned char>(flipped[bit / 8]) ^ (1u << bit % 8));
      CAPTURE(bit);
      const int status = status_of([&] { check_layout(parse(flipped), flipped.size()); });
      REQUIRE((status == 0 || status == 3));
      ++(status == 0 ? accepted : refused);
    }
  }
  // Names and metadata may change into other names; structure may not.
  CHECK(accepted > 0);
  CHECK(refused > 2 * accepted);
}

TEST_CASE("Every replaced byte of a header gives a refusal or a consistent header") {
  const std::string whole = CheckpointBuilder().filled("a", "F32", {2}, 8).filled("b", "U8", {3}, 3).bytes();
  const uint64_t data_start = parse(whole).data_start;
  for (uint64_t at = 0; at < data_start; ++at) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string changed = whole;
      changed[at] = static_cast<char>(byte);
      CAPTURE(at, byte);
      const int status = status_of([&] { check_layout(parse(changed), changed.size()); });
      REQUIRE((status == 0 || status == 3));
    }
  }
}

TEST_CASE("An index or a config that ends early is refused at every length") {
  const std::string index = R"({"metadata":{"total_size":4},"weight_map":{"a":"x/f","b":"g"}})";
  const std::string config = R"({"a":[1,-2,0.5e1,Infinity],"b":{"c":"d\u00e9"},"e":null,"f":true})";
  for (size_t bytes = 0; bytes < index.size(); ++bytes) {
    REQUIRE(status_of([&] { parse_shard_index(index.substr(0, bytes)); }) == 3);
  }
  for (size_t bytes = 0; bytes < config.size(); ++bytes) {
    REQUIRE(status_of([&] { parse_model_config(config.substr(0, bytes)); }) == 3);
  }
  REQUIRE(status_of([&] { parse_shard_index(index); }) == 0);
  REQUIRE(status_of([&] { parse_model_config(config); }) == 0);
}

TEST_CASE("Every flipped bit of an index or a config gives a refusal or a result") {
  const std::string texts[] = {R"({"metadata":{"total_size":4.0},"weight_map":{"a":"x/f","\u0062":"g"}})",
                               R"({"a":[1,-2,0.5e1,Infinity],"b":{"c":"d\u00e9"},"e":null,"f":true})"};
  for (const std::string& text : texts) {
    for (size_t bit = 0; bit < 8 * text.size(); ++bit) {
      std::string flipped = text;
      flipped[bit / 8] = static_cast<char>(static_cast<unsigned char>(flipped[bit / 8]) ^ (1u << bit % 8));
      CAPTURE(bit);
      const int index_status = status_of([&] { parse_shard_index(flipped); });
      const int config_status = status_of([&] { parse_model_config(flipped); });
      REQUIRE((index_status == 0 || index_status == 3));
      REQUIRE((config_status == 0 || config_status == 3));
    }
  }
}

TEST_CASE("Declared lengths are refused before anything is allocated") {
  const std::string rest = CheckpointBuilder().filled("a", "U8", {1}, 1).bytes().substr(8);
  const uint64_t file_bytes = rest.size() + 8;
  for (const uint64_t declared : {UINT64_MAX, uint64_t{1} << 63, uint64_t{100'000'001}, uint64_t{100'000'000},
                                  file_bytes, file_bytes - 7}) {
    CAPTURE(declared);
    rusage before{}, after{};
    getrusage(RUSAGE_SELF, &before);
    REQUIRE(status_of([&] { parse(test::safetensors_bytes(declared, rest, "")); }) == 3);
    getrusage(RUSAGE_SELF, &after);
    CHECK(after.ru_maxrss - before.ru_maxrss < 1024);
  }
}

TEST_CASE("Names chosen to be hard to tell apart do not make parsing slow") {
  // 50,000 equal-length names that differ in their last bytes only, in reverse order.
  std::string header = "{";
  for (int i = 50'000; i > 0; --i) {
    header += "\"" + std::string(40, 'n') + std::to_string(100'000 + i) +
              R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)";
  }
  header.back() = '}';
  const auto start = std::chrono::steady_clock::now();
  CHECK(parse(test::safetensors_bytes(header, "")).tensors.size() == 50'000);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(10));
}

}  // namespace
}  // namespace hfload
