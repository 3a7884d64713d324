#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/model/module_tree.h"
#include "core/plan/device_map.h"
#include "core/plan/module_sizes.h"

namespace hfload {

/// The finest thing that is placed by itself: a no-split module, one that has a cache, one without children,
/// or a parameter or buffer directly in a module that is split.
struct PlacementUnit {
  ModuleId module = kNoId;  ///< kNoId: the tensor
  TensorId tensor = kNoId;
  double bytes = 0;        ///< caches included
  double cache_bytes = 0;  ///< of `bytes`, what an offloaded unit leaves on the device that runs it
  double layer_bytes = 0;  ///< what it takes to run it: its weights and the tied tensors that count elsewhere
};

/// Units that are placed together: one, or all that share a parameter, directly or through others.
struct PlacementPiece {
  std::vector<uint32_t> units;  ///< ascending; the piece stands where its first unit does
  double bytes = 0;             ///< caches included; more than 0
  double cache_bytes = 0;       ///< of `bytes`
  double layer_bytes = 0;       ///< largest of its units
};

/// An entry of a map before merging.
struct PlacedModule {
  ModuleId module = kNoId;  ///< kNoId: the tensor
  TensorId tensor = kNoId;
  uint32_t piece = 0;      ///< the last of those in it
  double bytes = 0;        ///< caches included
  double cache_bytes = 0;  ///< of `bytes`
};

/// The model cut into units and pieces. Each byte that `sizes` counts is in exactly one piece, buffers that
/// no checkpoint holds included; what a split module counts beyond its parts goes with the first of them.
class PlacementUnits {
 public:
  PlacementUnits(const ModuleTree& tree, const ModuleSizes& sizes,
                 const std::vector<std::string>& no_split_modules);

  const std::vector<PlacementUnit>& units() const { return units_; }  ///< in declaration order
  const std::vector<PlacementPiece>& pieces() const { return pieces_; }
  std::string_view name(const PlacementUnit& unit) const { return name(unit.module, unit.tensor); }
  std::string_view name(const PlacedModule& entry) const { return name(entry.module, entry.tensor); }

  /// The largest modules whose units are all on one device, in the order of their last pieces. A unit without
  /// bytes (dropout) goes where the unit before it went, within the smallest module around it that has bytes;
  /// where it is the first there, where the next one went. `piece_devices`: an index of a device for each
  /// piece, ascending. Empty for a model without bytes.
  std::vector<PlacedModule> placed_modules(const std::vector<uint32_t>& piece_devices) const;

 private:
  struct Range {
    uint32_t begin = 0, end = 0;  ///< into units_
  };

  std::string_view name(ModuleId module, TensorId tensor) const;
  void cut(const ModuleTree& tree, const ModuleSizes& sizes,
           const std::vector<std::string>& no_split_modules);
  void tie(const ModuleTree& tree, const ModuleSizes& sizes);
  std::vector<uint32_t> owners_of_tensors(const ModuleTree& tree) const;
  std::vector<uint32_t> pieces_of_units() const;

  const ModuleTree& tree_;
  std::vector<PlacementUnit> units_;
  std::vector<Range> ranges_;  ///< by ModuleId; of modules inside a unit: that unit
  std::vector<PlacementPiece> pieces_;
};

}  // namespace hfload
