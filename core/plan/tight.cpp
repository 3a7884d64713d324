#include "core/plan/tight.h"

#include <algorithm>
#include <limits>

#include "core/plan/offloaded_buffers.h"
#include "core/plan/placement_units.h"
#include "core/plan/segmentation.h"

namespace hfload {
namespace {

constexpr double kUnlimited = std::numeric_limits<double>::infinity();

/// GPUs ascending, the CPU, and the disk, as in a DevicePlan. A CPU without a budget is left out.
std::vector<DeviceUsage> devices_of(const MaxMemory& max_memory) {
  std::vector<DeviceUsage> devices;
  for (const DeviceMemory& m : max_memory) {
    if (m.device != Device::disk()) devices.push_back({m.device, m.bytes, 0, 0, 0});
  }
  std::ranges::sort(devices, {}, &DeviceUsage::device);
  devices.push_back({Device::disk(), kUnlimited, 0, 0, 0});
  return devices;
}

/// Writes down a division of the pieces: the map, the usage, and the steps that would lead there.
class Report {
 public:
  Report(const ModuleTree& tree, const ModuleSizes& sizes, PlacementUnits& units,
         std::vector<DeviceUsage> devices, const PlanOptions& options)
      : tree_(tree),
        sizes_(sizes),
        units_(units),
        options_(options),
        reserves_(devices.size()),
        buffer_bytes_(devices.size()) {
    plan_.devices = std::move(devices);
  }

  DevicePlan run(const Segmentation& segmentation) {
    DeviceMap map = place_all(assign(segmentation));
    if (map.empty()) {
      const auto takes_nothing = [](const DeviceUsage& usage) { return usage.budget_bytes < 0; };
      DeviceUsage& first = *std::ranges::find_if_not(plan_.devices, takes_nothing);
      map.push_back({"", first.device});
      ++first.modules;
    }
    if (!options_.offload_buffers) {
      std::vector<double> taken;
      for (const DeviceUsage& usage : plan_.devices) taken.push_back(usage.used_bytes + usage.reserved_bytes);
      if (auto warning = offloaded_buffers_warning(plan_.devices, buffer_bytes_, taken))
        plan_.warnings.push_back(std::move(*warning));
    }
    plan_.device_map = clean_device_map(std::move(map));
    return std::move(plan_);
  }

 private:
  DeviceMap place_all(const std::vector<uint32_t>& piece_devices) {
    const std::vector<PlacedModule> placed = units_.placed_modules(piece_devices);
    if (!options_.with_steps) units_.release_pieces();
    DeviceMap map;
    map.reserve(std::max<size_t>(1, placed.size()));
    for (const PlacedModule& entry : placed) {
      const uint32_t device = piece_devices[entry.piece];
      while (current_ < device) leave();
      place(entry);
      map.push_back({units_.name(entry), plan_.devices[device].device});
    }
    return map;
  }

  /// Devices of the pieces, as indices into plan_.devices, and what each device holds back.
  std::vector<uint32_t> assign(const Segmentation& segmentation) {
    const size_t disk = plan_.devices.size() - 1;
    const size_t pieces = units_.pieces().size();
    std::vector<uint32_t> piece_devices(pieces, static_cast<uint32_t>(disk));
    ends_.assign(plan_.devices.size(), pieces);
    size_t begin = 0;
    bool main_found = false;
    for (size_t d = 0; d < disk; ++d) {
      const bool is_gpu = plan_.devices[d].device.is_gpu();
      const size_t end = is_gpu ? segmentation.ends[d] : segmentation.ends.back();
      ends_[d] = end;
      std::fill(piece_devices.begin() + static_cast<std::ptrdiff_t>(begin),
                piece_devices.begin() + static_cast<std::ptrdiff_t>(end), static_cast<uint32_t>(d));
      // A device that stays empty shows the room that it would have to keep, until one is found that keeps
      // it.
      if (!is_gpu) reserves_[d] = segmentation.cpu_reserve;
      if (is_gpu && !main_found) reserves_[d] = segmentation.gpu_reserve;
      main_found = main_found || (is_gpu && end > begin);
      if (end > begin) plan_.devices[d].reserved_bytes = reserves_[d].bytes;
      begin = end;
    }
    return piece_devices;
  }

