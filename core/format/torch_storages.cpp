#include "core/format/torch_storages.h"

#include <fmt/core.h>

#include <algorithm>

#include "core/base/checked.h"
#include "core/base/name_hash.h"

namespace hfload {

Error bad_torch_entry(const PickleTree& tree, std::string message, PickleId at) {
  return Error(ErrorCode::invalid_tensor_entry, std::move(message)).with_offset(tree.offset(at));
}

Error unsupported_torch_tensor(const PickleTree& tree, std::string message, PickleId at) {
  return Error(ErrorCode::unsupported_format, std::move(message))
      .with_offset(tree.offset(at))
      .with_hint(
          "Only plain tensors are read: make it dense with torch and save it again, or leave it out "
          "with hfload convert --exclude.");
}

uint64_t unsigned_torch_integer(const PickleTree& tree, PickleId id, std::string_view what, PickleId at) {
  if (tree.kind(id) != PickleKind::integer || tree.integer(id) < 0)
    throw bad_torch_entry(tree, fmt::format("{} is not an integer from 0 to 2^63 - 1", what),
                          tree.has_offset(id) ? id : at);
  return static_cast<uint64_t>(tree.integer(id));
}

void TorchStorages::claim(TorchLayout layout) {
  NameMap<uint32_t> by_key;
  for (PickleId id = 0; id < tree_.size(); ++id) {
    if (tree_.kind(id) != PickleKind::persistent) continue;
    const std::vector<PickleId> parts = parts_of(id);
    if (parts.size() != 5 && !(layout == TorchLayout::legacy && parts.size() == 6))
      throw bad_torch_entry(tree_, "a persistent id of a storage does not have 5 fields", id);
    const TorchDtype* const dtype = storage_dtype(parts[1], id);
    if (tree_.kind(parts[2]) != PickleKind::string)
      throw bad_torch_entry(tree_, "the key of a storage is not a string", id);
    const StorageClaim claim{tree_.text(parts[2]),
                             unsigned_torch_integer(tree_, parts[4], "the size of a storage", id),
                             dtype == nullptr ? 1 : dtype->element_bytes, tree_.offset(id)};
    if (!checked_mul(claim.elements, claim.element_bytes))
      throw Error(ErrorCode::shape_overflow, "the size of a storage does not fit in 64 bits")
          .with_offset(claim.offset);
    const auto [it, is_new] = by_key.try_emplace(claim.key, static_cast<uint32_t>(claims_.size()));
    if (is_new) {
      claims_.push_back(claim);
    } else if (claims_[it->second].elements != claim.elements ||
               claims_[it->second].element_bytes != claim.element_bytes) {
      throw Error(ErrorCode::invalid_storage,
                  fmt::format("storage '{}' is said to have two sizes", claim.key))
          .with_offset(claim.offset);
    }
    view_of(id, it->second);
    storage_of_.emplace_back(id, it->second);
  }
}

std::optional<TorchStorageView> TorchStorages::find(PickleId value) const {
  const auto found = std::ranges::lower_bound(storage_of_, value, {}, &std::pair<PickleId, uint32_t>::first);
  if (found == storage_of_.end() || found->first != value) return std::nullopt;
  return view_of(found->first, found->second);
}

std::vector<PickleId> TorchStorages::parts_of(PickleId persistent) const {
  return tree_.members(tree_.members(persistent, 1)[0], 7);
}

/// Null for an untyped storage.
const TorchDtype* TorchStorages::storage_dtype(PickleId type, PickleId at) const {
  const GlobalKind kind =
      tree_.kind(type) == PickleKind::global ? tree_.global(type).symbol.kind : GlobalKind::denied;
  const bool is_quantized =
      kind == GlobalKind::unsupported_value && tree_.global(type).symbol.dtype != nullptr;
  if (kind == GlobalKind::storage || is_quantized) return tree_.global(type).symbol.dtype;
  if (kind != GlobalKind::untyped_storage)
    throw bad_torch_entry(tree_, "a persistent id has no class of storage", at);
  return nullptr;
}

/// Of a persistent value whose fields but the last have been checked.
TorchStorageView TorchStorages::view_of(PickleId persistent, uint32_t storage) const {
  const std::vector<PickleId> parts = parts_of(persistent);
  TorchStorageView view{storage, storage_dtype(parts[1], persistent), 0, 0};
  const StorageClaim of{{},
                        unsigned_torch_integer(tree_, parts[4], "the size of a storage", persistent),
                        view.dtype == nullptr ? 1 : view.dtype->element_bytes,
                        0};
  view.bytes = of.bytes();
  if (parts.size() == 6) narrow(view, parts[5], of.elements, of.element_bytes);
  return view;
}

/// The older half of the legacy layout lets a storage be a part of another: (key, offset, size) in elements.
void TorchStorages::narrow(TorchStorageView& view, PickleId metadata, uint64_t elements,
                           uint64_t element_bytes) const {
  if (tree_.kind(metadata) == PickleKind::none) return;
  const std::vector<PickleId> parts = tree_.members(metadata, 4);
  if (tree_.kind(metadata) != PickleKind::tuple || parts.size() != 3)
    throw bad_torch_entry(tree_, "the part of a storage is not given by three fields", metadata);
  const uint64_t offset =
      unsigned_torch_integer(tree_, parts[1], "the offset of a part of a storage", metadata);
  const uint64_t size = unsigned_torch_integer(tree_, parts[2], "the size of a part of a storage", metadata);
  if (offset > elements || size > elements - offset)
    throw Error(ErrorCode::storage_overrun, "a part of a storage reaches beyond it")
        .with_offset(tree_.offset(metadata));
  view.first_byte = offset * element_bytes;
  view.bytes = size * element_bytes;
}

}  // namespace hfload
