#include "core/format/torch_file.h"

#include <catch2/catch.hpp>
#include <functional>
#include <map>

#include "core/base/error.h"
#include "core/format/tensor_reader.h"
#include "test/support/fixtures.h"
#include "test/support/sanitized.h"
#include "test/support/sha256.h"
#include "test/support/temp_directory.h"
#include "test/support/zip_builder.h"

namespace hfload {
namespace {

using test::little_endian;
using namespace std::string_literals;

StridedTensor strided(const TorchFile& file, const TorchTensor& tensor) {
  return {tensor.data_offset(file.storages[tensor.storage]),
          tensor.shape,
          tensor.strides,
          tensor.dtype->element_bytes,
          file.big_endian ? tensor.dtype->swap_bytes : 1,
          tensor.negation};
}

/// The tensor's bytes, read in pieces of at most `piece` elements.
std::string bytes_of(const RegularFile& source, const TorchFile& file, const TorchTensor& tensor,
                     uint64_t piece) {
  std::string all(tensor.bytes, '\0');
  const uint64_t size = tensor.dtype->element_bytes;
  for (uint64_t first = 0; first * size < all.size(); first += piece) {
    const uint64_t bytes = std::min(piece * size, all.size() - first * size);
    read_tensor_elements(source, strided(file, tensor), first,
                         std::as_writable_bytes(std::span(all)).subspan(first * size, bytes));
  }
  return all;
}

TEST_CASE("Files of torch.save hold what torch finds in them") {
  size_t tensors = 0;
  for (const ConfigValue& row : test::read_jsonl_fixture("torch/expected.jsonl")) {
    const std::string name = test::string_of(test::at(row, "file"));
    INFO(name);
    const RegularFile source = open_regular_file(test::fixture_path("torch/" + name));
    const TorchFile file = read_torch_file(source);
    CHECK((file.layout == TorchLayout::legacy) == (name.find("legacy") != std::string::npos));
    CHECK(file.big_endian == (name.find("big_endian") != std::string::npos));
    const ConfigValue::Array& expected = test::array_of(test::at(row, "tensors"));
    REQUIRE(file.tensors.size() == expected.size());
    std::map<uint64_t, uint32_t> storages;
    for (size_t i = 0; i < expected.size(); ++i) {
      const TorchTensor& tensor = file.tensors[i];
      const ConfigValue& wanted = expected[i];
      INFO(tensor.name);
      CHECK(tensor.name == test::string_of(test::at(wanted, "name")));
      CHECK(tensor.dtype->name == test::string_of(test::at(wanted, "dtype")));
      const auto numbers = [&](std::string_view key) {
        std::vector<uint64_t> values;
        for (const ConfigValue& value : test::array_of(test::at(wanted, key)))
          values.push_back(test::uint_of(value));
        return values;
      };
      CHECK(tensor.shape == numbers("shape"));
      CHECK(tensor.strides == numbers("stride"));
      CHECK(tensor.first_element == test::uint_of(test::at(wanted, "storage_offset")));
      CHECK(tensor.contiguous == test::bool_of(test::at(wanted, "contiguous")));
      const uint64_t storage = test::uint_of(test::at(wanted, "storage"));
      CHECK(storages.try_emplace(storage, tensor.storage).first->second == tensor.storage);
      for (const uint64_t piece : {uint64_t{1} << 20, uint64_t{1}, uint64_t{5}})
        CHECK(test::sha256(bytes_of(source, file, tensor, piece)) ==
              test::string_of(test::at(wanted, "sha256")));
      ++tensors;
    }
    CHECK(storages.size() <= file.storages.size());
    std::vector<std::string> others;
    for (const TorchOther& other : file.others) others.push_back(other.name);
    CHECK(others == test::strings_of(test::at(row, "others")));
    const ConfigValue* inside = row.find("inside");
    const bool is_inside = inside != nullptr && !inside->is_null();
    CHECK(file.notes.size() == (others.empty() ? 0U : 1U) + (is_inside ? 1U : 0U));
    if (is_inside) CHECK(file.notes[0].find("dict '" + test::string_of(*inside) + "'") != std::string::npos);
  }
  CHECK(tensors > 150);
}

TEST_CASE(
    "No dict of several is taken for the model, none of a name that says nothing, and no stray tensor") {
  const std::map<std::string, std::string> files = {
      {"two_models.pt", "dicts 'model' and 'state_dict'"},
      {"ema_alone.pt", "dict 'ema'"},
      {"params.pt", "dicts 'params' and 'params_ema'"},
      {"net_and_epoch.pt", "dict 'net' and in the file's own dict"},
      {"loss_and_optimizer.pt", "beside 'optimizer'"},
      {"empty_model.pt", "'state_dict' in the file holds no tensors"},
  };
  for (const auto& [name, found] : files) {
    INFO(name);
    const RegularFile file = open_regular_file(test::fixture_path("torch/" + name));
    try {
      read_torch_file(file);
      FAIL("accepted");
    } catch (const Error& error) {
      CHECK(error_code_info(error.code()).name == "unsupported_format");
      CHECK(error.message().find(found) != std::string::npos);
      CHECK(error.hint().find("--key ") != std::string::npos);
    }
    try {
      read_torch_file(file, "epoch");
      FAIL("accepted");
    } catch (const Error& error) {
      CHECK(error_code_info(error.code()).name == "weights_not_found");
    }
  }
  const RegularFile file = open_regular_file(test::fixture_path("torch/two_models.pt"));
  const TorchFile chosen = read_torch_file(file, "state_dict");
  REQUIRE(chosen.tensors.size() == 1);
  CHECK(chosen.tensors[0].name == "w");
  CHECK(chosen.notes.size() == 1);
}

TEST_CASE("Other files of torch are named for what they are") {
  const std::map<std::string, ErrorCode> files = {
      {"empty.pt", ErrorCode::unsupported_format},       {"empty_legacy.pt", ErrorCode::unsupported_format},
      {"optimizer.pt", ErrorCode::unsupported_format},   {"sparse.pt", ErrorCode::unsupported_format},
      {"quantized.pt", ErrorCode::unsupported_format},   {"meta.pt", ErrorCode::unsupported_format},
      {"tensor.pt", ErrorCode::unsupported_format},      {"list.pt", ErrorCode::unsupported_format},
      {"torchscript.pt", ErrorCode::unsupported_format}, {"ancient.pt", ErrorCode::unsupported_format},
      {"module.pt", ErrorCode::unsafe_pickle},           {"VERSIONS.json", ErrorCode::invalid_pickle},
  };
  for (const auto& [name, code] : files) {
    INFO(name);
    try {
      read_torch_file(open_regular_file(test::fixture_path("torch/" + name)));
      FAIL("accepted");
    } catch (const Error& error) {
      CHECK(error_code_info(error.code()).name == error_code_info(code).name);
      CHECK(error.path().ends_with(name));
      CHECK(!error.hint().empty());
    }
  }
}

std::vector<std::string> names_in(const std::string& file, std::string_view key = {}) {
  std::vector<std::string> names;
  const RegularFile source = open_regular_file(test::fixture_path("torch/" + file));
  for (const TorchTensor& tensor : read_torch_file(source, key).tensors) names.push_back(tensor.name);
  return names;
}

TEST_CASE("The model of a trainer's checkpoint") {
  using Names = std::vector<std::string>;
  const Names model = {"a.weight", "a.bias"};
  CHECK(names_in("beside_loss.pt") == model);
  CHECK(names_in("net_and_epoch.pt", "net") == model);
  CHECK(names_in("net_and_epoch.pt", ".") == Names{"epoch", "net.a.weight", "net.a.bias"});
  CHECK(names_in("params.pt", "params_ema") == model);
  CHECK(names_in("loss_and_optimizer.pt", ".") == Names{"loss"});
  CHECK(names_in("empty_model.pt", ".") == Names{"loss"});
  const Names megatron = {"embedding.word_embeddings.weight", "encoder.layers.0.norm.weight"};
  CHECK(names_in("megatron.pt") == Names{"language_model." + megatron[0], "language_model." + megatron[1]});
  CHECK(names_in("megatron.pt", "model.language_model") == megatron);
  CHECK(names_in("megatron.pt", "model.language_model.encoder") == Names{"layers.0.norm.weight"});
  const RegularFile beside = open_regular_file(test::fixture_path("torch/beside_loss.pt"));
  CHECK(read_torch_file(beside).notes.at(0).find("'optimizer' and 'best_val_loss' and 'ema'") !=
        std::string::npos);
}

TEST_CASE("One tensor that is no plain one does not hide the others") {
  const std::map<std::string, std::pair<std::string, std::vector<uint64_t>>> files = {
      {"odd_sparse.pt", {"sparse", {3, 3}}}, {"odd_csr.pt", {"sparse", {3, 3}}},
      {"odd_meta.pt", {"meta", {2, 3}}},     {"odd_quantized.pt", {"quantized", {4}}},
      {"odd_legacy.pt", {"quantized", {4}}}, {"odd_nested.pt", {"nested", {}}},
  };
  for (const auto& [name, odd] : files) {
    INFO(name);
    const RegularFile source = open_regular_file(test::fixture_path("torch/" + name));
    const TorchFile file = read_torch_file(source);
    REQUIRE(file.tensors.size() == 1);
    CHECK(file.tensors[0].name == "plain");
    const std::string bytes = bytes_of(source, file, file.tensors[0], 4);
    CHECK(bytes == std::string("\0\0\0\0\0\0\x80?\0\0\0@\0\0@@", 16));
    REQUIRE(file.odd.size() == 1);
    CHECK(file.odd[0].name == "odd");
    CHECK(file.odd[0].kind == odd.first);
    CHECK(file.odd[0].shape == odd.second);
  }
}

std::string text(std::string_view value) { return "X" + little_endian(value.size(), 4) + std::string(value); }
std::string integer(uint64_t value) { return "\x8a\x09" + little_endian(value, 8) + "\0"s; }
std::string number(int64_t value) { return "\x8a\x08" + little_endian(static_cast<uint64_t>(value), 8); }
std::string tuple(const std::vector<std::string>& items) {
  std::string all = "(";
  for (const std::string& item : items) all += item;
  return all + "t";
}
std::string numbers(const std::vector<int64_t>& values) {
  std::vector<std::string> items;
  for (const int64_t value : values) items.push_back(number(value));
  return tuple(items);
}
std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
std::string storage(const std::string& count, const std::string& key = "0",
                    const std::string& type = "FloatStorage") {
  return tuple({text("storage"), global("torch", type), text(key), text("cpu"), count}) + "Q";
}
std::string tensor_of(const std::string& place, int64_t offset, const std::string& shape,
                      const std::string& strides, const std::string& metadata = {}) {
  return global("torch._utils", "_rebuild_tensor_v2") +
         tuple({place, number(offset), shape, strides, "\x89", global("collections", "OrderedDict") + ")R",
                metadata}) +
         "R";
}
/// A float32 tensor of storage 0, which has 4 elements.
std::string tensor(int64_t offset, const std::vector<int64_t>& shape, const std::vector<int64_t>& strides) {
  return tensor_of(storage(number(4)), offset, numbers(shape), numbers(strides));
}
std::string state_dict(const std::vector<std::pair<std::string, std::string>>& entries) {
  std::string all = "\x80\x02}(";
  for (const auto& [name, value] : entries) all += text(name) + value;
  return all + "u.";
}
/// A dict in another.
std::string state_dict_of(const std::vector<std::pair<std::string, std::string>>& entries) {
  const std::string whole = state_dict(entries);
  return whole.substr(2, whole.size() - 3);
}
std::string archive(const std::string& pickle, const std::string& data = std::string(16, 'x')) {
  return test::zip_bytes({{"a/data.pkl", pickle}, {"a/data/0", data}}).bytes;
}

TorchFile parse(const std::string& bytes, std::string_view key = {}) {
  return parse_torch_file(MemorySource(std::as_bytes(std::span(bytes))), key);
}

std::string refused(const std::string& bytes) {
  try {
    parse(bytes);
  } catch (const Error& error) {
    CHECK((error.exit_status() == 3 || error.exit_status() == 4));
    CHECK(!error.message().empty());
    return std::string(error_code_info(error.code()).name);
  }
  return "accepted";
}
std::string refused_tensor(const std::string& value) { return refused(archive(state_dict({{"w", value}}))); }

// As DeepSpeed ZeRO-3 leaves a model's module where each process has a part of the weights.
TEST_CASE("A file of empty tensors holds no model") {
  const std::string empty = tensor(0, {0}, {1}), whole = tensor(0, {2, 2}, {2, 1});
  CHECK(refused(archive(state_dict({{"a.w", empty}, {"b.w", empty}}))) == "unsupported_format");
  CHECK(refused(archive(state_dict({{"a.w", empty}, {"b.w", whole}}))) == "accepted");
}

TEST_CASE("A tensor lies inside its storage") {
  constexpr int64_t kMost = INT64_MAX;
  CHECK(refused_tensor(tensor(0, {2, 2}, {2, 1})) == "accepted");
  CHECK(refused_tensor(tensor(3, {}, {})) == "accepted");
  CHECK(refused_tensor(tensor(4, {0}, {1})) == "accepted");
  CHECK(refused_tensor(tensor(0, {1000, 1000}, {0, 0})) == "accepted");
  CHECK(refused_tensor(tensor(0, {2}, {3})) == "accepted");
  CHECK(refused_tensor(tensor(4, {}, {})) == "storage_overrun");
  CHECK(refused_tensor(tensor(1, {2, 2}, {2, 1})) == "storage_overrun");
  CHECK(refused_tensor(tensor(0, {2}, {4})) == "storage_overrun");
  CHECK(refused_tensor(tensor(0, {5}, {1})) == "storage_overrun");
  CHECK(refused_tensor(tensor(kMost, {1}, {1})) == "storage_overrun");
  CHECK(refused_tensor(tensor(kMost, {3}, {kMost})) == "storage_overrun");
  CHECK(refused_tensor(tensor(2, {2, 2}, {kMost, kMost})) == "storage_overrun");
  CHECK(refused_tensor(tensor(0, {5, 1LL << 32}, {1LL << 62, 0})) == "storage_overrun");
  CHECK(refused_tensor(tensor(0, {1LL << 32, 1LL << 32}, {0, 0})) == "shape_overflow");
  CHECK(refused_tensor(tensor(0, {1LL << 62, 2}, {0, 0})) == "shape_overflow");
  CHECK(refused_tensor(tensor(0, {1LL << 28}, {0})) == "accepted");
  CHECK(refused_tensor(tensor(0, {(1LL << 28) + 1}, {0})) == "tensor_too_large");
  CHECK(refused_tensor(tensor(0, {1LL << 48}, {0})) == "tensor_too_large");
  const std::string half = tensor(0, {1LL << 27}, {0});
  CHECK(refused(archive(state_dict({{"a", half}, {"b", half}}))) == "accepted");
  CHECK(refused(archive(state_dict({{"a", half}, {"b", half}, {"c", half}}))) == "tensor_too_large");
}

TEST_CASE("Refused tensors") {
  const std::string shape = numbers({4}), strides = numbers({1}), place = storage(number(4));
  const auto entry = [](const std::string& value) { return refused_tensor(value); };
  CHECK(entry(tensor(-1, {4}, {1})) == "invalid_tensor_entry");
  CHECK(entry(tensor(0, {-4}, {1})) == "invalid_tensor_entry");
  CHECK(entry(tensor(0, {4}, {-1})) == "invalid_tensor_entry");
  CHECK(entry(tensor(0, {4}, {1, 1})) == "invalid_tensor_entry");
  CHECK(entry(tensor(0, {4, 1}, {1})) == "invalid_tensor_entry");
  CHECK(entry(tensor(0, std::vector<int64_t>(65, 1), std::vector<int64_t>(65, 1))) == "invalid_tensor_entry");
  CHECK(entry(tensor(0, std::vector<int64_t>(64, 1), std::vector<int64_t>(64, 1))) == "accepted");
  CHECK(entry(tensor_of(place, 0, "]", strides)) == "invalid_tensor_entry");
  CHECK(entry(tensor_of(place, 0, tuple({"G" + little_endian(0, 8)}), strides)) == "invalid_tensor_entry");
  CHECK(entry(tensor_of(place, 0, tuple({integer(4)}), strides)) == "invalid_tensor_entry");
  CHECK(entry(tensor_of("N", 0, shape, strides)) == "invalid_tensor_entry");
  CHECK(entry(tensor_of(tuple({"N"}), 0, shape, strides)) == "invalid_tensor_entry");
  CHECK(entry(tensor_of(storage(number(5)), 0, shape, strides)) == "invalid_storage");
  CHECK(entry(tensor_of(storage(number(3)), 0, numbers({3}), strides)) == "invalid_storage");
  CHECK(entry(tensor_of(storage(number(2), "0", "DoubleStorage"), 0, numbers({2}), strides)) == "accepted");
  CHECK(entry(tensor_of(storage(number(-1)), 0, shape, strides)) == "invalid_tensor_entry");
  CHECK(entry(tensor_of(storage(number(INT64_MAX)), 0, shape, strides)) == "shape_overflow");
  CHECK(entry(tensor_of(storage(number(4), "1"), 0, shape, strides)) == "invalid_storage");
  CHECK(entry(tensor_of(storage(number(4), "../data/0"), 0, shape, strides)) == "invalid_storage");
  CHECK(entry(tensor_of(storage(number(4), "0", "Size"), 0, shape, strides)) == "invalid_tensor_entry");
  CHECK(entry(tensor_of(storage(number(4), "0", "QInt8Storage"), 0, shape, strides)) == "invalid_storage");
  CHECK(entry(tensor_of(storage(number(4), "0", "QInt32Storage"), 0, shape, strides)) == "accepted");
  CHECK(entry(tensor_of(storage(number(16), "0", "UntypedStorage"), 0, shape, strides)) ==
        "invalid_tensor_entry");
  CHECK(
      entry(tensor_of(tuple({text("storage"), global("torch", "FloatStorage"), text("0"), text("cpu")}) + "Q",
                      0, shape, strides)) == "invalid_tensor_entry");
  CHECK(entry(tensor_of(
            tuple({text("storage"), global("torch", "FloatStorage"), "N", text("cpu"), number(4)}) + "Q", 0,
            shape, strides)) == "invalid_tensor_entry");
  CHECK(entry(tensor(0, {4}, {1}) + "}b") == "invalid_tensor_entry");
  const std::string v2 = global("torch._utils", "_rebuild_tensor_v2");
  CHECK(entry(v2 + ")R") == "invalid_tensor_entry");
  CHECK(entry(v2 + tuple(std::vector<std::string>(8, "N")) + "R") == "invalid_tensor_entry");
  const std::string parameter = global("torch._utils", "_rebuild_parameter");
  CHECK(entry(parameter + tuple({tensor(0, {4}, {1}), "\x88", "N"}) + "R") == "accepted");
  CHECK(entry(parameter + tuple({"N", "\x88", "N"}) + "R") == "invalid_tensor_entry");
  CHECK(entry(parameter + tuple({tensor(0, {4}, {1})}) + "R") == "invalid_tensor_entry");
  CHECK(entry(parameter + tuple({tensor(0, {4}, {1}), "\x88", "N"}) + "R}b") == "invalid_tensor_entry");
  const auto v3 = [&](const std::string& of, const std::string& dtype) {
    return global("torch._utils", "_rebuild_tensor_v3") +
           tuple({of, number(0), shape, strides, "\x89", "N", dtype}) + "R";
  };
  const std::string untyped = storage(number(16), "0", "UntypedStorage");
  CHECK(entry(v3(untyped, global("torch", "uint32"))) == "accepted");
  CHECK(entry(v3(untyped, global("torch", "uint64"))) == "storage_overrun");
  CHECK(entry(v3(untyped, "N")) == "invalid_tensor_entry");
  CHECK(entry(v3(untyped, global("torch", "qint8"))) == "unsupported_format");
  const auto from_type = [&](const std::string& function) {
    return global("torch._tensor", "_rebuild_from_type_v2") +
           tuple({function, global("torch", "Tensor"), tuple({place, number(0), shape, strides, "\x89", "N"}),
                  "N"}) +
           "R";
  };
  CHECK(entry(from_type(v2)) == "accepted");
  CHECK(entry(from_type("N")) == "invalid_tensor_entry");
  CHECK(entry(from_type(global("torch", "Size"))) == "invalid_tensor_entry");
}

TEST_CASE("The conjugate and the negative bit") {
  const auto bits = [](const std::string& type, const std::string& metadata) {
    const std::string place = storage(number(type == "ComplexFloatStorage" ? 2 : 4), "0", type);
    return state_dict({{"w", tensor_of(place, 0, numbers({2}), numbers({1}), metadata)}});
  };
  const auto negation = [&](const std::string& type, const std::string& metadata) {
    const size_t bytes = type == "LongStorage" ? 32 : type == "BoolStorage" ? 4 : 16;
    return parse(archive(bits(type, metadata), std::string(bytes, 'x'))).tensors.at(0).negation;
  };
  // As torch, by the names alone.
  const std::string conj = "}" + text("conj") + "\x88s", neg = "}" + text("neg") + "\x89s",
                    both = "}(" + text("conj") + "\x88" + text("neg") + "\x88u";
  CHECK(negation("FloatStorage", "N") == Negation::none);
  CHECK(negation("FloatStorage", "}") == Negation::none);
  CHECK(negation("FloatStorage", "}" + text("other") + "\x88s") == Negation::none);
  CHECK(negation("FloatStorage", neg) == Negation::floats);
  CHECK(negation("LongStorage", neg) == Negation::integers);
  CHECK(negation("ComplexFloatStorage", conj) == Negation::imaginary_parts);
  CHECK(negation("ComplexFloatStorage", neg) == Negation::complexes);
  CHECK(negation("ComplexFloatStorage", both) == Negation::real_parts);
  CHECK(refused(archive(bits("FloatStorage", conj))) == "invalid_tensor_entry");
  CHECK(refused(archive(bits("FloatStorage", "K\x01"))) == "invalid_tensor_entry");
  // What torch cannot negate.
  CHECK(refused(archive(bits("BoolStorage", neg), "xxxx")) == "unsupported_format");
}

TEST_CASE("State dicts") {
  const std::string whole = tensor(0, {4}, {1});
  CHECK(refused(archive(state_dict({{"a", whole}, {"a", whole}}))) == "duplicate_key");
  CHECK(refused(archive(state_dict({{"a", "N"}, {"a", "N"}}))) == "duplicate_key");
  CHECK(refused(archive("\x80\x02]" + whole + "a.")) == "unsupported_format");
  CHECK(refused(archive(state_dict({{"a", whole}}) + " ")) == "invalid_pickle");
  // One storage in two sizes; one that only a list refers to.
  CHECK(refused(archive(state_dict({{"a", whole}, {"b", "]" + storage(number(3)) + "a"}}))) ==
        "invalid_storage");
  CHECK(refused(archive(state_dict({{"a", whole}, {"b", "]" + storage(number(4), "7") + "a"}}))) ==
        "invalid_storage");
  // As many elements of another size.
  const std::string doubles =
      tensor_of(storage(number(4), "0", "DoubleStorage"), 0, numbers({4}), numbers({1}));
  CHECK(refused(archive(state_dict({{"a", whole}, {"b", doubles}}))) == "invalid_storage");
  CHECK(refused(archive(state_dict({{"a", whole}, {"b", tensor_of("N", 0, numbers({4}), numbers({1}))}}))) ==
        "invalid_tensor_entry");
  const std::string inner = "}" + text("w") + whole + "s";
  const TorchFile file = parse(archive(state_dict({{"state_dict", inner}, {"step", "K\x01"}})));
  REQUIRE(file.tensors.size() == 1);
  CHECK(file.tensors[0].name == "w");
  REQUIRE(file.notes.size() == 1);
  CHECK(file.notes[0].find("'state_dict'") != std::string::npos);
  for (const std::string beside : {"a", "a.b"})
    CHECK(parse(archive(state_dict({{beside, whole}, {"state_dict", inner}}))).tensors.at(0).name == "w");
  // Names of tensors have dots; those of losses and counters have none.
  CHECK(parse(archive(state_dict({{"a.b", whole}, {"ema", inner}}))).tensors.at(0).name == "a.b");
  CHECK(refused(archive(state_dict({{"a", whole}, {"ema", inner}}))) == "unsupported_format");
  CHECK(refused(archive(state_dict({{"a", whole}, {"steps", "]" + whole + "a"}}))) == "unsupported_format");
  CHECK(refused(archive(state_dict({{"a", "N"}}))) == "unsupported_format");
  const TorchFile joined =
      parse(archive(state_dict({{"model", state_dict_of({{"a", whole}, {"b", inner}})}})));
  REQUIRE(joined.tensors.size() == 2);
  CHECK(joined.tensors[1].name == "b.w");
  CHECK(refused(archive(state_dict({{"model", state_dict_of({{"b.w", whole}, {"b", inner}})}}))) ==
        "duplicate_key");
  CHECK(parse(archive(state_dict({{"", whole}}))).tensors.at(0).name.empty());
  CHECK(parse(archive(state_dict({{"a", whole}, {"ema", inner}})), "ema").tensors.at(0).name == "w");
  for (const std::string name : {"state_dict", "model_state_dict", "model", "module"})
    CHECK(parse(archive(state_dict({{name, inner}, {"ema", inner}}))).tensors.at(0).name == "w");
  CHECK(refused(archive(state_dict({{"model", inner}, {"model", inner}}))) == "unsupported_format");
  CHECK(refused(archive("\x80\x02}K\x01" + whole + "s.")) == "unsupported_format");
  const TorchFile numbered = parse(archive("\x80\x02}K\x01" + whole + "s" + text("w") + whole + "s."));
  REQUIRE(numbered.others.size() == 1);
  CHECK(numbered.others[0].kind == "a tensor");
}

TEST_CASE("Of many entries that are no tensors a thousand are listed, and all are counted") {
  std::vector<std::pair<std::string, std::string>> entries{{"w", tensor(0, {4}, {1})}};
  for (size_t i = 0; i < 1500; ++i) entries.emplace_back(std::to_string(i), "N");
  const TorchFile file = parse(archive(state_dict(entries)));
  CHECK(file.others.size() == 1000);
  CHECK(file.other_count == 1500);
}

TEST_CASE("Archives that are no checkpoints") {
  const std::string pickle = state_dict({{"w", tensor(0, {4}, {1})}}), data(16, 'x');
  const auto refused_zip = [](const std::vector<test::ZipEntry>& entries) {
    return refused(test::zip_bytes(entries).bytes);
  };
  CHECK(refused_zip({{"a/data.pkl", pickle}, {"a/data/0", data}, {"a/byteorder", "big"}}) == "accepted");
  CHECK(refused_zip({{"a/data.pkl", pickle}, {"a/data/0", data}, {"a/byteorder", "middle"}}) ==
        "invalid_zip");
  CHECK(refused_zip({{"a/data.pkl", pickle}, {"a/data/0", data}, {"a/byteorder", std::string(99, ' ')}}) ==
        "invalid_zip");
  CHECK(refused_zip({{"a/data.pkl", pickle}, {"b/data/0", data}}) == "invalid_storage");
  CHECK(refused_zip({{"a/data.pkl", pickle}, {"b/data.pkl", pickle}, {"a/data/0", data}}) == "invalid_zip");
  CHECK(refused_zip({{"data.pkl", pickle}, {"data/0", data}}) == "unsupported_format");
  CHECK(refused_zip({{"a/data.pkl", pickle}, {"a/data/0", data}, {"a/code/x.py", ""}}) ==
        "unsupported_format");
  CHECK(refused_zip({{"a/data.pkl", ""}, {"a/data/0", data}}) == "invalid_pickle");
  test::ZipBytes wrong = test::zip_bytes({{"a/data.pkl", pickle}, {"a/data/0", data}});
  wrong.put(wrong.local[0] + 14, 1, 4).put(wrong.central[0] + 16, 1, 4);
  CHECK(refused(wrong.bytes) == "invalid_zip");
}

const std::string kMagic = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
std::string legacy_storage(const std::string& count, const std::string& view) {
  return tuple({text("storage"), global("torch", "FloatStorage"), text("0"), text("cpu"), count, view}) + "Q";
}
std::string legacy(const std::string& place, const std::string& keys, const std::string& rest,
                   const std::string& shape = numbers({2})) {
  return kMagic + "\x80\x02M\xe9\x03." + "\x80\x02}." +
         state_dict({{"w", tensor_of(place, 1, shape, numbers({1}))}}) + "\x80\x02" + keys + "." + rest;
}

TEST_CASE("The legacy layout") {
  const std::string place = legacy_storage(number(4), "N"), keys = "]" + text("0") + "a";
  const std::string rest = little_endian(4, 8) + std::string(16, 'x');
  CHECK(refused(legacy(place, keys, rest)) == "accepted");
  CHECK(refused(legacy(storage(number(4)), keys, rest)) == "accepted");
  // Its sixth field is of no other layout.
  CHECK(refused_tensor(tensor_of(place, 0, numbers({4}), numbers({1}))) == "invalid_tensor_entry");
  CHECK(refused(legacy(place, keys, rest + "x")) == "trailing_bytes");
  CHECK(refused(legacy(place, keys, rest.substr(0, 23))) == "data_truncated");
  CHECK(refused(legacy(place, keys, rest.substr(0, 7))) == "invalid_storage");
  CHECK(refused(legacy(place, keys, little_endian(5, 8) + std::string(20, 'x'))) == "invalid_storage");
  CHECK(refused(legacy(place, keys, little_endian(~0ULL, 8) + std::string(16, 'x'))) == "invalid_storage");
  CHECK(refused(legacy(place, "]", "")) == "invalid_storage");
  CHECK(refused(legacy(place, "N", rest)) == "invalid_storage");
  CHECK(refused(legacy(place, "](" + text("0") + text("0") + "e", rest + rest)) == "invalid_storage");
  CHECK(refused(legacy(place, "](" + text("0") + text("1") + "e", rest + rest)) == "invalid_storage");
  CHECK(refused(kMagic) == "invalid_pickle");
  CHECK(refused(kMagic + "\x80\x02K\x01.") == "unsupported_format");
  CHECK(refused(state_dict({})) == "unsupported_format");
  CHECK(refused("") == "invalid_pickle");
  CHECK(refused("version https://git-lfs.github.com/spec/v1\n") == "lfs_pointer");

  SECTION("a part of a storage") {
    const auto part = [&](int64_t offset, int64_t size) {
      return legacy_storage(number(4), tuple({text("1"), number(offset), number(size)}));
    };
    const TorchFile file = parse(legacy(part(1, 3), keys, rest));
    CHECK(file.tensors[0].first_element == 2);
    CHECK(refused(legacy(part(2, 2), keys, rest)) == "storage_overrun");
    CHECK(refused(legacy(part(2, 3), keys, rest)) == "storage_overrun");
    CHECK(refused(legacy(part(INT64_MAX, 3), keys, rest)) == "storage_overrun");
    CHECK(refused(legacy(legacy_storage(number(4), "K\x01"), keys, rest)) == "invalid_tensor_entry");
  }
}

TEST_CASE("Every shortened file of torch.save is refused") {
  for (const std::string name : {"views.pt", "views_legacy.pt", "protocol_4.pt"}) {
    const std::string whole = test::read_file(test::fixture_path("torch/" + name));
    for (size_t bytes = 0; bytes < whole.size(); ++bytes) {
      if (refused(whole.substr(0, bytes)) == "accepted")
        FAIL(name << " of " << bytes << " bytes is accepted");
    }
  }
}

TEST_CASE("A changed bit of a file of torch.save is refused or leaves all tensors in the file") {
  for (const std::string name : {"views.pt", "views_legacy.pt"}) {
    const std::string whole = test::read_file(test::fixture_path("torch/" + name));
    for (size_t bit = 0; bit < 8 * whole.size(); bit += test::every(7)) {
      std::string changed = whole;
      changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << bit % 8));
      try {
        const TorchFile file = parse(changed);
        for (const TorchTensor& t : file.tensors) {
          const TorchStorage& of = file.storages.at(t.storage);
          uint64_t last = t.first_element;
          for (size_t i = 0; i < t.shape.size(); ++i) last += (t.shape[i] - 1) * t.strides[i];
          const bool inside = t.bytes == 0 || ((last + 1) * t.dtype->element_bytes <= of.bytes &&
                                               of.data_offset + of.bytes <= changed.size());
          if (!inside) FAIL(name << ": bit " << bit << " lets a tensor leave its storage");
        }
      } catch (const Error& error) {
        if (error.exit_status() != 3 && error.exit_status() != 4) FAIL(name << ": bit " << bit);
      }
    }
  }
}

