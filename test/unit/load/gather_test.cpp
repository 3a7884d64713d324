#include "core/load/gather.h"

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <map>
#include <numeric>
#include <thread>

#include "core/base/error.h"
#include "core/base/workers.h"
#include "core/load/loader.h"
#include "core/load/read_schedule.h"
#include "core/model/shell.h"
#include "kernels/hash.h"
#include "test/support/fixtures.h"
#include "test/support/sha256.h"
#include "test/unit/kernels/cast_oracle.h"
#include "test/unit/load/synthetic_model.h"

namespace hfload::test {
namespace {

/// A tensor that is a view of a shard of random bytes.
struct View {
  Device device;
  Dtype file_dtype = Dtype::f32, memory_dtype = Dtype::f32;
  std::vector<uint64_t> shape, strides;
  uint64_t first_element = 0;
  uint8_t swap_bytes = 1;
};

FloatFormat float_format_of(Dtype dtype) {
  return dtype == Dtype::f16 ? kF16 : dtype == Dtype::bf16 ? kBf16 : kF32;
}

/// Views of one storage, planned by the planner; and what is to become of them, element by element.
class ViewedModel {
 public:
  explicit ViewedModel(const std::vector<View>& views, bool map_cpu = false) {
    constexpr uint64_t kStorageBegin = 100, kStorageBytes = 8 << 20;
    content_.resize(kStorageBegin + kStorageBytes);
    // Finite in every float dtype: no exponent of all ones, in either byte order.
    for (char& byte : content_) byte = static_cast<char>(random_() & 0x3B);
    directory_.write("pytorch_model.bin", content_);
    checkpoint.location.directory = directory_.path();
    checkpoint.location.weights_path = directory_ / "pytorch_model.bin";
    checkpoint.shards.push_back({.file = "pytorch_model.bin",
                                 .format = ShardFormat::pytorch,
                                 .present = true,
                                 .identity = open_regular_file(directory_ / "pytorch_model.bin").identity,
                                 .metadata = {}});
    tree.add_module(kNoId, "", "");
    KeyMatches keys;
    DeviceMap map;
    for (const View& view : views) {
      const auto id = static_cast<TensorId>(tree.tensors.size());
      const std::string name = "t" + std::to_string(id);
      const auto width = static_cast<uint8_t>(dtype_info(view.file_dtype).bits / 8);
      CheckpointTensor tensor;
      tensor.name = name;
      tensor.described = true;
      tensor.dtype = view.file_dtype;
      tensor.shape = view.shape;
      tensor.begin = kStorageBegin + view.first_element * width;
      tensor.end = tensor.begin + width * std::accumulate(view.shape.begin(), view.shape.end(), uint64_t{1},
                                                          std::multiplies<>());
      tensor.view = StorageView{.storage_begin = kStorageBegin,
                                .storage_end = kStorageBegin + kStorageBytes,
                                .strides = Shape(view.strides),
                                .element_bytes = width,
                                .swap_bytes = view.swap_bytes};
      checkpoint.tensors.push_back(tensor);
      ShellTensor shell;
      shell.name = name;
      shell.module = 0;
      shell.dtype = view.memory_dtype;
      shell.shape = view.shape;
      shell.object = id;
      tree.tensors.push_back(shell);
      keys.matches.push_back({id, id});
      map.push_back({name, view.device});
    }
    plan = make_load_plan(tree, checkpoint, keys, map, {}, map_cpu);
  }

  const std::vector<std::byte>& expected(const TensorPlacement& placement) const {
    const auto [it, is_new] = expected_.try_emplace(placement.tensor);
    if (is_new) it->second = expected_bytes(placement);
    return it->second;
  }

