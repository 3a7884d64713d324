#include "core/format/pickle_file_scan.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "core/format/container_kind.h"
#include "core/format/container_scan.h"

namespace hfload {
namespace {

constexpr size_t kMostFaults = 100;
constexpr std::string_view kPickleNames[] = {".pkl", ".pickle", ".joblib", ".bin", ".pt", ".pth", ".ckpt"};

}  // namespace

uint64_t FileScan::count(GlobalVerdict verdict) const {
  uint64_t count = 0;
  for (const ScannedPickle& pickle : pickles)
    count += static_cast<uint64_t>(std::ranges::count(pickle.scan.globals, verdict, &ScannedGlobal::verdict));
  return count;
}

std::vector<Error> FileScan::all_faults() const {
  std::vector<Error> all = faults;
  for (const ScannedPickle& pickle : pickles) {
    if (pickle.scan.fault && all.size() < kMostFaults)
      all.push_back(fault_in(pickle.member, *pickle.scan.fault));
  }
  return all;
}

FileScan scan_pickle_file(const ByteSource& source, std::string_view name) {
  return ContainerScanner(source).run(name);
}

bool has_pickle_name(std::string_view name) {
  return std::ranges::any_of(kPickleNames, [&](std::string_view ending) { return name.ends_with(ending); });
}

bool starts_like_pickle(std::string_view start) {
  return start.size() >= 2 && start[0] == '\x80' && start[1] >= 1 && start[1] <= 5;
}

bool holds_pickles(const ByteSource& source) {
  if (find_container(source, 0, source.bytes()).kind != ContainerKind::none) return true;
  if (ends_like_zip(source, 0, source.bytes())) return true;
  return scan_pickle_file(source, "").is_of_interest();
}

}  // namespace hfload
