#include "core/save/convert.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <thread>

#include "core/base/error.h"
#include "core/base/interrupted.h"
#include "core/base/workers.h"
#include "core/format/safetensors.h"
#include "core/save/write_schedule.h"
#include "test/support/checkpoint_builder.h"
#include "test/support/fixtures.h"
#include "test/support/temp_directory.h"

namespace hfload {
namespace {

/// Tensors in memory, which lie in no file: what a reader of another format looks like from here.
class TensorsInMemory final : public TensorSource {
 public:
  void add(std::string name, Dtype dtype, std::vector<uint64_t> shape, std::string data,
           std::optional<uint64_t> same_elements = std::nullopt) {
    CheckpointTensor& tensor = checkpoint.tensors.emplace_back();
    tensor.name = std::move(name);
    tensor.dtype = dtype;
    tensor.shape = std::move(shape);
    tensor.described = true;
    data_.push_back(std::move(data));
    same_elements_.push_back(same_elements);
  }

  SourceTensor tensor(uint32_t index) const override {
    const CheckpointTensor& described = checkpoint.tensors[index];
    return {described.name, described.dtype, described.shape, data_[index].size(), same_elements_[index]};
  }
  void read(uint32_t tensor, uint64_t offset, std::span<std::byte> into) const override {
    // Called on several threads, of which Catch's assertions must not be used.
    if (offset + into.size() > data_[tensor].size()) throw std::out_of_range("beyond the tensor");
    std::memcpy(into.data(), data_[tensor].data() + offset, into.size());
  }
  std::optional<FileRange> file_range(uint32_t) const override { return std::nullopt; }
  void require_unchanged() const override {
    if (changed) throw Error(ErrorCode::changed_during_read, "changed");
  }

  Checkpoint checkpoint;
  bool changed = false;

 private:
  std::vector<std::string> data_;
  std::vector<std::optional<uint64_t>> same_elements_;
};

std::string counting(size_t bytes) {
  std::string data(bytes, '\0');
  for (size_t i = 0; i < bytes; ++i) data[i] = static_cast<char>(i * 31 % 251);
  return data;
}

void fill(TensorsInMemory& source) {
  source.add("a", Dtype::f32, {3}, counting(12));
  source.add("b", Dtype::u8, {9'000'001}, counting(9'000'001));
  source.add("c", Dtype::f32, {3}, counting(12), 0);
  source.add("d", Dtype::f32, {3}, counting(12), 0);
  source.add("e", Dtype::f32, {0, 5}, "");
}

std::string tensor_in(const std::string& file, const std::string& name) {
  const auto bytes = std::as_bytes(std::span(file.data(), file.size()));
  const SafetensorsHeader header = parse_safetensors_header(bytes, file.size());
  for (const TensorInfo& tensor : header.tensors) {
    if (tensor.name == name) return file.substr(header.data_start + tensor.begin, tensor.bytes());
  }
  return "absent";
}

size_t entries_in(const std::string& directory) {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(directory), {}));
}

}  // namespace

