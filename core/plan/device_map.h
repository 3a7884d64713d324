#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/base/name_table.h"
#include "core/model/module_tree.h"
#include "core/plan/device.h"

namespace hfload {

struct DeviceMapEntry {
  std::string module;  ///< full name of a module or parameter; "" for the whole model
  Device device;
};

/// An hf_device_map: entries in assignment order, a collapsed entry where its last member stood.
using DeviceMap = std::vector<DeviceMapEntry>;

/// Merges entries whose siblings are all on one device (accelerate 1.x, `clean_device_map`). One entry alone
/// is never merged upwards.
DeviceMap clean_device_map(DeviceMap map);

/// Looks devices up by the longest entry that is the name or a parent of it. The map must outlive it.
class DeviceMapLookup {
 public:
  explicit DeviceMapLookup(const DeviceMap& map);
  explicit DeviceMapLookup(DeviceMap&&) = delete;
  /// Null when no entry covers `name`.
  const Device* find(std::string_view name) const;

 private:
  struct NameOf {
    const DeviceMap& map;
    std::string_view operator()(uint32_t entry) const { return map[entry].module; }
  };

  const DeviceMap& map_;
  NameTable by_name_;
  size_t longest_ = 0;  ///< bytes of the longest name in the map: no longer one needs to be looked up
};

/// A user's own map, in its own order. `text` is a JSON object of module to device (an integer or a string),
/// the same as Python prints a dictionary (what format_device_map writes), or a document of the form
/// hfload.plan/1 or hfload.load/1, of which it is the hf_device_map. Throws Error(invalid_device,
/// invalid_device_map) for a text that is well-formed and no map, Error(malformed_device_map, invalid_json,
/// duplicate_key, …) of exit status 3 for any other.
DeviceMap parse_device_map(std::string_view text);

/// Checks a user's map: every persistent tensor covered (Error(device_map_incomplete) naming all that are
/// not), warnings for entries that match no module and for tied parameters on different devices. Returns the
/// warnings.
std::vector<std::string> check_device_map(const ModuleTree& tree, const DeviceMap& map);

/// As Python prints the dictionary in transformers' documentation, one entry a line, without a newline at the
/// end:
/// "{'shared': 0,\n 'encoder': 'cpu'}". Readable by `ast.literal_eval`.
std::string format_device_map(const DeviceMap& map);

}  // namespace hfload
