#include "core/load/numa.h"

#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <fstream>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>

#include "core/load/host_memory.h"
#include "test/support/temp_directory.h"
#include "test/unit/load/synthetic_model.h"

namespace hfload::test {
namespace {

using Cpus = std::vector<unsigned>;

TEST_CASE("CPU lists are read as the kernel writes them") {
  CHECK(parse_cpu_list("") == Cpus{});
  CHECK(parse_cpu_list("0") == Cpus{0});
  CHECK(parse_cpu_list("0-3") == Cpus{0, 1, 2, 3});
  CHECK(parse_cpu_list("0-1,8,10-11") == Cpus{0, 1, 8, 10, 11});
  CHECK(parse_cpu_list("8191") == Cpus{8191});
  for (const char* text : {"a", "-1", "1-", "3-1", "1,", ",1", "1,,2", "1-2-3", "8192", "0-99999999999",
                           "1 2", "0x1", "0-8191,0-8191"}) {
    INFO(text);
    CHECK_FALSE(parse_cpu_list(text));
  }
}

/// A machine of two nodes with a device on each and one on none.
struct FakeSysfs {
  FakeSysfs() {
    directory.write("devices/system/node/online", "0-1\n");
    directory.write("devices/system/node/node0/cpulist", "0-3,8-11\n");
    directory.write("devices/system/node/node1/cpulist", "4-5\n");
    directory.write("bus/pci/devices/0000:1b:00.0/numa_node", "0\n");
    directory.write("bus/pci/devices/0000:ca:00.0/numa_node", "1\n");
    directory.write("bus/pci/devices/0000:00:02.0/numa_node", "-1\n");
  }
  std::optional<NumaNode> node(const std::string& bus_id) const {
    return numa_node_of_pci_device(directory.path(), bus_id);
  }
  TempDirectory directory;
};

TEST_CASE("the node of a device and its CPUs are found") {
  const FakeSysfs sysfs;
  const std::optional<NumaNode> first = sysfs.node("0000:1B:00.0");
  REQUIRE(first);
  CHECK(first->node == 0);
  CHECK(first->cpus == Cpus{0, 1, 2, 3, 8, 9, 10, 11});
  const std::optional<NumaNode> second = sysfs.node("0000:CA:00.0");
  REQUIRE(second);
  CHECK(second->node == 1);
  CHECK(second->cpus == Cpus{4, 5});
}

TEST_CASE("where nodes do not matter or are not known there is none") {
  const FakeSysfs sysfs;
  CHECK_FALSE(sysfs.node("0000:00:02.0"));  // belongs to none
  CHECK_FALSE(sysfs.node("0000:33:00.0"));  // is not there
  CHECK_FALSE(sysfs.node(""));
  CHECK_FALSE(sysfs.node("../../bus/pci/devices/0000:1b:00.0"));
  CHECK_FALSE(numa_node_of_pci_device(sysfs.directory / "nowhere", "0000:1b:00.0"));
  for (const char* number : {"", "1x", "2", "99999999999", " 1"}) {
    INFO(number);
    sysfs.directory.write("bus/pci/devices/0000:ca:00.0/numa_node", number);
    CHECK_FALSE(sysfs.node("0000:ca:00.0"));
  }
  sysfs.directory.write("devices/system/node/node0/cpulist", "\n");  // memory without processors
  CHECK_FALSE(sysfs.node("0000:1b:00.0"));
  sysfs.directory.write("devices/system/node/node0/cpulist", "0-3\n");
  REQUIRE(sysfs.node("0000:1b:00.0"));
  sysfs.directory.write("devices/system/node/online", "0\n");  // one node
  CHECK_FALSE(sysfs.node("0000:1b:00.0"));
}

std::set<unsigned> allowed_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  // Readers call this too, and Catch asserts on one thread alone.
  if (sched_getaffinity(0, sizeof set, &set) != 0) throw std::runtime_error("sched_getaffinity failed");
  std::set<unsigned> cpus;
  for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.insert(cpu);
  }
  return cpus;
}

TEST_CASE("an affinity holds for the thread and those it starts, until it ends") {
  const std::set<unsigned> before = allowed_cpus();
  const unsigned last = *before.rbegin();
  {
    const ThreadAffinity affinity({last, 8191});
    CHECK(affinity.changed());
    CHECK(allowed_cpus() == std::set<unsigned>{last});
    std::set<unsigned> started;
    std::thread([&] { started = allowed_cpus(); }).join();
    CHECK(started == std::set<unsigned>{last});
  }
  CHECK(allowed_cpus() == before);
  {
    const ThreadAffinity refused({8190});
    CHECK_FALSE(refused.changed());
    CHECK(allowed_cpus() == before);
  }
  CHECK(allowed_cpus() == before);
}

/// A device on a node, in the host's memory; it notes where the readers that fill it may run.
class NodeBackend final : public Backend, private UploadQueue {
 public:
  NodeBackend(Device device, std::optional<NumaNode> node, std::set<unsigned>& seen)
      : device_(device), node_(std::move(node)), seen_(seen) {}
  Device device() const override { return device_; }
  bool in_host_memory() const override { return true; }
  void allocate(uint64_t /*bytes*/) override {}
  std::span<std::byte> host_arena() override { return {}; }
  UploadQueue* upload_queue() override { return this; }
  std::optional<NumaNode> numa_node() const override { return node_; }
  void read_back(uint64_t /*arena_offset*/, std::span<std::byte> /*into*/) override {}
  uint64_t hash_range(uint64_t /*arena_offset*/, uint64_t /*bytes*/, uint64_t /*first_word*/) override {
    return 0;
  }

