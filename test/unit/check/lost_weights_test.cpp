#include "core/check/lost_weights.h"

#include <fcntl.h>

#include <catch2/catch.hpp>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/base/file_holes.h"
#include "test/support/checkpoint_builder.h"
#include "test/support/temp_directory.h"

namespace hfload {
namespace {

constexpr uint64_t kRows = 64, kColumns = 512, kBytes = 4 * kRows * kColumns;  // 128 KiB

std::string counting(uint64_t bytes) {
  std::string data(bytes, '\0');
  for (uint64_t i = 0; i < bytes; ++i) data[i] = static_cast<char>(i % 101);
  return data;
}

using Tensors = std::vector<std::pair<std::string, std::string>>;  // name and data, of [kRows, kColumns]

/// An embedding and two matrices of four layers each.
Tensors model() {
  Tensors tensors = {{"embed.weight", counting(kBytes)}};
  for (const char* name : {"up", "down"}) {
    for (int i = 0; i < 4; ++i)
      tensors.emplace_back("layers." + std::to_string(i) + "." + name + ".weight", counting(kBytes));
  }
  return tensors;
}

std::string& data_of(Tensors& tensors, const std::string& name) {
  for (auto& [other, data] : tensors) {
    if (other == name) return data;
  }
  throw std::invalid_argument(name);
}

Tensors zeroed(Tensors tensors, const std::vector<std::string>& names, char value = '\0') {
  for (const std::string& name : names) {
    std::string& data = data_of(tensors, name);
    data.assign(data.size(), value);
  }
  return tensors;
}

/// "code: tensor tensor", one line for each finding.
std::string found_in(const std::string& path) {
  const Checkpoint checkpoint = open_checkpoint(locate_model(path, {}));
  const auto source = open_tensor_source(checkpoint);
  std::string text;
  for (const Finding& finding : find_lost_weights(checkpoint, scan_tensors(checkpoint, *source, {}))) {
    text += std::string(finding.code) + ":";
    for (const std::string& name : finding.names) text += " " + name;
    text += "\n";
  }
  return text;
}

std::string found(const Tensors& tensors, const std::string& dtype = "F32",
                  const std::vector<uint64_t>& shape = {kRows, kColumns}) {
  test::CheckpointBuilder file;
  for (const auto& [name, data] : tensors) file.tensor(name, dtype, shape, data);
  const test::TempDirectory root;
  return found_in(root.write("model.safetensors", file.bytes()));
}

}  // namespace

TEST_CASE("weights of one value alone are lost where other layers' are not", "[check]") {
  CHECK(found(model()) == "");
  const std::vector<std::string> names = {"layers.1.down.weight", "layers.1.up.weight", "layers.3.up.weight"};
  const std::string all = "constant_weights: layers.1.down.weight layers.1.up.weight layers.3.up.weight\n";
  CHECK(found(zeroed(model(), names)) == all);
  CHECK(found(zeroed(model(), names, '\x3F')) == all);  // the float32 0x3F3F3F3F
  CHECK(found(zeroed(model(), names), "F4", {kRows, 8 * kColumns}) == all);
  CHECK(found(zeroed(model(), names), "I32") == all);
}

TEST_CASE("constant tensors that may be right are a note, or nothing", "[check]") {
  CHECK(found(zeroed(model(), {"embed.weight"})) == "constant_tensors: embed.weight\n");
  const std::vector<std::string> every = {"layers.0.up.weight", "layers.1.up.weight", "layers.2.up.weight",
                                          "layers.3.up.weight"};
  CHECK(found(zeroed(model(), every)) ==
        "constant_tensors: layers.0.up.weight layers.1.up.weight layers.2.up.weight layers.3.up.weight\n");
  CHECK(found(zeroed(model(), {"layers.1.up.weight"}), "F32", {1, kRows * kColumns}) == "");
  CHECK(found(zeroed(model(), {"layers.1.up.weight"}), "F32", {kRows * kColumns}) == "");
  Tensors adapters, companions;
  for (const char* layer : {"layers.0.", "layers.1.", "layers.2.", "layers.3."}) {
    adapters.emplace_back(layer + std::string("lora_A.weight"), counting(kBytes));
    adapters.emplace_back(layer + std::string("lora_B.weight"), std::string(kBytes, '\0'));
    companions.emplace_back(layer + std::string("qweight"), counting(kBytes));
    companions.emplace_back(layer + std::string("qzeros"), counting(kBytes));
  }
  CHECK(found(adapters) ==
        "constant_tensors: layers.0.lora_B.weight layers.1.lora_B.weight layers.2.lora_B.weight "
        "layers.3.lora_B.weight\n");
  data_of(adapters, "layers.2.lora_B.weight") = counting(kBytes);
  CHECK(found(adapters) ==
        "constant_tensors: layers.0.lora_B.weight layers.1.lora_B.weight layers.3.lora_B.weight\n");
  CHECK(found(zeroed(companions, {"layers.2.qzeros"}), "I32") == "");
  companions.emplace_back("layers.0.experts.down_proj_bias", counting(kBytes));
  companions.emplace_back("layers.1.experts.down_proj_bias", std::string(kBytes, '\0'));
  CHECK(found(companions) == "");
}

TEST_CASE("a file of constants is at fault, whatever its tensors are", "[check]") {
  Tensors all = model();
  std::string names;
  for (auto& [name, data] : all) data.assign(data.size(), '\0');
  CHECK(found(all) ==
        "constant_file: embed.weight layers.0.down.weight layers.0.up.weight layers.1.down.weight "
        "layers.1.up.weight layers.2.down.weight layers.2.up.weight layers.3.down.weight "
        "layers.3.up.weight\n");
  CHECK(found({{"flat", std::string(1 << 20, '\0')}}, "F32", {1 << 18}) == "constant_file: flat\n");
  CHECK(found({{"flat", std::string(1 << 19, '\0')}}, "F32", {1 << 17}) == "");
  CHECK(found({{"a", std::string(16, '\0')}}, "F32", {2, 2}) == "constant_tensors: a\n");
}

TEST_CASE("weights in holes of a file were never written", "[check]") {
  const test::TempDirectory root;
  test::CheckpointBuilder file;
  const Tensors tensors = zeroed(model(), {"embed.weight"});
  for (const auto& [name, data] : tensors) file.tensor(name, "F32", {kRows, kColumns}, data);
  const std::string bytes = file.bytes(), path = root / "model.safetensors";
  const uint64_t data_start = bytes.size() - tensors.size() * kBytes;
  const auto write_but = [&](uint64_t hole_begin, uint64_t hole_end) {
    root.write("model.safetensors", std::string_view(bytes).substr(0, hole_begin));
    const FileDescriptor fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
    write_exactly(fd.get(), hole_end, std::as_bytes(std::span(bytes).subspan(hole_end)), path);
  };
  write_but(data_start, data_start + kBytes);
  if (find_holes(open_regular_file(path), 1, 1).empty()) return;  // the file system does not tell
  CHECK(found_in(path) == "unwritten_weights: embed.weight\n");
  // The second half of the first `up`, and the first of the next.
  write_but(data_start + kBytes + kBytes / 2 - 8192, data_start + 2 * kBytes + kBytes / 2 + 8192);
  CHECK(found_in(path) ==
        "unwritten_weights: layers.0.up.weight layers.1.up.weight\n"
        "constant_tensors: embed.weight\n");
}

}  // namespace hfload
