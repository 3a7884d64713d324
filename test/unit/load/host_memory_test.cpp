#include "core/load/host_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <string>
#include <vector>

#include "test/support/temp_directory.h"

namespace hfload::test {
namespace {

constexpr uint64_t kHugePageBytes = 2 << 20;
constexpr uint64_t kPageBytes = 4096;

/// Whether a range has physical memory, by mincore(2).
bool is_resident(std::span<std::byte> memory) {
  std::vector<unsigned char> pages(memory.size() / kPageBytes);
  REQUIRE(mincore(memory.data(), memory.size(), pages.data()) == 0);
  return std::ranges::all_of(pages, [](unsigned char page) { return (page & 1) != 0; });
}

/// Old kernels cannot be asked to take memory beforehand, and those without huge pages have no choice.
bool can_populate() {
#ifdef MADV_POPULATE_WRITE
  const HostMemory memory(kPageBytes);
  return madvise(memory.bytes().data(), kPageBytes, MADV_NOHUGEPAGE) == 0 &&
         madvise(memory.bytes().data(), kPageBytes, MADV_POPULATE_WRITE) == 0;
#else
  return false;
#endif
}

std::span<std::byte> huge_page(const HostMemory& memory, uint64_t index) {
  return memory.bytes().subspan(index * kHugePageBytes, kHugePageBytes);
}

TEST_CASE(
    "of eight pieces that are about to be written one is taken beforehand, once, as long as that is quick") {
  if (!can_populate()) return;
  const HostMemory memory(17 * kHugePageBytes);
  FreshPages pages(memory.bytes());
  pages.prepare(kHugePageBytes - 1, 2);
  CHECK(is_resident(huge_page(memory, 0)));
  CHECK_FALSE(is_resident(huge_page(memory, 1)));
  CHECK_FALSE(is_resident(huge_page(memory, 8)));
  pages.prepare(2 * kHugePageBytes, 14 * kHugePageBytes + 1);
  for (uint64_t piece = 1; piece < 17; ++piece)
    CHECK(is_resident(huge_page(memory, piece)) == (piece % 8 == 0));
  // What was taken before is not taken again.
  REQUIRE(madvise(huge_page(memory, 0).data(), kHugePageBytes, MADV_DONTNEED) == 0);
  pages.prepare(0, 2 * kHugePageBytes);
  CHECK_FALSE(is_resident(huge_page(memory, 0)));
}

/// The flags of the mapping that holds an address, as /proc/self/smaps has them: "hg" is MADV_HUGEPAGE
/// (proc(5)).
std::string flags_of_mapping(const void* address) {
  const auto wanted = reinterpret_cast<uintptr_t>(address);
  std::ifstream file("/proc/self/smaps");
  bool is_it = false;
  for (std::string line; std::getline(file, line);) {
    const size_t dash = line.find('-');
    if (dash != std::string::npos && line.find_first_not_of("0123456789abcdef") == dash)
      is_it = std::stoull(line, nullptr, 16) <= wanted &&
              wanted < std::stoull(line.substr(dash + 1), nullptr, 16);
    if (is_it && line.starts_with("VmFlags:")) return line + " ";
  }
  return {};
}

TEST_CASE("memory is aligned to huge pages, and advised to be of them") {
  for (const uint64_t bytes : {uint64_t{1}, kHugePageBytes, 5 * kHugePageBytes + 1}) {
    const HostMemory memory(bytes);
    CHECK(memory.bytes().size() == bytes);
    CHECK(reinterpret_cast<uintptr_t>(memory.bytes().data()) % kHugePageBytes == 0);
    const std::string flags = flags_of_mapping(memory.bytes().data());
    // Kernels without transparent huge pages take no such advice.
    if (flags.empty() || !std::ifstream("/sys/kernel/mm/transparent_hugepage/enabled")) continue;
    INFO(flags);
    CHECK(flags.find(" hg ") != std::string::npos);
  }
}

/// Files of control groups, made up.
struct Groups {
  /// `membership`: what /proc/self/cgroup says.
  explicit Groups(const std::string& membership) { directory.write("membership", membership); }

  void version_2(const std::string& group, const std::string& max, const std::string& current,
                 const std::string& stat = "") const {
    directory.write("v2" + group + "/memory.max", max);
    directory.write("v2" + group + "/memory.current", current);
    directory.write("v2" + group + "/memory.stat", stat);
  }
  void version_1(const std::string& group, const std::string& limit, const std::string& usage,
                 const std::string& stat = "") const {
    directory.write("v1" + group + "/memory.limit_in_bytes", limit);
    directory.write("v1" + group + "/memory.usage_in_bytes", usage);
    directory.write("v1" + group + "/memory.stat", stat);
  }
  ControlGroupPaths paths() const { return {directory / "membership", directory / "v2", directory / "v1"}; }
  std::optional<uint64_t> room() const { return control_group_bytes(paths()); }

