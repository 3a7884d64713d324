#include <algorithm>
#include <optional>

#include "core/load/backend.h"
#include "core/load/host_memory.h"
#include "kernels/hash.h"

namespace hfload {
namespace {

class HostBackend final : public Backend {
 public:
  Device device() const override { return Device::cpu(); }

  bool in_host_memory() const override { return true; }
  void allocate(uint64_t bytes) override {
    arena_ = HostMemory(bytes);
    pages_.emplace(arena_.bytes());
  }
  void prepare(uint64_t arena_offset, uint64_t bytes) override { pages_->prepare(arena_offset, bytes); }
  uint64_t small_page_bytes() const override { return pages_ ? pages_->small_page_bytes() : 0; }
  std::span<std::byte> host_arena() override { return arena_.bytes(); }
  UploadQueue* upload_queue() override { return nullptr; }

  void read_back(uint64_t arena_offset, std::span<std::byte> into) override {
    const std::span<const std::byte> from = arena_.bytes().subspan(arena_offset, into.size());
    std::ranges::copy(from, into.begin());  // either may be empty, which memcpy does not allow
  }

  uint64_t hash_range(uint64_t arena_offset, uint64_t bytes, uint64_t first_word) override {
    return hash_part(arena_.bytes().subspan(arena_offset, bytes).data(), bytes, first_word);
  }

 private:
  HostMemory arena_;
  std::optional<FreshPages> pages_;
};

}  // namespace

std::unique_ptr<Backend> make_host_backend() { return std::make_unique<HostBackend>(); }

}  // namespace hfload
