#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
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
  double bytes = 0;  ///< caches included
};

/// Units that are placed together: one, or all that share a parameter, directly or through others.
struct PlacementPiece {
  IdList units;  ///< ascending; the piece stands where its first unit does
};

/// An entry of a map before merging. There may be 10^5.
struct PlacedModule {
  ModuleId module = kNoId;  ///< kNoId: the tensor that is its unit
  uint32_t first_unit = 0;
  uint32_t piece = 0;  ///< the last of those in it
};

/// What units take together.
struct UnitBytes {
  double bytes = 0;        ///< caches included
  double cache_bytes = 0;  ///< of `bytes`, what offloaded units leave on the device that runs them
};

/// The model cut into units and pieces. Each byte that `sizes` counts is in exactly one piece, buffers that
/// no checkpoint holds included; what a split module counts beyond its parts goes with the first of them.
/// Tree and sizes must outlive it.
class PlacementUnits {
 public:
  PlacementUnits(const ModuleTree& tree, const ModuleSizes& sizes,
                 const std::vector<std::string>& no_split_modules);

  const std::vector<PlacementUnit>& units() const { return units_; }  ///< in declaration order
  const std::vector<PlacementPiece>& pieces() const { return pieces_; }
  std::string name(const PlacementUnit& unit) const { return name(unit.module, unit.tensor); }
  std::string name(const PlacedModule& entry) const { return name(entry.module, tensor(entry)); }
  /// kNoId where it is a module.
  TensorId tensor(const PlacedModule& entry) const {
    return entry.module == kNoId ? units_[entry.first_unit].tensor : kNoId;
  }

  /// More than 0 for a piece.
  UnitBytes bytes(const PlacementPiece& piece) const;
  UnitBytes bytes(const PlacedModule& entry) const;
  /// What it takes to run a unit: its weights and the tied tensors that count elsewhere.
  double layer_bytes(uint32_t unit) const;
  /// The largest of its units.
  double layer_bytes(const PlacementPiece& piece) const;

  /// The largest modules whose units are all on one device, in the order of their last pieces. A unit without
  /// bytes (dropout) goes where the unit before it went, within the smallest module around it that has bytes;
  /// where it is the first there, where the next one went. `piece_devices`: an index of a device for each
  /// piece, ascending. Empty for a model without bytes.
  std::vector<PlacedModule> placed_modules(const std::vector<uint32_t>& piece_devices) const;
  /// Gives the pieces back, which are needed no more once it is known where they go.
  void release_pieces() { std::vector<PlacementPiece>().swap(pieces_); }

 private:
  struct Range {
    uint32_t begin = 0, end = 0;  ///< into units_
  };

  std::string name(ModuleId module, TensorId tensor) const;
  double cache_bytes(const PlacementUnit& unit) const {
    return unit.module != kNoId ? sizes_.cache(unit.module) : 0;
  }
  void cut(const ModuleTree& tree, const ModuleSizes& sizes,
           const std::vector<std::string>& no_split_modules);
  void tie(const ModuleTree& tree, const ModuleSizes& sizes);
  std::vector<uint32_t> owners_of_tensors(const ModuleTree& tree) const;
  std::vector<uint32_t> pieces_of_units() const;
  std::vector<uint32_t> followed_units(const std::vector<uint32_t>& piece_of) const;

  const ModuleTree& tree_;
  const ModuleSizes& sizes_;
  std::vector<PlacementUnit> units_;
  std::unordered_map<uint32_t, double> tied_bytes_;  ///< by unit: of tied tensors that count elsewhere
  std::vector<Range> ranges_;                        ///< by ModuleId; of modules inside a unit: that unit
  std::vector<PlacementPiece> pieces_;
};

}  // namespace hfload
