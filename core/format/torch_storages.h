#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/format/pickle.h"
#include "core/format/torch_container.h"

namespace hfload {

/// What to throw for a value of a state dict that is not as torch writes it: Error(invalid_tensor_entry).
Error bad_torch_entry(const PickleTree& tree, std::string message, PickleId at);
/// What to throw for a tensor that is no plain one: Error(unsupported_format).
Error unsupported_torch_tensor(const PickleTree& tree, std::string message, PickleId at);
/// An integer from 0 to 2^63 - 1. Throws bad_torch_entry for another value, at its own place or, where it has
/// none, at `at`.
uint64_t unsigned_torch_integer(const PickleTree& tree, PickleId id, std::string_view what, PickleId at);

/// A part of a storage that a persistent id stands for.
struct TorchStorageView {
  uint32_t storage = 0;               ///< into TorchFile::storages
  const TorchDtype* dtype = nullptr;  ///< null for an untyped one
  uint64_t first_byte = 0, bytes = 0;
};

/// The storages that a state dict's pickle names.
class TorchStorages {
 public:
  explicit TorchStorages(const PickleTree& tree) : tree_(tree) {}

  /// Every storage that the pickle refers to, also from where no tensor is read: in the legacy layout their
  /// sizes lead from one to the next. Throws Error(invalid_tensor_entry, invalid_storage, shape_overflow,
  /// storage_overrun, unsupported_format).
  void claim(TorchLayout layout);
  const std::vector<StorageClaim>& claims() const { return claims_; }
  void forget_claims() { claims_ = {}; }

  /// Nothing for a value that is no storage.
  std::optional<TorchStorageView> find(PickleId value) const;

 private:
  std::vector<PickleId> parts_of(PickleId persistent) const;
  const TorchDtype* storage_dtype(PickleId type, PickleId at) const;
  TorchStorageView view_of(PickleId persistent, uint32_t storage) const;
  void narrow(TorchStorageView& view, PickleId metadata, uint64_t elements, uint64_t element_bytes) const;

  const PickleTree& tree_;
  std::vector<StorageClaim> claims_;
  std::vector<std::pair<PickleId, uint32_t>> storage_of_;  ///< persistent values, sorted, and their storages
};

}  // namespace hfload
