#include "test/support/fixtures.h"

#include <lzma.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace hfload::test {
namespace {

template <class T>
const T& as(const ConfigValue& value) {
  if (const T* typed = std::get_if<T>(&value.value)) return *typed;
  throw std::runtime_error("a value of the fixture has another type");
}

ConfigValue parse(std::string_view json) {
  std::vector<std::string> notes;
  return parse_config_value(json, JsonRules::python, notes);
}

std::vector<ConfigValue> parse_lines(std::string_view text) {
  std::vector<ConfigValue> values;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    if (end > begin) values.push_back(parse(text.substr(begin, end - begin)));
    begin = end + 1;
  }
  return values;
}

std::string decompress_xz(const std::string& packed) {
  lzma_stream stream = LZMA_STREAM_INIT;
  if (lzma_stream_decoder(&stream, UINT64_MAX, 0) != LZMA_OK) throw std::runtime_error("no xz decoder");
  stream.next_in = reinterpret_cast<const uint8_t*>(packed.data());
  stream.avail_in = packed.size();
  std::string text;
  lzma_ret status = LZMA_OK;
  while (status == LZMA_OK) {
    const size_t begin = text.size();
    text.resize(begin + (size_t{1} << 20));
    stream.next_out = reinterpret_cast<uint8_t*>(text.data() + begin);
    stream.avail_out = text.size() - begin;
    status = lzma_code(&stream, LZMA_FINISH);
    text.resize(text.size() - stream.avail_out);
  }
  lzma_end(&stream);
  if (status != LZMA_STREAM_END) throw std::runtime_error("a fixture is no whole xz file");
  return text;
}

}  // namespace

std::string fixture_path(std::string_view name) { return std::string(HFLOAD_FIXTURES "/").append(name); }

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot open " + path);
  std::ostringstream content;
  content << in.rdbuf();
  return content.str();
}

ConfigValue read_json_fixture(std::string_view name) { return parse(read_file(fixture_path(name))); }

std::vector<ConfigValue> read_jsonl_fixture(std::string_view name) {
  return parse_lines(read_file(fixture_path(name)));
}

std::vector<ConfigValue> read_xz_jsonl_fixture(std::string_view name) {
  std::vector<ConfigValue> values = parse_lines(decompress_xz(read_file(fixture_path(name))));
  if (values.empty() || values[0].find("versions") == nullptr)
    throw std::runtime_error("a fixture does not name its versions");
  values.erase(values.begin());
  return values;
}

std::vector<std::string> fixture_files(std::string_view folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(fixture_path(folder)))
    names.push_back(entry.path().filename());
  if (names.empty()) throw std::runtime_error("no fixtures in " + std::string(folder));
  std::ranges::sort(names);
  return names;
}

const ConfigValue& at(const ConfigValue& object, std::string_view key) {
  if (const ConfigValue* found = object.find(key)) return *found;
  throw std::runtime_error("the fixture has no member " + std::string(key));
}

const ConfigValue::Array& array_of(const ConfigValue& value) { return as<ConfigValue::Array>(value); }

const ConfigValue::Object& object_of(const ConfigValue& value) { return as<ConfigValue::Object>(value); }

const std::string& string_of(const ConfigValue& value) { return as<std::string>(value); }

std::vector<std::string> strings_of(const ConfigValue& value) {
  std::vector<std::string> strings;
  for (const ConfigValue& element : array_of(value)) strings.push_back(string_of(element));
  return strings;
}

uint64_t uint_of(const ConfigValue& value) { return as<uint64_t>(value); }

bool bool_of(const ConfigValue& value) { return as<bool>(value); }

double number_of(const ConfigValue& value) {
  if (const auto* number = std::get_if<uint64_t>(&value.value)) return static_cast<double>(*number);
  if (const auto* number = std::get_if<int64_t>(&value.value)) return static_cast<double>(*number);
  return as<double>(value);
}

std::optional<std::string> corpus_directory() {
  const char* directory = std::getenv("HFLOAD_CORPUS");
  if (directory == nullptr || *directory == '\0') return std::nullopt;
  return directory;
}

}  // namespace hfload::test