TEST_CASE("a shard that is replaced by one of its size is not read, and not taken for unchanged", "[save]") {
  const test::TempDirectory root;
  const std::string bytes = test::CheckpointBuilder().filled("a", "F32", {4}, 16).bytes();
  const std::string path = root.write("a.safetensors", bytes);
  const Checkpoint checkpoint = open_checkpoint(locate_model(path, {}));
  const auto before = open_tensor_source(checkpoint), after = open_tensor_source(checkpoint);
  std::vector<std::byte> element(4);
  before->read(0, 0, element);
  CHECK_NOTHROW(before->require_unchanged());
  std::filesystem::rename(root.write("new", std::string(bytes.size(), 'x')), path);
  const auto code_of = [](auto&& call) {
    try {
      call();
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::internal;
  };
  CHECK(code_of([&] { before->require_unchanged(); }) == ErrorCode::changed_during_read);
  CHECK(code_of([&] { after->read(0, 0, element); }) == ErrorCode::changed_during_read);
}

TEST_CASE("a source that is no file is written by its reads", "[save]") {
  const test::TempDirectory root;
  TensorsInMemory source;
  fill(source);
  const ConvertPlan plan = plan_conversion(source.checkpoint, source, nullptr, root / "out.safetensors", {});
  CHECK(plan.dropped.empty());
  CHECK(execute(plan, source, {}).skipped == false);
  const std::string file = test::read_file(root / "out.safetensors");
  CHECK(tensor_in(file, "a") == counting(12));
  CHECK(tensor_in(file, "b") == counting(9'000'001));
  CHECK(tensor_in(file, "d") == counting(12));
  CHECK(tensor_in(file, "e").empty());
  CHECK(execute(plan, source, {}).skipped);
}

TEST_CASE("elements under two names share a storage in PyTorch files", "[save]") {
  const test::TempDirectory root;
  TensorsInMemory source;
  fill(source);
  ConvertOptions options;
  options.format = WeightFormat::pytorch;
  options.tied = TiedPolicy::duplicate;
  const ConvertPlan plan = plan_conversion(source.checkpoint, source, nullptr, root / "out.bin", options);
  CHECK(plan.tensors.size() == 5);
  CHECK(plan.tensor_bytes == 12 + 9'000'001 + 12);
  CHECK(plan.files.at(0).layout.slots.size() == 4);
}

TEST_CASE("an input that changes, and an interruption, leave nothing", "[save]") {
  const test::TempDirectory root;
  TensorsInMemory source;
  fill(source);
  const ConvertPlan plan = plan_conversion(source.checkpoint, source, nullptr, root / "out", {});
  source.changed = true;
  CHECK_THROWS_AS(execute(plan, source, {}), Error);
  source.changed = false;
  ConvertRun run;
  std::atomic<int> looks{0};
  run.interrupted = [&] { return ++looks > 2; };
  CHECK_THROWS_AS(execute(plan, source, run), Interrupted);
  CHECK(entries_in(root.path()) == 0);
}

TEST_CASE("progress counts up to all bytes", "[save]") {
  const test::TempDirectory root;
  TensorsInMemory source;
  fill(source);
  const ConvertPlan plan = plan_conversion(source.checkpoint, source, nullptr, root / "out", {});
  ConvertRun run;
  ConvertProgress last;
  run.progress = [&](const ConvertProgress& progress) {
    CHECK(progress.done_bytes >= last.done_bytes);
    last = progress;
  };
  execute(plan, source, run);
  CHECK(last.done_bytes == plan.tensor_bytes);
  CHECK(last.total_bytes == plan.tensor_bytes);
}

TEST_CASE("neighbours of one cast are one run, pieces cover every byte once", "[save]") {
  const test::TempDirectory root;
  test::CheckpointBuilder builder;
  builder.filled("a", "F32", {4}, 16).filled("b", "F32", {2'000'000}, 8'000'000).filled("c", "F32", {5}, 20);
  builder.filled("x", "I8", {3}, 3).filled("y", "I8", {1}, 1);
  root.write("model.safetensors", builder.bytes());
  const Checkpoint checkpoint = open_checkpoint(locate_model(root / "model.safetensors", {}));
  const std::unique_ptr<TensorSource> source = open_tensor_source(checkpoint);
  ConvertOptions options;
  options.dtype = Dtype::bf16;
  options.dtype_for = {{"c", std::nullopt}};
  const ConvertPlan plan = plan_conversion(checkpoint, *source, nullptr, root / "out.safetensors", options);
  const WriteSchedule schedule = make_write_schedule(plan, *source);
  // F32 comes before BF16 and I8 in the order of dtypes: c; a and b, which are neighbours; x and y.
  REQUIRE(schedule.runs.size() == 3);
  CHECK(schedule.runs[0].source_bytes == 20);
  CHECK(schedule.runs[1].source_bytes == 8'000'016);
  CHECK(schedule.runs[1].cast == CastKind::f32_to_bf16);
  CHECK(schedule.runs[2].source_bytes == 4);
  std::vector<uint64_t> next(schedule.runs.size());
  for (size_t i = 0; i < schedule.pieces; ++i) {
    const WritePiece piece = schedule.piece(i);
    CHECK(piece.first_byte == next[piece.run]);
    CHECK(piece.source_bytes <= kWritePieceBytes);
    CHECK(piece.first_byte % 4 == 0);
    next[piece.run] += piece.source_bytes;
  }
  for (size_t r = 0; r < next.size(); ++r) CHECK(next[r] == schedule.runs[r].source_bytes);
}

TEST_CASE("no more readers gather at once than there are slots", "[save]") {
  // Every piece lies in no file, as in a transposed tensor.
  class Slow final : public TensorSource {
   public:
    SourceTensor tensor(uint32_t) const override { return {"t", Dtype::u8, {}, 1 << 20}; }
    void read(uint32_t, uint64_t, std::span<std::byte>) const override {
      const int now = ++inside;
      int known = most;
      while (now > known && !most.compare_exchange_weak(known, now)) {
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(3));
      --inside;
    }
    std::optional<FileRange> file_range(uint32_t) const override { return std::nullopt; }
    void require_unchanged() const override {}
    mutable std::atomic<int> inside{0}, most{0};
  };
  const Slow source;
  PieceReader::Slots slots(PieceReader::kMostGathering);
  run_workers(9, [&](unsigned) {
    for (int i = 0; i < 3; ++i) {
      PieceReader reader(source, 0, 0, 100, slots);
      std::vector<std::byte> bytes(100);
      reader.read(bytes);
    }
  });
  CHECK(source.most.load() == PieceReader::kMostGathering);
}

}  // namespace hfload
