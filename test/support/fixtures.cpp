#include "test/support/fixtures.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
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
  return parse_config_value(json, notes);
}

}  // namespace

std::string fixture_path(std::string_view name) { return std::string(HFLOAD_FIXTURES "/").append(name); }

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot open " + path);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

ConfigValue read_json_fixture(std::string_view name) { return parse(read_file(fixture_path(name))); }

std::vector<ConfigValue> read_jsonl_fixture(std::string_view name) {
  const std::string text = read_file(fixture_path(name));
  std::vector<ConfigValue> values;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    if (end > begin) values.push_back(parse(std::string_view(text).substr(begin, end - begin)));
    begin = end + 1;
  }
  return values;
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
