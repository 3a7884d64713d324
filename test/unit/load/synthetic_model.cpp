#include "test/unit/load/synthetic_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <utility>

#include "core/base/checked.h"
#include "test/unit/kernels/cast_oracle.h"

namespace hfload::test {
namespace {

constexpr uint64_t kDataStart = 80;

FloatFormat format(Dtype dtype) { return dtype == Dtype::f16 ? kF16 : dtype == Dtype::bf16 ? kBf16 : kF32; }

}  // namespace

SyntheticModel::SyntheticModel(const std::vector<SyntheticTensor>& tensors, uint64_t alignment) {
  uint32_t shards = 0;
  for (const SyntheticTensor& tensor : tensors) shards = std::max(shards, tensor.shard + 1);
  contents_.resize(shards);
  for (uint32_t shard = 0; shard < shards; ++shard)
    append_random(shard, kDataStart + shard);  // not all aligned
  for (const SyntheticTensor& tensor : tensors) add(tensor, alignment);
  checkpoint.location.directory = directory_.path();
  checkpoint.location.weights_path = directory_ / "model.safetensors.index.json";
  for (uint32_t shard = 0; shard < shards; ++shard) {
    const std::string file = "shard-" + std::to_string(shard);
    directory_.write(file, std::string_view(reinterpret_cast<const char*>(contents_[shard].data()),
                                            contents_[shard].size()));
    checkpoint.shards.push_back({.file = file,
                                 .present = true,
                                 .identity = open_regular_file(directory_ / file).identity,
                                 .data_start = kDataStart + shard,
                                 .metadata = {}});
  }
  std::sort(plan.arenas.begin(), plan.arenas.end(),
            [](const Arena& a, const Arena& b) { return a.device < b.device; });
  const auto by_position = [](const CopyOperation& a, const CopyOperation& b) {
    return std::pair(a.shard, a.file_offset) < std::pair(b.shard, b.file_offset);
  };
  std::sort(plan.copies.begin(), plan.copies.end(), by_position);
}

std::span<const std::byte> SyntheticModel::file_bytes(const TensorPlacement& placement) const {
  const CheckpointTensor& tensor = checkpoint.tensors[placement.checkpoint];
  return std::span(contents_[tensor.shard]).subspan(kDataStart + tensor.shard + tensor.begin, tensor.bytes());
}

std::vector<std::byte> SyntheticModel::expected(const TensorPlacement& placement) const {
  const std::span<const std::byte> bytes = file_bytes(placement);
  const Dtype from = checkpoint.tensors[placement.checkpoint].dtype;
  if (from == placement.dtype || placement.device.kind == Device::Kind::disk)
    return {bytes.begin(), bytes.end()};
  std::vector<uint32_t> elements = unpack_elements({bytes.begin(), bytes.end()}, dtype_info(from).bits / 8);
  for (uint32_t& bits : elements) bits = nearest_bits(value_of(bits, format(from)), format(placement.dtype));
  return pack_elements(elements, dtype_info(placement.dtype).bits / 8);
}

std::vector<std::string> SyntheticModel::wrong_tensors(const LoadedModel& model) const {
  std::vector<std::string> wrong;
  for (const TensorPlacement& placement : model.plan.placements) {
    const std::vector<std::byte> wanted = expected(placement);
    std::vector<std::byte> loaded(wanted.size());
    if (placement.device.kind == Device::Kind::disk) {
      const auto mapped = model.mappings.at(checkpoint.tensors[placement.checkpoint].shard).bytes();
      std::copy_n(mapped.begin() + static_cast<int64_t>(placement.arena_offset), loaded.size(),
                  loaded.begin());
    } else {
      for (size_t arena = 0; arena < model.plan.arenas.size(); ++arena) {
        if (model.plan.arenas[arena].device == placement.device) {
          model.backends[arena]->read_back(placement.arena_offset, loaded);
        }
      }
    }
    if (loaded != wanted) wrong.push_back(tree.tensors[placement.tensor].name);
  }
  return wrong;
}

void SyntheticModel::append_random(uint32_t shard, uint64_t bytes) {
  std::vector<std::byte>& content = contents_[shard];
  const size_t begin = content.size();
  content.resize(begin + bytes);
  size_t at = begin;
  for (; at + 8 <= content.size(); at += 8) {
    const uint64_t word = random_();
    std::memcpy(&content[at], &word, 8);
  }
  for (; at < content.size(); ++at) content[at] = static_cast<std::byte>(random_());
}

void SyntheticModel::remove_nans(uint32_t shard, uint64_t begin, Dtype dtype) {
  if (dtype != Dtype::f16 && dtype != Dtype::bf16 && dtype != Dtype::f32) return;
  const size_t width = dtype_info(dtype).bits / 8;
  std::vector<std::byte>& content = contents_[shard];
  for (size_t at = begin; at < content.size(); at += width) {
    uint32_t bits = 0;
    std::memcpy(&bits, &content[at], width);
    if (std::isnan(value_of(bits, format(dtype)))) std::memset(&content[at], 0, width);
  }
}

void SyntheticModel::add(const SyntheticTensor& wanted, uint64_t alignment) {
  append_random(wanted.shard, wanted.gap_before);
  const uint64_t file_offset = contents_[wanted.shard].size();
  const uint64_t file_bytes = wanted.elements * dtype_info(wanted.file_dtype).bits / 8;
  append_random(wanted.shard, file_bytes);
  remove_nans(wanted.shard, file_offset, wanted.file_dtype);

  const std::string name = "tensor." + std::to_string(tree.tensors.size());
  const uint64_t begin = file_offset - kDataStart - wanted.shard;
  TensorPlacement placement{.tensor = static_cast<TensorId>(tree.tensors.size()),
                            .checkpoint = static_cast<uint32_t>(checkpoint.tensors.size()),
                            .arena_offset = file_offset,
                            .bytes = file_bytes,
                            .device = wanted.device,
                            .dtype = wanted.memory_dtype,
                            .in_file = wanted.device.kind == Device::Kind::disk};
  tree.tensors.push_back({.name = name, .dtype = wanted.memory_dtype, .shape = {wanted.elements}});
  checkpoint.tensors.push_back({.name = "checkpoint." + name,
                                .shard = wanted.shard,
                                .described = true,
                                .dtype = wanted.file_dtype,
                                .shape = {wanted.elements},
                                .begin = begin,
                                .end = begin + file_bytes});
  if (wanted.device.kind == Device::Kind::disk) {
    plan.disk_bytes += file_bytes;
  } else {
    Arena& arena = arena_of(wanted.device);
    placement.bytes = wanted.elements * dtype_info(wanted.memory_dtype).bits / 8;
    placement.arena_offset = align_up(arena.bytes, alignment);
    arena.bytes = placement.arena_offset + placement.bytes;
    if (file_bytes != 0) {
      plan.copies.push_back(
          {wanted.shard, static_cast<uint32_t>(plan.placements.size()), file_offset, file_bytes});
    }
    plan.copied_file_bytes += file_bytes;
  }
  plan.placements.push_back(placement);
}

Arena& SyntheticModel::arena_of(Device device) {
  for (Arena& arena : plan.arenas) {
    if (arena.device == device) return arena;
  }
  return plan.arenas.emplace_back(Arena{device, 0});
}

BackendFactory emulated_devices(const LoadPlan& plan) {
  return [arenas = plan.arenas](Device device) {
    if (!device.is_gpu()) return make_host_backend();
    const auto arena =
        std::find_if(arenas.begin(), arenas.end(), [&](const Arena& a) { return a.device == device; });
    return make_emulated_gpu_backend(device.ordinal, arena->bytes);
  };
}

std::vector<SyntheticTensor> mixed_tensors() {
  constexpr Device kDevices[] = {Device::cpu(), Device::gpu(0), Device::gpu(1), Device::disk()};
  constexpr std::pair<Dtype, Dtype> kDtypes[] = {{Dtype::u8, Dtype::u8},     {Dtype::f32, Dtype::f32},
                                                 {Dtype::f32, Dtype::f16},   {Dtype::f32, Dtype::bf16},
                                                 {Dtype::f16, Dtype::f32},   {Dtype::f16, Dtype::bf16},
                                                 {Dtype::bf16, Dtype::f32},  {Dtype::bf16, Dtype::f16},
                                                 {Dtype::bf16, Dtype::bf16}, {Dtype::i64, Dtype::i64}};
  constexpr uint64_t kElements[] = {1, 3, 0, 128, 1000, 4096, 100'001, 300'000};
  std::mt19937 random(11);
  std::vector<SyntheticTensor> tensors;
  for (uint32_t i = 0; i < 120; ++i) {
    // Runs of several tensors on one device, as a planner makes them.
    const auto [file, memory] = kDtypes[random() % std::size(kDtypes)];
    tensors.push_back({.device = kDevices[i / 5 % 4],
                       .elements = kElements[random() % std::size(kElements)],
                       .file_dtype = file,
                       .memory_dtype = memory,
                       .shard = i / 70,
                       .gap_before = random() % 3 == 0 ? random() % 200'000 : 0});
  }
  // More than one chunk.
  tensors.push_back({.device = Device::cpu(), .elements = 9'000'001, .shard = 1});
  tensors.push_back({.device = Device::gpu(0),
                     .elements = 5'000'003,
                     .file_dtype = Dtype::bf16,
                     .memory_dtype = Dtype::bf16,
                     .shard = 1});
  return tensors;
}

}  // namespace hfload::test
