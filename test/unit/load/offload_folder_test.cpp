#include "core/load/offload_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "core/base/error.h"
#include "test/support/fixtures.h"
#include "test/unit/load/synthetic_model.h"

namespace hfload::test {
namespace {

/// A model on the disk, and an offload folder for it.
struct Offloaded {
  explicit Offloaded(std::vector<SyntheticTensor> tensors) : synthetic(tensors) {
    for (TensorId i = 0; i < synthetic.tree.tensors.size(); ++i) synthetic.tree.tensors[i].object = i;
  }

  OffloadPlan plan() const {
    return plan_offload(synthetic.plan, synthetic.tree, synthetic.checkpoint, folder());
  }
  std::string folder() const { return directory / "folder"; }
  std::set<std::string> files() const {
    std::set<std::string> names;
    if (!std::filesystem::exists(folder())) return names;
    for (const auto& entry : std::filesystem::directory_iterator(folder()))
      names.insert(entry.path().filename());
    return names;
  }

  /// Tensors on the disk whose file differs from what conversion by the definition of the formats gives.
  std::vector<std::string> wrong_tensors() const {
    std::vector<std::string> wrong;
    for (TensorPlacement placement : synthetic.plan.placements) {
      const ShellTensor& tensor = synthetic.tree.tensors[placement.tensor];
      const bool converts = placement.device == Device::disk() &&
                            synthetic.checkpoint.tensors[placement.checkpoint].dtype != tensor.dtype;
      const std::string path = folder() + "/" + tensor.name.str() + ".dat";
      if (std::filesystem::exists(path) != converts) wrong.push_back(tensor.name);
      if (!converts) continue;
      placement.device = Device::cpu();
      placement.dtype = tensor.dtype;
      std::vector<std::byte> expected = synthetic.expected(placement);
      if (expected.empty()) expected.resize(1);
      if (read_file(path) != std::string(reinterpret_cast<const char*>(expected.data()), expected.size()))
        wrong.push_back(tensor.name);
    }
    return wrong;
  }

