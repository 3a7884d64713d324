#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/format/model_config.h"

namespace hfload::test {

/// The path of a file below test/fixtures.
std::string fixture_path(std::string_view name);

/// A whole file. Throws when it cannot be read, so that a test never passes for want of its file.
std::string read_file(const std::string& path);

/// A JSON fixture as a tree.
ConfigValue read_json_fixture(std::string_view name);
/// A fixture with one JSON object a line.
std::vector<ConfigValue> read_jsonl_fixture(std::string_view name);

/// The same of one that is compressed with xz; its first line, which names the versions of Python's packages,
/// is left out.
std::vector<ConfigValue> read_xz_jsonl_fixture(std::string_view name);
/// Names of the files in a folder of fixtures, sorted. Throws when there are none.
std::vector<std::string> fixture_files(std::string_view folder);

/// The member of an object. Throws when it is absent.
const ConfigValue& at(const ConfigValue& object, std::string_view key);

/// What a value holds. Throw when it is of another type.
const ConfigValue::Array& array_of(const ConfigValue& value);
const ConfigValue::Object& object_of(const ConfigValue& value);
const std::string& string_of(const ConfigValue& value);
/// Of an array of strings.
std::vector<std::string> strings_of(const ConfigValue& value);
uint64_t uint_of(const ConfigValue& value);
bool bool_of(const ConfigValue& value);
/// Of any number.
double number_of(const ConfigValue& value);

/// The folder of published models' metadata that HFLOAD_CORPUS names; nothing when it is unset.
std::optional<std::string> corpus_directory();

}  // namespace hfload::test
