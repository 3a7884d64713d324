#include "core/load/host_memory.h"

#include <fmt/core.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <system_error>

#include "core/base/checked.h"
#include "core/base/error.h"
#include "core/base/units.h"

namespace hfload {
namespace {

constexpr uint64_t kHugePageBytes = 2 << 20;
constexpr uint64_t kPageBytes = 4096;
// While huge pages are cheap, this many pieces have one that is timed. The others are taken by what writes to
// them, which has them in its cache then.
constexpr uint64_t kSampled = 8;
// A millisecond for 2 MiB: 512 small pages cost half of that and more, and a trial of them as much again.
constexpr double kGoodSecondsPerByte = 1e-3 / kHugePageBytes;

/// The text of a small file of /proc or /sys; nothing where it cannot be read.
std::optional<std::string> text_of(const std::string& path) {
  std::ifstream file(path);
  if (!file) return std::nullopt;
  std::string text((std::istreambuf_iterator<char>(file)), {});
  return file.bad() ? std::nullopt : std::optional(std::move(text));
}

/// The number that a text begins with and a line ends; nothing for "max" or anything else.
std::optional<uint64_t> number_in(std::string_view text) {
  uint64_t number = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view rest = text.substr(static_cast<size_t>(end - text.data()));
  if (fault != std::errc() || !(rest.empty() || rest.front() == '\n')) return std::nullopt;
  return number;
}

/// The value of a key in lines of "key value"; 0 where there is none.
uint64_t value_of(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    if (line.starts_with(key) && line.substr(key.size()).starts_with(' '))
      return number_in(line.substr(key.size() + 1)).value_or(0);
    text.remove_prefix(std::min(text.size(), line.size() + 1));
  }
  return 0;
}

/// What a version of control groups calls its files and values.
struct ControlGroupNames {
  const char *limit, *usage, *inactive_file, *active_file;
};
constexpr ControlGroupNames kVersion1{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file",
                                      "total_active_file"};
constexpr ControlGroupNames kVersion2{"memory.max", "memory.current", "inactive_file", "active_file"};

/// What is left below the limit of one group; nothing where it has none.
std::optional<uint64_t> room_in(const std::string& group, const ControlGroupNames& names) {
  const auto number_of = [&](const char* file) {
    return number_in(text_of(group + "/" + file).value_or(""));
  };
  const std::optional<uint64_t> limit = number_of(names.limit), usage = number_of(names.usage);
  if (!limit || !usage) return std::nullopt;
  // Pages that were read twice are active, and are dropped as well before the group runs out of memory.
  const std::string statistics = text_of(group + "/memory.stat").value_or("");
  const uint64_t inactive = value_of(statistics, names.inactive_file);
  const uint64_t active = value_of(statistics, names.active_file);
  const uint64_t cached = checked_add(inactive, active).value_or(0);
  const uint64_t kept = *usage - std::min(*usage, cached);
  return *limit - std::min(*limit, kept);
}

/// The least room in the group `path` of a hierarchy and in those above it, up to where it is mounted. A
/// container may have its own group mounted there, and then has no such path.
std::optional<uint64_t> room_in_hierarchy(const std::string& mount, std::string_view path,
                                          const ControlGroupNames& names) {
  std::optional<uint64_t> least;
  // Of a group outside the namespace, "/..", only what is mounted can be seen.
  if (path == "/.." || path.starts_with("/../")) path = {};
  for (;;) {
    while (path.ends_with('/')) path.remove_suffix(1);
    const std::optional<uint64_t> room = room_in(mount + std::string(path), names);
    if (room && (!least || *room < *least)) least = room;
    if (path.empty()) return least;
    path = path.substr(0, path.rfind('/'));
  }
}

Error refused(uint64_t bytes, int error) {
  return Error(ErrorCode::out_of_memory,
               fmt::format("the operating system refused {} ({} bytes) of memory: {}",
                           format_byte_size(static_cast<double>(bytes)), bytes,
                           std::generic_category().message(error)))
      .with_hint("Give the CPU a smaller budget with --max-memory, or free memory.");
}

}  // namespace