  SyntheticModel synthetic;
  TempDirectory directory;
};

std::vector<SyntheticTensor> tensors_on_disk() {
  std::vector<SyntheticTensor> tensors = mixed_tensors();
  for (SyntheticTensor& tensor : tensors) {
    if (tensor.device == Device::gpu(0)) tensor.device = Device::disk();
  }
  // Several pieces, the last of them odd.
  tensors.push_back({.device = Device::disk(),
                     .elements = 2'000'003,
                     .file_dtype = Dtype::bf16,
                     .memory_dtype = Dtype::f32,
                     .shard = 1});
  tensors.push_back({.device = Device::disk(),
                     .elements = 2'000'003,
                     .file_dtype = Dtype::f32,
                     .memory_dtype = Dtype::f16,
                     .shard = 1});
  return tensors;
}

TEST_CASE("what changes its dtype on the disk is written converted, by any number of threads") {
  for (const unsigned threads : {1U, 5U}) {
    const Offloaded offloaded(tensors_on_disk());
    const OffloadPlan plan = offloaded.plan();
    CHECK(plan.written_tensors > 10);
    CHECK(plan.in_place_tensors > 5);
    uint64_t done = 0;
    write_offload_folder(
        plan, offloaded.synthetic.checkpoint,
        {.threads = threads, .progress = [&](const LoadProgress& p) { done = p.done_bytes; }});
    CHECK(done == plan.source_bytes);
    CHECK(offloaded.wrong_tensors().empty());
    CHECK(offloaded.files().size() == plan.written_tensors + 1);  // no temporaries are left
    CHECK(verify_offload_folder(plan, offloaded.synthetic.checkpoint, {.threads = threads}) ==
          plan.written_bytes);
  }
}

TEST_CASE("without weights on the disk nothing is made") {
  const Offloaded offloaded({{.device = Device::cpu(), .elements = 10}});
  const OffloadPlan plan = offloaded.plan();
  CHECK(plan.empty());
  write_offload_folder(plan, offloaded.synthetic.checkpoint, {});
  CHECK_FALSE(std::filesystem::exists(offloaded.folder()));
}

TEST_CASE("an interruption at any time leaves no temporaries and no index of files that are not there") {
  for (int looks_left = 0;; looks_left += 3) {
    const Offloaded offloaded(
        {{.device = Device::disk(),
          .elements = 700'000,
          .file_dtype = Dtype::f32,
          .memory_dtype = Dtype::bf16},
         {.device = Device::disk(), .elements = 5, .file_dtype = Dtype::f32, .memory_dtype = Dtype::bf16}});
    std::atomic<int> looks{0};
    try {
      write_offload_folder(offloaded.plan(), offloaded.synthetic.checkpoint,
                           {.threads = 2, .interrupted = [&] { return looks++ >= looks_left; }});
    } catch (const Interrupted&) {
      CHECK(offloaded.files().empty());
      continue;
    }
    CHECK(looks_left > 3);
    CHECK(offloaded.files().size() == 3);
    break;
  }
}

TEST_CASE("a failure while files are replaced leaves an index that is true") {
  const Offloaded offloaded(
      {{.device = Device::disk(), .elements = 5, .file_dtype = Dtype::f32, .memory_dtype = Dtype::f16},
       {.device = Device::disk(), .elements = 6, .file_dtype = Dtype::f32, .memory_dtype = Dtype::f16}});
  write_offload_folder(offloaded.plan(), offloaded.synthetic.checkpoint, {});
  const OffloadPlan again = offloaded.plan();
  const IndexChange again_change = plan_index_change(again);
  CHECK(again_change.replaces_files);
  CHECK(again_change.kept_entries == 0);
  // The last look is the one before files are renamed: then the second of them goes away.
  constexpr int kLooks = 2 + 2 + 1;  // before each piece, before each file is flushed
  int looks = 0;
  const auto remove_temporary = [&] {
    if (++looks == kLooks)
      REQUIRE(
          std::filesystem::remove(offloaded.folder() + "/.hfload-" + std::to_string(getpid()) + "-1.tmp"));
    return false;
  };
  CHECK_THROWS_AS(write_offload_folder(again, offloaded.synthetic.checkpoint,
                                       {.threads = 1, .interrupted = remove_temporary}),
                  Error);
  CHECK(looks == kLooks);
  CHECK(offloaded.files() == std::set<std::string>{"index.json", "tensor.1.dat"});
  CHECK(read_file(offloaded.folder() + "/index.json") == "{}");
}

/// A model of so many tensors of which only the last is on the disk, and is converted there.
std::vector<SyntheticTensor> last_on_disk(uint32_t count) {
  std::vector<SyntheticTensor> tensors(count, {.device = Device::cpu(), .elements = 1});
  tensors.back() = {
      .device = Device::disk(), .elements = 700, .file_dtype = Dtype::f32, .memory_dtype = Dtype::f16};
  return tensors;
}

/// Several models that are loaded into the folder of the first.
struct SharedFolder {
  explicit SharedFolder(uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) models.push_back(std::make_unique<Offloaded>(last_on_disk(i + 1)));
    for (const auto& model : models) {
      const SyntheticModel& synthetic = model->synthetic;
      plans.push_back(plan_offload(synthetic.plan, synthetic.tree, synthetic.checkpoint, folder()));
    }
  }
  std::string folder() const { return models.front()->folder(); }
  void write(size_t i, const LoadOptions& options = {.threads = 1}) const {
    write_offload_folder(plans[i], models[i]->synthetic.checkpoint, options);
  }
  /// Names in index.json, by a search for what JSON has of them.
  std::set<std::string> indexed() const {
    const std::string text = read_file(folder() + "/index.json");
    std::set<std::string> names;
    for (uint32_t i = 0; i < models.size(); ++i) {
      const std::string name = "tensor." + std::to_string(i);
      if (text.find('"' + name + "\": {") != std::string::npos) names.insert(name);
    }
    return names;
  }

