#include "core/load/offload_folder.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <set>

#include "core/base/error.h"
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
      std::ifstream file(path, std::ios::binary);
      const std::string bytes((std::istreambuf_iterator<char>(file)), {});
      if (bytes != std::string(reinterpret_cast<const char*>(expected.data()), expected.size()))
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
    CHECK(plan.written.size() > 10);
    CHECK(plan.in_place_tensors > 5);
    uint64_t done = 0;
    write_offload_folder(
        plan, offloaded.synthetic.checkpoint,
        {.threads = threads, .progress = [&](const LoadProgress& p) { done = p.done_bytes; }});
    CHECK(done == plan.source_bytes);
    CHECK(offloaded.wrong_tensors().empty());
    CHECK(offloaded.files().size() == plan.written.size() + 1);  // no temporaries are left
    CHECK(verify_offload_folder(plan, offloaded.synthetic.checkpoint, {.threads = threads}) ==
          plan.written_bytes);
  }
}

TEST_CASE("without weights on the disk nothing is made") {
  const Offloaded offloaded({{.device = Device::cpu(), .elements = 10}});
  const OffloadPlan plan = offloaded.plan();
  CHECK(plan.entries.empty());
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
  CHECK(again.replaces_files);
  CHECK(again.interim_entries.empty());
  // No file can be renamed to a directory.
  std::filesystem::remove(offloaded.folder() + "/tensor.1.dat");
  std::filesystem::create_directories(offloaded.folder() + "/tensor.1.dat/in the way");
  CHECK_THROWS_AS(write_offload_folder(again, offloaded.synthetic.checkpoint, {}), Error);
  CHECK(offloaded.files() == std::set<std::string>{"index.json", "tensor.1.dat"});
  std::ifstream index(offloaded.folder() + "/index.json");
  CHECK(std::string((std::istreambuf_iterator<char>(index)), {}) == "{}");
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