  std::vector<std::byte> expected_bytes(const TensorPlacement& placement) const {
    const CheckpointTensor& tensor = checkpoint.tensors[placement.checkpoint];
    const StorageView& view = *tensor.view;
    std::vector<std::byte> bytes;
    const uint64_t count = tensor.bytes() / view.element_bytes;
    for (uint64_t i = 0; i < count; ++i) {
      uint64_t rest = i, at = 0;
      for (size_t d = tensor.shape.size(); d-- > 0; rest /= tensor.shape[d])
        at += rest % tensor.shape[d] * (*view.strides)[d];
      for (uint32_t b = 0; b < view.element_bytes; ++b) {
        const uint32_t in_file =
            b / view.swap_bytes * view.swap_bytes + view.swap_bytes - 1 - b % view.swap_bytes;
        bytes.push_back(static_cast<std::byte>(content_[tensor.begin + at * view.element_bytes + in_file]));
      }
    }
    if (tensor.dtype == placement.dtype) return bytes;
    std::vector<uint32_t> elements = unpack_elements(bytes, view.element_bytes);
    for (uint32_t& bits : elements) {
      bits = nearest_bits(value_of(bits, float_format_of(tensor.dtype)), float_format_of(placement.dtype));
    }
    return pack_elements(elements, dtype_info(placement.dtype).bits / 8);
  }

  std::vector<std::string> wrong_tensors(const LoadedModel& model) const {
    std::vector<std::string> wrong;
    for (const TensorPlacement& placement : model.plan.placements) {
      if (placement.in_file) continue;
      const std::vector<std::byte>& wanted = expected(placement);
      std::vector<std::byte> loaded(wanted.size());
      for (size_t arena = 0; arena < model.plan.arenas.size(); ++arena) {
        if (model.plan.arenas[arena].device == placement.device)
          model.backends[arena]->read_back(placement.arena_offset, loaded);
      }
      if (loaded != wanted) wrong.push_back(tree.tensors[placement.tensor].name);
    }
    return wrong;
  }

  std::string path() const { return directory_ / "pytorch_model.bin"; }

  Checkpoint checkpoint;
  ModuleTree tree;
  LoadPlan plan;

