#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hfload {

/// The CPUs of a list as Linux writes it ("0-3,8", docs of sysfs cpulist); nothing for a text of another form
/// or a CPU above 8191.
std::optional<std::vector<unsigned>> parse_cpu_list(std::string_view text);

/// A node of a machine with several.
struct NumaNode {
  unsigned node = 0;
  std::vector<unsigned> cpus;  ///< never empty
};

/// The node next to a PCI device, such as "0000:1B:00.0", by the files below `sysfs` ("/sys"). Nothing where
/// it does not matter or is not known: one node only, a device that belongs to none (-1), no such files.
std::optional<NumaNode> numa_node_of_pci_device(const std::string& sysfs, std::string bus_id);

/// Asks that pages of `memory` which are not touched yet come from a node, where it has some free. A refusal,
/// as containers are known for, changes nothing.
void prefer_numa_node(std::span<std::byte> memory, unsigned node);

/// Keeps the calling thread, and those that it starts, on some CPUs; as before when destroyed. A refusal
/// changes nothing.
class ThreadAffinity {
 public:
  explicit ThreadAffinity(const std::vector<unsigned>& cpus);
  ThreadAffinity(const ThreadAffinity&) = delete;
  ThreadAffinity& operator=(const ThreadAffinity&) = delete;
  ~ThreadAffinity();

  /// False where it was refused.
  bool changed() const { return !before_.empty(); }

 private:
  std::vector<std::byte> before_;  ///< the kernel's mask; empty when nothing was changed
};

}  // namespace hfload