  TempDirectory directory;
};

TEST_CASE("the least room of a control group and of those above it counts") {
  const Groups groups("0::/pod/container\n");
  CHECK_FALSE(groups.room());
  groups.version_2("/pod/container", "8000\n", "5000\n", "anon 100\ninactive_file 700\nactive_file 300\n");
  CHECK(groups.room() == 4000u);
  groups.version_2("/pod", "10000\n", "8500\n");
  CHECK(groups.room() == 1500u);
  groups.version_2("", "9000\n", "8600\n", "inactive_file 100\n");
  CHECK(groups.room() == 500u);
  groups.version_2("/pod", "max\n", "8500\n");
  groups.version_2("", "max\n", "8600\n");
  CHECK(groups.room() == 4000u);
  groups.version_2("/pod/container", "max\n", "5000\n");
  CHECK_FALSE(groups.room());
}

TEST_CASE("a control group that is above its limit has no room, and no more than the limit") {
  const Groups groups("0::/a\n");
  groups.version_2("/a", "1000\n", "1500\n", "inactive_file 200\n");
  CHECK(groups.room() == 0u);
  groups.version_2("/a", "1000\n", "500\n", "inactive_file 900\nactive_file 18446744073709551615\n");
  CHECK(groups.room() <= 1000u);
  groups.version_2("/a", "1000\n", "500\n", "inactive_file 900\n");
  CHECK(groups.room() == 1000u);
}

TEST_CASE("a container sees its own group where the hierarchy is mounted") {
  for (const char* membership : {"0::/\n", "0::/../outside\n", "0::/docker/0123\n"}) {
    INFO(membership);
    const Groups groups(membership);
    groups.version_2("", "8000\n", "5000\n");
    CHECK(groups.room() == 3000u);
  }
  const Groups groups("4:memory:/docker/0123\n");
  groups.version_1("", "8000\n", "5000\n", "inactive_file 1\ntotal_inactive_file 70\ntotal_active_file 30\n");
  CHECK(groups.room() == 3100u);
}

TEST_CASE("version 1 has its own files, beside version 2 or not") {
  const Groups groups("5:cpuset:/x\n4:cpu,memory:/jobs/one\n1:name=systemd:/s\n0::/u\n");
  groups.version_1("/jobs/one", "9223372036854771712\n", "5000\n");
  CHECK(groups.room() == 9223372036854771712u - 5000u);
  groups.version_1("/jobs", "6000\n", "5000\n", "total_inactive_file 11\ntotal_active_file 22\n");
  CHECK(groups.room() == 1033u);
  groups.version_1("/x", "1\n", "1\n");
  groups.version_2("/jobs/one", "1\n", "1\n");
  CHECK(groups.room() == 1033u);
  groups.version_2("/u", "500\n", "100\n");
  CHECK(groups.room() == 400u);
}

TEST_CASE("files of control groups that are missing or garbage say nothing") {
  for (const char* text : {"", "\n", "x\n", "-1\n", "1.5\n", "12 13\n", "99999999999999999999999\n"}) {
    INFO(text);
    const Groups groups("0::/a\n");
    groups.version_2("/a", text, "5\n");
    CHECK_FALSE(groups.room());
    groups.version_2("/a", "100\n", text);
    CHECK_FALSE(groups.room());
    groups.version_2("/a", "100\n", "5\n", std::string("inactive_file ") + text);
    CHECK(groups.room() == 95u);
  }
  for (const char* membership : {"", "\n", "0\n", "0:\n", "0::\n", "0::a\n", "::::\n", ":memory:\n"}) {
    INFO(membership);
    const Groups groups(membership);
    groups.version_2("/a", "100\n", "5\n");
    CHECK_FALSE(groups.room());
  }
  CHECK_FALSE(control_group_bytes({"/nonexistent", "/nonexistent", "/nonexistent"}));
}

TEST_CASE("arenas may take what the host has, or the control group where that is less") {
  const Groups groups("0::/a\n");
  groups.version_2("/a", "3000\n", "1000\n");
  const std::optional<HostRoom> limited = host_room(groups.paths());
  REQUIRE(limited);
  CHECK(limited->bytes == 2000);
  CHECK(limited->is_of_control_group);
  groups.version_2("/a", "18446744073709551615\n", "1000\n");
  if (!available_host_bytes()) return;
  const std::optional<HostRoom> unlimited = host_room(groups.paths());
  REQUIRE(unlimited);
  CHECK(unlimited->bytes > 2000);
  CHECK_FALSE(unlimited->is_of_control_group);
}

/// MemAvailable in the kernel's own text.
uint64_t available_kibibytes() {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("MemAvailable:")) return std::stoull(line.substr(13));
  }
  return 0;
}

TEST_CASE("the available memory is what /proc/meminfo says, in bytes") {
  if (available_kibibytes() == 0) return;
  // It changes while it is looked at.
  bool is_near = false;
  for (int i = 0; i < 50 && !is_near; ++i) {
    const double before = static_cast<double>(available_kibibytes()) * 1024;
    const double found = static_cast<double>(available_host_bytes().value());
    const double after = static_cast<double>(available_kibibytes()) * 1024;
    is_near = std::min(before, after) * 0.999 <= found && found <= std::max(before, after) * 1.001;
  }
  CHECK(is_near);
}

}  // namespace
}  // namespace hfload::test