 private:
  uint64_t slot_bytes() const override { return kBytes; }
  StagingSlot acquire() override {
    mutex_.lock();
    seen_.merge(allowed_cpus());
    return {memory_, 0};
  }
  void submit(StagingSlot slot, std::span<const Upload> /*uploads*/) override { release(slot); }
  void release(StagingSlot /*slot*/) override { mutex_.unlock(); }
  void synchronize() override {}

  static constexpr size_t kBytes = 1 << 16;
  Device device_;
  std::optional<NumaNode> node_;
  std::set<unsigned>& seen_;
  std::vector<std::byte> memory_ = std::vector<std::byte>(kBytes);
  std::mutex mutex_;
};

TEST_CASE("readers run on the node that all devices are next to, and on all CPUs where there is none") {
  const SyntheticModel synthetic(
      {{.device = Device::gpu(0), .elements = 500'000}, {.device = Device::gpu(1), .elements = 500'000}});
  const std::set<unsigned> all = allowed_cpus();
  const NumaNode here{1, {*all.rbegin()}};
  const NumaNode there{0, {*all.begin()}};
  const auto cpus_of_readers = [&](std::optional<NumaNode> first, std::optional<NumaNode> second) {
    std::set<unsigned> seen[2];
    const auto factory = [&](Device device) {
      return std::make_unique<NodeBackend>(device, device.ordinal == 0 ? first : second,
                                           seen[device.ordinal]);
    };
    const LoadedModel model = execute(synthetic.plan, synthetic.checkpoint, factory, {.threads = 3});
    CHECK(model.statistics.numa_node.has_value() == (first && second && first->node == second->node));
    CHECK(allowed_cpus() == all);
    CHECK_FALSE(seen[0].empty());
    seen[0].merge(seen[1]);
    return seen[0];
  };
  CHECK(cpus_of_readers(here, here) == std::set<unsigned>{here.cpus[0]});
  CHECK(cpus_of_readers(here, there) == all);
  CHECK(cpus_of_readers(here, std::nullopt) == all);
  CHECK(cpus_of_readers(std::nullopt, std::nullopt) == all);
}

TEST_CASE("a node on whose CPUs the readers may not run is not reported") {
  const SyntheticModel synthetic({{.device = Device::gpu(0), .elements = 500'000}});
  std::set<unsigned> seen;
  const auto factory = [&](Device device) {
    return std::make_unique<NodeBackend>(device, NumaNode{1, {8190}}, seen);
  };
  const LoadedModel model = execute(synthetic.plan, synthetic.checkpoint, factory, {.threads = 2});
  CHECK(seen == allowed_cpus());
  CHECK_FALSE(model.statistics.numa_node);
}

/// The policy and the first nodes of the memory at an address; nothing where the system does not tell.
struct MemoryPolicy {
  int mode = -1;
  unsigned long nodes = 0;
};
std::optional<MemoryPolicy> policy_of(const void* address) {
  MemoryPolicy policy;
  std::array<unsigned long, 1024 / (8 * sizeof(unsigned long))> nodes{};
  if (syscall(SYS_get_mempolicy, &policy.mode, nodes.data(), 1024UL, address, MPOL_F_ADDR) != 0)
    return std::nullopt;
  policy.nodes = nodes[0];
  return policy;
}

/// A node of this machine on which mbind(2) is allowed.
std::optional<unsigned> bindable_node() {
  std::ifstream file("/sys/devices/system/node/has_memory");
  std::string text;
  const auto nodes = std::getline(file, text) ? parse_cpu_list(text) : std::nullopt;
  if (!nodes || nodes->empty() || nodes->back() >= 8 * sizeof(unsigned long)) return std::nullopt;
  const unsigned node = nodes->back();
  const unsigned long mask = 1UL << node;
  void* const page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return std::nullopt;
  const bool allowed =
      syscall(SYS_mbind, page, 4096UL, MPOL_PREFERRED, &mask, 8 * sizeof mask, 0) == 0 && policy_of(page);
  munmap(page, 4096);
  return allowed ? std::optional(node) : std::nullopt;
}

TEST_CASE("memory prefers the node that it is asked to") {
  const std::optional<unsigned> node = bindable_node();
  if (!node) {
    WARN("skipped: this system allows no memory policy");
    return;
  }
  const HostMemory memory(3 << 20);
  CHECK(policy_of(memory.bytes().data())->mode == MPOL_DEFAULT);
  prefer_numa_node(memory.bytes(), *node);
  for (const void* address : {static_cast<const void*>(&memory.bytes().front()),
                              static_cast<const void*>(&memory.bytes().back())}) {
    const std::optional<MemoryPolicy> policy = policy_of(address);
    REQUIRE(policy);
    CHECK(policy->mode == MPOL_PREFERRED);
    CHECK(policy->nodes == 1UL << *node);
  }
}

TEST_CASE("memory that prefers a node can be used, also where there is no such node") {
  for (const unsigned node : {0U, 1000U, 5000U}) {
    const HostMemory memory(1 << 20);
    prefer_numa_node(memory.bytes(), node);
    for (std::byte& byte : memory.bytes()) byte = std::byte{7};
    CHECK(memory.bytes().back() == std::byte{7});
  }
}

}  // namespace
}  // namespace hfload::test
