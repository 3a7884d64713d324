#include "core/plan/placement_units.h"

#include <algorithm>
#include <numeric>
#include <unordered_set>

namespace hfload {
namespace {

constexpr uint32_t kNone = UINT32_MAX;

/// The first member of a set of units that are placed together.
uint32_t find_first(std::vector<uint32_t>& set_of, uint32_t unit) {
  while (set_of[unit] != unit) unit = set_of[unit] = set_of[set_of[unit]];
  return unit;
}

}  // namespace

PlacementUnits::PlacementUnits(const ModuleTree& tree, const ModuleSizes& sizes,
                               const std::vector<std::string>& no_split_modules)
    : tree_(tree), sizes_(sizes) {
  cut(tree, sizes, no_split_modules);
  tie(tree, sizes);
}

std::string PlacementUnits::name(ModuleId module, TensorId tensor) const {
  return module != kNoId ? tree_.module_name(module) : tree_.tensor_name(tensor);
}

void PlacementUnits::cut(const ModuleTree& tree, const ModuleSizes& sizes,
                         const std::vector<std::string>& no_split_modules) {
  const std::unordered_set<std::string_view> no_split(no_split_modules.begin(), no_split_modules.end());
  ranges_.resize(tree.modules.size());
  const auto size = [&] { return static_cast<uint32_t>(units_.size()); };
  const auto add_module = [&](ModuleId m) { units_.push_back({m, kNoId, sizes.module_bytes[m]}); };
  // A cache is where its module is executed, so that module stays whole.
  std::vector<bool> keeps_cache(tree.modules.size());
  if (!sizes.cache_bytes.empty()) {
    for (const LayerCache& cache : tree.layer_caches) keeps_cache[cache.module] = true;
  }
  const auto add_tensors = [&](const IdList& tensors) {
    for (const TensorId t : tensors) units_.push_back({kNoId, t, sizes.tensor_bytes[t]});
  };

  std::vector<std::pair<ModuleId, bool>> stack{{0, false}};
  while (!stack.empty()) {
    const auto [m, left] = stack.back();
    stack.pop_back();
    const Module& module = tree.modules[m];
    if (left) {
      // Of the model itself, accelerate queues the buffers last.
      if (m == 0) add_tensors(tree.buffers_of(m));
      ranges_[m].end = size();
      double parts = 0;
      tree.for_each_tensor_of(m, [&](TensorId t) { parts += sizes.tensor_bytes[t]; });
      for (const ModuleId child : module.children) parts += sizes.module_bytes[child];
      if (const uint32_t first = ranges_[m].begin; first < size() && sizes.module_bytes[m] > parts)
        units_[first].bytes += sizes.module_bytes[m] - parts;
      continue;
    }
    ranges_[m].begin = size();
    if (m != 0 && (module.children.empty() || keeps_cache[m] || no_split.contains(module.class_name))) {
      add_module(m);
      ranges_[m].end = size();
      continue;
    }
    add_tensors(module.parameters);
    if (m != 0) add_tensors(tree.buffers_of(m));
    stack.emplace_back(m, true);
    for (auto it = module.children.rbegin(); it != module.children.rend(); ++it)
      stack.emplace_back(*it, false);
  }
  for (const PlacementUnit& unit : units_) {
    if (unit.module == kNoId) continue;
    const IdList& children = tree.modules[unit.module].children;
    std::vector<ModuleId> inside(children.begin(), children.end());
    while (!inside.empty()) {
      const ModuleId m = inside.back();
      inside.pop_back();
      ranges_[m] = ranges_[unit.module];
      inside.insert(inside.end(), tree.modules[m].children.begin(), tree.modules[m].children.end());
    }
  }
}

std::vector<uint32_t> PlacementUnits::owners_of_tensors(const ModuleTree& tree) const {
  std::vector<uint32_t> owners(tree.tensors.size());
  for (TensorId t = 0; t < tree.tensors.size(); ++t) owners[t] = ranges_[tree.tensors[t].module].begin;
  for (uint32_t u = 0; u < units_.size(); ++u) {
    if (units_[u].module == kNoId) owners[units_[u].tensor] = u;
  }
  return owners;
}

void PlacementUnits::tie(const ModuleTree& tree, const ModuleSizes& sizes) {
  std::vector<uint32_t> set_of(units_.size());
  std::iota(set_of.begin(), set_of.end(), 0);
  const std::vector<uint32_t> owners = owners_of_tensors(tree);
  std::unordered_set<uint64_t> counted;
  for (TensorId t = 0; t < tree.tensors.size(); ++t) {
    const TensorId object = tree.tensors[t].object;
    const uint32_t unit = owners[t], other = owners[object];
    if (unit == other) continue;
    if (counted.insert(uint64_t{unit} << 32 | object).second) tied_bytes_[unit] += sizes.tensor_bytes[object];
    // Shared buffers tie nothing, as in accelerate.
    if (tree.tensors[t].is_buffer) continue;
    const uint32_t a = find_first(set_of, unit), b = find_first(set_of, other);
    set_of[std::max(a, b)] = std::min(a, b);
  }

  pieces_.resize(units_.size());  // by first unit
  for (uint32_t u = 0; u < units_.size(); ++u) {
    pieces_[find_first(set_of, u)].units.push_back(u);
  }
  std::erase_if(pieces_, [this](const PlacementPiece& piece) { return bytes(piece).bytes <= 0; });
}

double PlacementUnits::layer_bytes(uint32_t unit) const {
  const auto tied = tied_bytes_.find(unit);
  return units_[unit].bytes - cache_bytes(units_[unit]) + (tied == tied_bytes_.end() ? 0 : tied->second);
}

double PlacementUnits::layer_bytes(const PlacementPiece& piece) const {
  double largest = 0;
  for (const uint32_t unit : piece.units) largest = std::max(largest, layer_bytes(unit));
  return largest;
}

UnitBytes PlacementUnits::bytes(const PlacementPiece& piece) const {
  UnitBytes sum;
  for (const uint32_t unit : piece.units) {
    sum.bytes += units_[unit].bytes;
    sum.cache_bytes += cache_bytes(units_[unit]);
  }
  return sum;
}

/// kNone for a unit without bytes.
std::vector<uint32_t> PlacementUnits::pieces_of_units() const {
  std::vector<uint32_t> piece_of(units_.size(), kNone);
  for (uint32_t p = 0; p < pieces_.size(); ++p) {
    for (const uint32_t u : pieces_[p].units) piece_of[u] = p;
  }
  return piece_of;
}

/// By unit: itself, or, without bytes, the one whose device it shares.
std::vector<uint32_t> PlacementUnits::followed_units(const std::vector<uint32_t>& piece_of) const {
  // The nearest units that belong to a piece.
  std::vector<uint32_t> before(units_.size(), kNone), after(units_.size(), kNone);
  for (uint32_t u = 0, last = kNone; u < units_.size(); ++u)
    before[u] = last = piece_of[u] != kNone ? u : last;
  for (uint32_t u = static_cast<uint32_t>(units_.size()), next = kNone; u-- > 0;)
    after[u] = next = piece_of[u] != kNone ? u : next;

  std::vector<uint32_t> followed(units_.size());
  for (uint32_t u = 0; u < units_.size(); ++u) {
    followed[u] = u;
    if (piece_of[u] != kNone) continue;
    const PlacementUnit& unit = units_[u];
    ModuleId m = unit.module != kNoId ? tree_.names.parent(unit.module) : tree_.tensors[unit.tensor].module;
    const auto has_bytes = [&](const Range& range) {
      return (before[u] != kNone && before[u] >= range.begin) || after[u] < range.end;
    };
    while (!has_bytes(ranges_[m])) m = tree_.names.parent(m);
    followed[u] = before[u] != kNone && before[u] >= ranges_[m].begin ? before[u] : after[u];
  }
  return followed;
}

UnitBytes PlacementUnits::bytes(const PlacedModule& entry) const {
  const Range range =
      entry.module == kNoId ? Range{entry.first_unit, entry.first_unit + 1} : ranges_[entry.module];
  UnitBytes sum;
  for (uint32_t u = range.begin; u < range.end; ++u) {
    sum.bytes += units_[u].bytes;
    sum.cache_bytes += cache_bytes(units_[u]);
  }
  return sum;
}

std::vector<PlacedModule> PlacementUnits::placed_modules(const std::vector<uint32_t>& piece_devices) const {
  if (pieces_.empty()) return {};
  const std::vector<uint32_t> piece_of = pieces_of_units();
  const std::vector<uint32_t> followed = followed_units(piece_of);
  std::vector<PlacedModule> placed;
  placed.reserve(units_.size());
  const auto place = [&](ModuleId module, const Range& range) {
    PlacedModule& entry = placed.emplace_back(PlacedModule{module, range.begin, 0});
    for (uint32_t u = range.begin; u < range.end; ++u)
      entry.piece = std::max(entry.piece, piece_of[followed[u]]);
  };
  const auto device_of = [&](uint32_t u) { return piece_devices[piece_of[followed[u]]]; };
  // For each unit, the end of the run of units on its device: a module's units are on one device when its
  // range ends within the run of its first.
  std::vector<uint32_t> run_end(units_.size());
  for (uint32_t u = static_cast<uint32_t>(units_.size()); u-- > 0;) {
    const bool goes_on = u + 1 < units_.size() && device_of(u) == device_of(u + 1);
    run_end[u] = goes_on ? run_end[u + 1] : u + 1;
  }
  std::vector<ModuleId> stack{0};
  while (!stack.empty()) {
    const ModuleId m = stack.back();
    stack.pop_back();
    const Range& range = ranges_[m];
    if (range.begin == range.end) continue;
    if (range.end <= run_end[range.begin]) {
      place(m, range);
      continue;
    }
    const Module& module = tree_.modules[m];
    for (uint32_t u = range.begin; u < range.end; ++u) {
      const TensorId t = units_[u].tensor;
      if (t != kNoId && tree_.tensors[t].module == m) place(kNoId, {u, u + 1});
    }
    for (auto it = module.children.rbegin(); it != module.children.rend(); ++it) stack.push_back(*it);
  }
  if (!std::ranges::is_sorted(placed, {}, &PlacedModule::piece))
    std::ranges::stable_sort(placed, {}, &PlacedModule::piece);
  return placed;
}

}  // namespace hfload