  /// What is taken of the current device, by `bytes` of which some are caches.
  double taken(double bytes, double cache_bytes) const {
    const Device device = plan_.devices[current_].device;
    return device.is_gpu() || (device == Device::cpu() && options_.caches_on_cpu) ? bytes
                                                                                  : bytes - cache_bytes;
  }

  void place(const PlacedModule& entry) {
    const UnitBytes of_entry = units_.bytes(entry);
    const double bytes = taken(of_entry.bytes, of_entry.cache_bytes);
    if (options_.with_steps) record(PlacementStep::Action::placed, units_.name(entry), bytes);
    plan_.devices[current_].used_bytes += bytes;
    ++plan_.devices[current_].modules;
    if (entry.module != kNoId) {
      buffer_bytes_[current_] += sizes_.buffers(tree_, entry.module);
    } else if (tree_.tensors[units_.tensor(entry)].is_buffer) {
      buffer_bytes_[current_] += of_entry.bytes;
    }
  }

  void leave() {
    if (options_.with_steps) {
      const PlacementPiece& next = units_.pieces()[ends_[current_]];
      const UnitBytes of_piece = units_.bytes(next);
      record(PlacementStep::Action::next_device, units_.name(units_.units()[next.units[0]]),
             taken(of_piece.bytes, of_piece.cache_bytes));
    }
    ++current_;
  }

  void record(PlacementStep::Action action, std::string name, double bytes) {
    const DeviceUsage& usage = plan_.devices[current_];
    const SegmentationReserve& reserve = reserves_[current_];
    plan_.steps.push_back({action, std::move(name), usage.device, bytes, usage.used_bytes,
                           usage.budget_bytes - reserve.bytes - usage.used_bytes, reserve.bytes,
                           reserve.bytes > 0 ? layer_name(units_.pieces()[reserve.piece]) : std::string()});
  }

  std::string layer_name(const PlacementPiece& piece) const {
    const auto is_larger = [&](uint32_t a, uint32_t b) {
      return units_.layer_bytes(a) < units_.layer_bytes(b);
    };
    return units_.name(units_.units()[*std::ranges::max_element(piece.units, is_larger)]);
  }

  const ModuleTree& tree_;
  const ModuleSizes& sizes_;
  PlacementUnits& units_;
  const PlanOptions& options_;
  std::vector<size_t> ends_;                   ///< by device: one past its last piece
  std::vector<SegmentationReserve> reserves_;  ///< by device
  std::vector<double> buffer_bytes_;           ///< by device
  size_t current_ = 0;
  DevicePlan plan_;
};

Segmentation divide(const PlacementUnits& units, const std::vector<DeviceUsage>& devices,
                    bool has_other_cpu_bytes) {
  SegmentationProblem problem;
  problem.piece_bytes.reserve(units.pieces().size() + 1);  // for a sum more
  problem.layer_bytes.reserve(units.pieces().size());
  for (const PlacementPiece& piece : units.pieces()) {
    const UnitBytes of_piece = units.bytes(piece);
    problem.piece_bytes.push_back(of_piece.bytes);
    problem.layer_bytes.push_back(units.layer_bytes(piece));
    if (has_other_cpu_bytes) problem.cpu_piece_bytes.push_back(of_piece.bytes - of_piece.cache_bytes);
  }
  for (const DeviceUsage& usage : devices) {
    if (usage.device.is_gpu()) problem.gpu_budgets.push_back(usage.budget_bytes);
    if (usage.device == Device::cpu()) problem.cpu_budget = usage.budget_bytes;
  }
  return segment(std::move(problem));
}

}  // namespace

DevicePlan infer_tight_device_map(const ModuleTree& tree, const ModuleSizes& sizes,
                                  const MaxMemory& max_memory, const PlanOptions& options) {
  PlacementUnits units(tree, sizes, options.no_split_modules);
  std::vector<DeviceUsage> devices = devices_of(max_memory);
  const Segmentation segmentation =
      divide(units, devices, !options.caches_on_cpu && !sizes.cache_bytes.empty());
  return Report(tree, sizes, units, std::move(devices), options).run(segmentation);
}

}  // namespace hfload