  std::vector<std::unique_ptr<Offloaded>> models;
  std::vector<OffloadPlan> plans;
};

TEST_CASE("loads that were planned before either wrote keep each other's entries") {
  const SharedFolder shared(2);
  shared.write(1);
  shared.write(0);
  CHECK(shared.indexed() == std::set<std::string>{"tensor.0", "tensor.1"});
  CHECK(shared.models[0]->files() == std::set<std::string>{"index.json", "tensor.0.dat", "tensor.1.dat"});
}

TEST_CASE("several loads write to one folder at the same time") {
  // Threads of one process want the same temporary names, as containers do whose processes have one number.
  for (int round = 0; round < 20; ++round) {
    const SharedFolder shared(4);
    std::vector<std::thread> loads;
    std::atomic<int> failures{0};
    for (size_t i = 0; i < 4; ++i) {
      loads.emplace_back([&, i] {
        try {
          shared.write(i);
        } catch (const Error&) {
          ++failures;
        }
      });
    }
    for (std::thread& load : loads) load.join();
    CHECK(failures == 0);
    CHECK(shared.indexed() == std::set<std::string>{"tensor.0", "tensor.1", "tensor.2", "tensor.3"});
    CHECK(shared.models[0]->files() == std::set<std::string>{"index.json", "tensor.0.dat", "tensor.1.dat",
                                                             "tensor.2.dat", "tensor.3.dat"});
    for (size_t i = 0; i < 4; ++i)
      CHECK(verify_offload_folder(shared.plans[i], shared.models[i]->synthetic.checkpoint, {}) == 1400);
  }
}

TEST_CASE("while another load renames its files, a load waits, and can be interrupted") {
  const SharedFolder shared(2);
  shared.write(0);
  const FileDescriptor other(open(shared.folder().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  REQUIRE(flock(other.get(), LOCK_EX) == 0);
  for (const bool interrupts : {true, false}) {
    std::atomic<bool> stop{false}, done{false}, interrupted{false}, failed{false};
    std::thread load([&] {
      try {
        shared.write(1, {.threads = 1, .interrupted = [&] { return stop.load(); }});
      } catch (const Interrupted&) {
        interrupted = true;
      } catch (const Error&) {
        failed = true;
      }
      done = true;
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    CHECK_FALSE(done);
    CHECK(shared.indexed() == std::set<std::string>{"tensor.0"});
    CHECK_FALSE(std::filesystem::exists(shared.folder() + "/tensor.1.dat"));
    if (interrupts) {
      stop = true;
    } else {
      REQUIRE(flock(other.get(), LOCK_UN) == 0);
    }
    load.join();
    CHECK(interrupted == interrupts);
    CHECK_FALSE(failed);
    CHECK(shared.models[0]->files().size() == (interrupts ? 2 : 3));
  }
}

TEST_CASE("a file that appears where one is to be written is kept") {
  const SharedFolder shared(1);
  std::filesystem::create_directory(shared.folder());
  std::ofstream(shared.folder() + "/tensor.0.dat") << "someone else's";
  try {
    shared.write(0);
    FAIL_CHECK("no error");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::file_exists);
    CHECK(error.path() == shared.folder() + "/tensor.0.dat");
  }
  CHECK(read_file(shared.folder() + "/tensor.0.dat") == "someone else's");
  CHECK(shared.models[0]->files() == std::set<std::string>{"tensor.0.dat"});
}

TEST_CASE("temporaries of others stay as they are") {
  const SharedFolder shared(1);
  std::filesystem::create_directory(shared.folder());
  const std::string name = ".hfload-" + std::to_string(getpid()) + "-0.tmp";
  std::ofstream(shared.folder() + "/" + name) << "someone else's";
  shared.write(0);
  CHECK(shared.models[0]->files() == std::set<std::string>{name, "index.json", "tensor.0.dat"});
  CHECK(read_file(shared.folder() + "/" + name) == "someone else's");
}

TEST_CASE("a byte of an offloaded file that differs is found, with its place") {
  const Offloaded offloaded({{.device = Device::disk(),
                              .elements = 700'000,
                              .file_dtype = Dtype::f32,
                              .memory_dtype = Dtype::bf16}});
  const OffloadPlan plan = offloaded.plan();
  write_offload_folder(plan, offloaded.synthetic.checkpoint, {});
  const std::string path = offloaded.folder() + "/tensor.0.dat";
  for (const uint64_t at : {0, 1'000'001, 1'399'999}) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    const int byte = file.get();
    file.seekp(static_cast<std::streamoff>(at));
    file.put(static_cast<char>(byte ^ 1));
    file.flush();
    try {
      verify_offload_folder(plan, offloaded.synthetic.checkpoint, {.threads = 1});
      FAIL_CHECK("not found");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::verify_failed);
      CHECK(error.path() == path);
      CHECK(error.tensor() == "tensor.0");
      CHECK(error.offset() == at);
    }
    file.seekp(static_cast<std::streamoff>(at));
    file.put(static_cast<char>(byte));
  }
}

TEST_CASE("a shard that is truncated while it is converted is an error that names file and tensor") {
  const Offloaded offloaded({{.device = Device::disk(),
                              .elements = 4'000'000,
                              .file_dtype = Dtype::f32,
                              .memory_dtype = Dtype::f16}});
  std::atomic<int> looks{0};
  try {
    write_offload_folder(offloaded.plan(), offloaded.synthetic.checkpoint,
                         {.threads = 2, .interrupted = [&] {
                            if (looks++ == 3)
                              std::filesystem::resize_file(offloaded.synthetic.path(0), 9'000'000);
                            return false;
                          }});
    FAIL_CHECK("not noticed");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::changed_during_read);
    CHECK(error.path() == offloaded.synthetic.path(0));
    CHECK(error.tensor() == "tensor.0");
  }
  CHECK(offloaded.files().empty());
}

}  // namespace
}  // namespace hfload::test