HostMemory::HostMemory(uint64_t bytes) {
  if (bytes == 0) return;
  // Room to move the start up to a huge page; the rest is given back.
  const std::optional<uint64_t> mapped = checked_add(bytes, kHugePageBytes);
  if (!mapped) throw refused(bytes, ENOMEM);
  void* address =
      mmap(nullptr, *mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) throw refused(bytes, errno);
  auto* const first = static_cast<std::byte*>(address);
  const uint64_t skipped =
      align_up(reinterpret_cast<uintptr_t>(first), kHugePageBytes) - reinterpret_cast<uintptr_t>(first);
  if (skipped != 0) munmap(first, skipped);
  mapping_.data = {first + skipped, bytes};
  const uint64_t end = align_up(skipped + bytes, kPageBytes);
  if (end < *mapped) munmap(first + end, *mapped - end);
  // Only advice: without it everything works, slower.
  madvise(mapping_.data.data(), bytes, MADV_HUGEPAGE);
}

HostMemory::Mapping::~Mapping() {
  if (!data.empty()) munmap(data.data(), data.size());
}

FreshPages::FreshPages(std::span<std::byte> memory)
    : memory_(memory), taken_(memory.size() / kHugePageBytes), chooser_(kGoodSecondsPerByte) {}

void FreshPages::prepare(uint64_t offset, uint64_t bytes) {
  if (bytes == 0) return;
  // What is behind the last whole piece cannot be a huge page, and is left to itself.
  const uint64_t end = std::min<uint64_t>((offset + bytes - 1) / kHugePageBytes + 1, taken_.size());
  for (uint64_t piece = offset / kHugePageBytes; piece < end; ++piece) {
    if (taken_[piece].load(std::memory_order_relaxed) || taken_[piece].exchange(true)) continue;
    if (piece % kSampled != 0 && chooser_.is_good_enough()) continue;
    take(memory_.subspan(piece * kHugePageBytes, kHugePageBytes));
  }
}

void FreshPages::take(std::span<std::byte> piece) {
  using Clock = std::chrono::steady_clock;
  const WayChooser::Way way = chooser_.next();
  const Clock::time_point begin = Clock::now();
  const bool is_small = way == WayChooser::Way::second;
  if (is_small) {
    // Another thread may write to a part of the piece at the same time: that harms neither.
    if (madvise(piece.data(), piece.size(), MADV_NOHUGEPAGE) != 0) return;
    small_page_bytes_.fetch_add(piece.size(), std::memory_order_relaxed);
  }
#ifdef MADV_POPULATE_WRITE
  // One call is cheaper than 512 faults. Where the kernel is too old for it, the faults come as always.
  if (madvise(piece.data(), piece.size(), MADV_POPULATE_WRITE) != 0) return;
#endif
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  chooser_.report(way, piece.size(), is_small ? seconds : least_of_last_three(seconds));
}

double FreshPages::least_of_last_three(double seconds) {
  const std::lock_guard lock(mutex_);
  std::rotate(huge_seconds_.begin(), huge_seconds_.begin() + 1, huge_seconds_.end());
  huge_seconds_.back() = seconds;
  return *std::min_element(huge_seconds_.begin(), huge_seconds_.end());
}

std::optional<uint64_t> available_host_bytes() {
  std::ifstream file("/proc/meminfo");
  std::string key;
  while (file >> key) {
    uint64_t kibibytes = 0;
    if (key == "MemAvailable:" && file >> kibibytes) return kibibytes * 1024;
    std::string rest;
    std::getline(file, rest);
  }
  return std::nullopt;
}

std::optional<uint64_t> control_group_bytes(const ControlGroupPaths& paths) {
  // Lines of "number:controllers:path"; no controllers, and 0, for version 2.
  const std::string membership = text_of(paths.membership).value_or("");
  std::optional<uint64_t> least;
  for (std::string_view rest = membership; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    const size_t first = line.find(':');
    const size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos || !line.substr(second + 1).starts_with('/')) continue;
    const std::string controllers = fmt::format(",{},", line.substr(first + 1, second - first - 1));
    const std::string_view path = line.substr(second + 1);
    std::optional<uint64_t> room;
    if (controllers == ",,") room = room_in_hierarchy(paths.version_2, path, kVersion2);
    if (controllers.find(",memory,") != std::string::npos)
      room = room_in_hierarchy(paths.version_1, path, kVersion1);
    if (room && (!least || *room < *least)) least = room;
  }
  return least;
}

std::optional<HostRoom> host_room(const ControlGroupPaths& paths) {
  const std::optional<uint64_t> host = available_host_bytes();
  const std::optional<uint64_t> group = control_group_bytes(paths);
  if (group && (!host || *group < *host)) return HostRoom{*group, true};
  if (!host) return std::nullopt;
  return HostRoom{*host, false};
}

}  // namespace hfload