 private:
  TempDirectory directory_;
  std::string content_;
  std::mt19937 random_{3};
  mutable std::map<TensorId, std::vector<std::byte>> expected_;
};

/// Several pieces each, on every device, with all ways of converting and of lying in a file.
std::vector<View> many_views() {
  std::vector<View> views;
  for (const Device device : {Device::cpu(), Device::gpu(0), Device::disk()}) {
    for (const Dtype memory : {Dtype::f32, Dtype::bf16})
      views.push_back({device, Dtype::f32, memory, {600, 450}, {1, 600}, 3, 1});
    for (const Dtype memory : {Dtype::bf16, Dtype::f32, Dtype::f16})
      views.push_back({device, Dtype::bf16, memory, {701, 803}, {1, 701}, 1, 2});  // and big-endian
    views.push_back({device, Dtype::f16, Dtype::f32, {530'001}, {1}, 7, 2});
    views.push_back({device, Dtype::i64, Dtype::i64, {40, 30, 7}, {1, 40, 1200}, 0, 8});
    views.push_back({device, Dtype::u8, Dtype::u8, {220'000, 5}, {1, 0}, 11, 1});
    views.push_back({device, Dtype::i16, Dtype::i16, {2, 0, 3}, {0, 1, 5}, 0, 1});
    views.push_back({device, Dtype::f32, Dtype::f16, {}, {}, 9, 4});
  }
  return views;
}

TEST_CASE("what does not lie in its shard as in memory is gathered to every device") {
  const ViewedModel viewed(many_views());
  CHECK(viewed.plan.copies.empty());
  CHECK(viewed.plan.gathers.size() == 18);  // 20, less the two without elements
  for (const ReadPath path : {ReadPath::automatic, ReadPath::pread, ReadPath::mapping, ReadPath::direct}) {
    if (path == ReadPath::direct && !open_direct(open_regular_file(viewed.path()))) continue;
    for (const unsigned threads : {2U, 7U}) {
      if (threads == 7 && path != ReadPath::automatic) continue;
      uint64_t done = 0;
      const LoadedModel model =
          execute(viewed.plan, viewed.checkpoint, emulated_devices(viewed.plan),
                  {.threads = threads, .read_path = path, .progress = [&](const LoadProgress& p) {
                     done = p.done_bytes;
                     CHECK(p.total_bytes == viewed.plan.copied_file_bytes);
                   }});
      CHECK(viewed.wrong_tensors(model).empty());
      CHECK(done == viewed.plan.copied_file_bytes);
      uint64_t bytes = 0;
      for (const TensorPlacement& p : viewed.plan.placements) bytes += p.in_file ? 0 : p.bytes;
      CHECK(model.statistics.loaded_bytes == bytes);
      const ReadStatistics& reads = model.statistics.reads;
      CHECK((path == ReadPath::mapping ? reads.mapped_bytes : reads.buffered_bytes) ==
            model.statistics.read_bytes);
    }
  }
}

TEST_CASE("gathered tensors verify, where they are and in their file") {
  const ViewedModel viewed(many_views());
  const LoadedModel model = execute(viewed.plan, viewed.checkpoint, emulated_devices(viewed.plan), {});
  const Verification verification = verify(model, viewed.checkpoint, {.threads = 3});
  REQUIRE(verification.hashes.size() == viewed.plan.placements.size());
  for (size_t i = 0; i < verification.hashes.size(); ++i) {
    const std::vector<std::byte>& bytes = viewed.expected(viewed.plan.placements[i]);
    CHECK(verification.hashes[i].hash == hash_of_sum(hash_part(bytes.data(), bytes.size(), 0), bytes.size()));
  }
  // The last byte of the first tensor on the CPU.
  for (const TensorPlacement& placement : viewed.plan.placements) {
    if (placement.device != Device::cpu() || placement.bytes == 0) continue;
    const auto host = std::ranges::find(model.plan.arenas, Device::cpu(), &Arena::device);
    const auto arena = model.backends[static_cast<size_t>(host - model.plan.arenas.begin())]->host_arena();
    arena[placement.arena_offset + placement.bytes - 1] ^= std::byte{1};
    try {
      verify(model, viewed.checkpoint, {});
      FAIL("not found");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::verify_failed);
      CHECK(error.tensor() == viewed.tree.tensors[placement.tensor].name);
      CHECK_FALSE(error.offset());
    }
    break;
  }
}

TEST_CASE("a mapped load gathers what cannot be used as it lies") {
  const ViewedModel viewed({{Device::cpu(), Dtype::f32, Dtype::f32, {300, 200}, {1, 300}, 0, 1},
                            {Device::cpu(), Dtype::f32, Dtype::f32, {5000}, {1}, 0, 4}},
                           true);
  CHECK(viewed.plan.mapped_bytes == 0);
  CHECK(viewed.plan.gathers.size() == 2);
  CHECK(viewed.wrong_tensors(execute(viewed.plan, viewed.checkpoint, emulated_devices(viewed.plan), {}))
            .empty());
}

TEST_CASE("a file that is truncated while it is gathered from is an error that names the tensor") {
  const ViewedModel viewed({{Device::gpu(0), Dtype::f32, Dtype::f32, {1000, 1000}, {1, 1000}, 0, 1}});
  std::atomic<int> looks{0};
  try {
    execute(viewed.plan, viewed.checkpoint, emulated_devices(viewed.plan), {.threads = 2, .interrupted = [&] {
                                                                              if (looks++ == 1)
                                                                                std::filesystem::resize_file(
                                                                                    viewed.path(), 1'000'000);
                                                                              return false;
                                                                            }});
    FAIL("not noticed");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::changed_during_read);
    CHECK(error.path() == viewed.path());
    CHECK(error.tensor() == "t0");
  }
}

TEST_CASE("shards are gathered from in their order, among what is copied from them") {
  SyntheticModel synthetic({{.device = Device::cpu(),
                             .elements = 3000,
                             .file_dtype = Dtype::i64,
                             .memory_dtype = Dtype::i64,
                             .shard = 0},
                            {.device = Device::cpu(),
                             .elements = 3000,
                             .file_dtype = Dtype::i64,
                             .memory_dtype = Dtype::i64,
                             .shard = 0},
                            {.device = Device::cpu(),
                             .elements = 3000,
                             .file_dtype = Dtype::i64,
                             .memory_dtype = Dtype::i64,
                             .shard = 1}});
  // The second is gathered, though its strides are those of a contiguous tensor.
  synthetic.checkpoint.tensors[1].view = StorageView{.strides = Shape{1}, .element_bytes = 8};
  synthetic.plan.copies.erase(synthetic.plan.copies.begin() + 1);
  synthetic.plan.gathers = {1};
  const std::vector<ArenaAccess> access{
      {.host = true, .buffer_bytes = kHostBufferBytes, .gather_bytes = 10'001}};
  const ReadSchedule schedule = make_read_schedule(synthetic.plan, synthetic.checkpoint, access);
  CHECK(std::ranges::is_sorted(schedule.chunks, {}, &ReadChunk::shard));
  // 24,000 bytes in pieces of whole elements.
  CHECK(std::ranges::count_if(schedule.chunks, [](const ReadChunk& c) { return c.gathered.has_value(); }) ==
        3);
  CHECK(std::ranges::all_of(schedule.chunks, [](const ReadChunk& c) { return c.file_bytes % 8 == 0; }));
  CHECK(
      synthetic
          .wrong_tensors(execute(synthetic.plan, synthetic.checkpoint, emulated_devices(synthetic.plan), {}))
          .empty());
}

TEST_CASE("two workers gather at a time, the others wait") {
  GatherTurns turns;
  std::atomic<int> inside{0}, most{0};
  run_workers(6, [&](unsigned) {
    for (int i = 0; i < 5; ++i) {
      const GatherTurns::Turn turn(turns);
      const int now = ++inside;
      int known = most;
      while (now > known && !most.compare_exchange_weak(known, now)) {
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      --inside;
    }
  });
  CHECK(most.load() == 2);
}

/// The models of torch/expected.jsonl that can be loaded whole.
TEST_CASE("strided and big-endian tensors are loaded as torch loads them") {
  size_t gathered = 0;
  for (const ConfigValue& row : read_jsonl_fixture("torch/expected.jsonl")) {
    const std::string file = string_of(at(row, "file"));
    INFO(file);
    std::map<std::string, std::string> digests;
    for (const ConfigValue& tensor : array_of(at(row, "tensors")))
      digests[string_of(at(tensor, "name"))] = string_of(at(tensor, "sha256"));
    const Checkpoint checkpoint = open_checkpoint(locate_model(fixture_path("torch/" + file), {}));
    if (checkpoint.tensors.empty()) continue;
    Shell shell = build_shell(checkpoint, {});
    KeyMatches keys = match_keys(shell.tree, checkpoint);
    // complex32 and complex128, which have no dtype here.
    std::erase_if(keys.matches, [&](const KeyMatch& m) {
      return checkpoint.tensors[m.checkpoint].dtype == Dtype::unknown;
    });
    // Each in its own dtype; what is converted is tested above.
    for (const KeyMatch& match : keys.matches)
      shell.tree.tensors[match.shell].dtype = checkpoint.tensors[match.checkpoint].dtype;
    for (const Device device : {Device::cpu(), Device::gpu(0)}) {
      const LoadPlan plan = make_load_plan(shell.tree, checkpoint, keys, {{"", device}}, {});
      gathered += plan.gathers.size();
      const LoadedModel model = execute(plan, checkpoint, emulated_devices(plan), {.threads = 2});
      for (const TensorPlacement& placement : plan.placements) {
        INFO(checkpoint.tensors[placement.checkpoint].name.str());
        std::string bytes(placement.bytes, '\0');
        model.backends.at(0)->read_back(placement.arena_offset, std::as_writable_bytes(std::span(bytes)));
        CHECK(sha256(bytes) == digests.at(checkpoint.tensors[placement.checkpoint].name.str()));
      }
    }
  }
  CHECK(gathered > 80);
}

}  // namespace
}  // namespace hfload::test
