#include "core/load/numa.h"

#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "core/base/error.h"
#include "core/base/file.h"

namespace hfload {
namespace {

constexpr unsigned kMaxCpus = 8192;  // NR_CPUS of the largest kernels
constexpr unsigned kMaxNodes = 1024;
constexpr unsigned kMaskBits = 8 * sizeof(unsigned long);

/// The text of a small file of sysfs without its line feed; nothing where it cannot be read. Such a file says
/// that it has 4096 bytes, whatever it holds.
std::optional<std::string> read_sysfs(const std::string& path) {
  try {
    const RegularFile file = open_regular_file(path);
    std::array<char, 4096> text{};
    const ssize_t bytes = pread(file.fd.get(), text.data(), text.size(), 0);
    if (bytes <= 0) return std::nullopt;
    std::string_view line(text.data(), static_cast<size_t>(bytes));
    while (!line.empty() && (line.back() == '\n' || line.back() == ' ')) line.remove_suffix(1);
    return std::string(line);
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::optional<unsigned> take_number(std::string_view& text) {
  unsigned number = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (fault != std::errc() || number >= kMaxCpus) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return number;
}

bool is_bus_id(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789abcdef:.") == std::string_view::npos &&
         text.find("..") == std::string_view::npos && text.front() != '.';
}

}  // namespace

std::optional<std::vector<unsigned>> parse_cpu_list(std::string_view text) {
  std::vector<unsigned> cpus;
  while (!text.empty()) {
    const std::optional<unsigned> first = take_number(text);
    if (!first) return std::nullopt;
    std::optional<unsigned> last = first;
    if (text.starts_with('-')) {
      text.remove_prefix(1);
      last = take_number(text);
    }
    if (!last || *last < *first) return std::nullopt;
    for (unsigned cpu = *first; cpu <= *last; ++cpu) cpus.push_back(cpu);
    // No list that grows without end from a short text.
    if (cpus.size() > kMaxCpus || (!text.empty() && (text.front() != ',' || text.size() == 1)))
      return std::nullopt;
    if (!text.empty()) text.remove_prefix(1);
  }
  return cpus;
}

std::optional<NumaNode> numa_node_of_pci_device(const std::string& sysfs, std::string bus_id) {
  // CUDA writes hexadecimal digits in capitals, the kernel in small letters.
  std::transform(bus_id.begin(), bus_id.end(), bus_id.begin(),
                 [](char c) { return c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c; });
  if (!is_bus_id(bus_id)) return std::nullopt;
  const std::string nodes = sysfs + "/devices/system/node/";
  const auto online = parse_cpu_list(read_sysfs(nodes + "online").value_or(""));
  if (!online || online->size() < 2) return std::nullopt;
  const std::string text = read_sysfs(sysfs + "/bus/pci/devices/" + bus_id + "/numa_node").value_or("");
  std::string_view rest = text;
  const std::optional<unsigned> node = take_number(rest);
  if (!node || !rest.empty() || *node >= kMaxNodes) return std::nullopt;
  auto cpus = parse_cpu_list(read_sysfs(nodes + "node" + text + "/cpulist").value_or(""));
  if (!cpus || cpus->empty()) return std::nullopt;
  return NumaNode{*node, std::move(*cpus)};
}

void prefer_numa_node(std::span<std::byte> memory, unsigned node) {
  if (memory.empty() || node >= kMaxNodes) return;
  std::array<unsigned long, kMaxNodes / kMaskBits> mask{};
  mask[node / kMaskBits] |= 1UL << node % kMaskBits;
  // The kernel takes one bit less than it is told of. A failure leaves the default: memory near the thread
  // that touches it first.
  static_cast<void>(syscall(SYS_mbind, memory.data(), memory.size(), MPOL_PREFERRED, mask.data(),
                            static_cast<unsigned long>(kMaxNodes), 0));
}

ThreadAffinity::ThreadAffinity(const std::vector<unsigned>& cpus) {
  std::array<unsigned long, kMaxCpus / kMaskBits> mask{};
  for (const unsigned cpu : cpus) {
    if (cpu < kMaxCpus) mask[cpu / kMaskBits] |= 1UL << cpu % kMaskBits;
  }
  std::array<unsigned long, kMaxCpus / kMaskBits> before{};
  const long bytes = syscall(SYS_sched_getaffinity, 0, sizeof before, before.data());
  if (bytes <= 0) return;
  // Never onto a CPU that the process was kept from.
  for (size_t i = 0; i < mask.size(); ++i) mask[i] &= before[i];
  if (syscall(SYS_sched_setaffinity, 0, sizeof mask, mask.data()) != 0) return;
  before_.resize(static_cast<size_t>(bytes));
  std::memcpy(before_.data(), before.data(), before_.size());
}

ThreadAffinity::~ThreadAffinity() {
  if (!before_.empty()) syscall(SYS_sched_setaffinity, 0, before_.size(), before_.data());
}

}  // namespace hfload