TEST_CASE("Large strided tensors are read in pieces as in one") {
  const test::TempDirectory directory;
  std::string data(600 * 500 * 4, '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 2654435761U >> 13);
  const RegularFile file = open_regular_file(directory.write("data", "head" + data));
  const StridedTensor cases[] = {
      {4, {500, 600}, {1, 500}, 4, 1},        // transposed
      {4 + 40, {600, 400}, {500, 1}, 4, 1},   // columns
      {4, {3, 600, 250}, {0, 500, 2}, 4, 2},  // repeated, every other column, halves turned round
      {4, {500, 20, 30}, {1, 500, 10000}, 4, 1}, {4, {600, 500}, {500, 1}, 4, 4},
  };
  for (const StridedTensor& t : cases) {
    uint64_t count = 1;
    for (const uint64_t n : t.shape) count *= n;
    std::string expected;
    for (uint64_t i = 0; i < count; ++i) {
      uint64_t rest = i, element = 0;
      for (size_t d = t.shape.size(); d-- > 0; rest /= t.shape[d])
        element += rest % t.shape[d] * t.strides[d];
      std::string bytes = data.substr(t.data_offset - 4 + 4 * element, 4);
      for (size_t at = 0; at < 4; at += t.swap_bytes)
        std::reverse(bytes.begin() + static_cast<ptrdiff_t>(at),
                     bytes.begin() + static_cast<ptrdiff_t>(at + t.swap_bytes));
      expected += bytes;
    }
    std::string whole(expected.size(), '\0'), pieces(expected.size(), '\0');
    read_tensor_elements(file, t, 0, std::as_writable_bytes(std::span(whole)));
    for (uint64_t first = 0; first < count; first += 33'333) {
      read_tensor_elements(file, t, first,
                           std::as_writable_bytes(std::span(pieces))
                               .subspan(4 * first, 4 * std::min<uint64_t>(33'333, count - first)));
    }
    CHECK((whole == expected));
    CHECK((pieces == expected));
  }
}

}  // namespace
}  // namespace hfload
