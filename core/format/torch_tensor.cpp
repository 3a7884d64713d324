#include "core/format/torch_tensor.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "core/base/checked.h"

namespace hfload {
namespace {

/// torch's `is_contiguous()`.
bool is_contiguous(const TorchTensor& tensor) {
  if (tensor.bytes == 0) return true;
  uint64_t expected = 1;
  for (size_t i = tensor.shape.size(); i-- > 0;) {
    if (tensor.shape[i] == 1) continue;
    if (tensor.strides[i] != expected) return false;
    expected *= tensor.shape[i];
  }
  return true;
}

}  // namespace

Error TorchTensorReader::bad_entry(std::string message, PickleId at) const {
  return bad_torch_entry(tree_, std::move(message), at);
}

uint64_t TorchTensorReader::unsigned_integer(PickleId id, std::string_view what, PickleId at) const {
  return unsigned_torch_integer(tree_, id, what, at);
}

std::vector<uint64_t> TorchTensorReader::dimensions(PickleId id, std::string_view what, PickleId at) const {
  PickleId tuple = id;
  if (tree_.kind(id) == PickleKind::object) {  // torch.Size((…))
    const std::vector<PickleId> call = tree_.members(id, 3);
    const std::vector<PickleId> arguments = tree_.members(call[1], 2);
    if (call.size() == 2 && tree_.global(call[0]).name == "Size" && arguments.size() == 1)
      tuple = arguments[0];
  }
  const std::vector<PickleId> members = tree_.members(tuple, kMaxTorchDimensions + 1);
  if (tree_.kind(tuple) != PickleKind::tuple)
    throw bad_entry(fmt::format("the tensor's {} is {}, not a tuple", what, describe(tree_.kind(tuple))),
                    tree_.has_offset(id) ? id : at);
  if (members.size() > kMaxTorchDimensions)
    throw bad_entry(fmt::format("the tensor's {} has more than 64 dimensions", what), id);
  std::vector<uint64_t> values;
  values.reserve(members.size());
  for (const PickleId member : members)
    values.push_back(unsigned_integer(
        member, what == "shape" ? "a number of the tensor's shape" : "a number of the tensor's stride",
        tree_.has_offset(tuple) ? tuple : at));
  return values;
}

void TorchTensorReader::read(PickleId value, TorchTensor& tensor, TorchOddTensor& odd) {
  for (;;) {
    const std::vector<PickleId> call = tree_.members(value, 3);
    // torch would let a state change the tensor after it was made.
    if (call.size() != 2) throw bad_entry("the tensor has a state", value);
    const PickleGlobal& function = tree_.global(call[0]);
    const std::vector<PickleId> arguments = tree_.members(call[1], 9);
    switch (function.symbol.kind) {
      case GlobalKind::rebuild_parameter:
      case GlobalKind::rebuild_parameter_with_state:
        require_arguments(arguments, 3, 4, value);
        value = arguments[0];
        break;
      case GlobalKind::rebuild_from_type:
        require_arguments(arguments, 4, 4, value);
        return read_call(arguments[0], arguments[2], value, tensor, odd);
      default:
        return read_call(call[0], call[1], value, tensor, odd);
    }
    if (!finder_.is_tensor(value))
      throw bad_entry("a parameter is made from something else than a tensor", value);
  }
}

void TorchTensorReader::require_arguments(const std::vector<PickleId>& arguments, size_t least, size_t most,
                                          PickleId at) const {
  if (arguments.size() < least || arguments.size() > most)
    throw bad_entry("a tensor is made with a wrong number of arguments", at);
}
Error TorchTensorReader::unsupported(std::string message, PickleId at) const {
  return unsupported_torch_tensor(tree_, std::move(message), at);
}

void TorchTensorReader::read_call(PickleId function, PickleId tuple, PickleId at, TorchTensor& tensor,
                                  TorchOddTensor& odd) {
  if (tree_.kind(function) != PickleKind::global || tree_.kind(tuple) != PickleKind::tuple)
    throw bad_entry("a tensor is made by no function of torch", at);
  const PickleGlobal& global = tree_.global(function);
  const std::vector<PickleId> arguments = tree_.members(tuple, 9);
  switch (global.symbol.kind) {
    case GlobalKind::rebuild_tensor:
      require_arguments(arguments, 4, 4, at);
      break;
    case GlobalKind::rebuild_tensor_v2:
      require_arguments(arguments, 6, 7, at);
      break;
    case GlobalKind::rebuild_tensor_v3:
      require_arguments(arguments, 7, 8, at);
      break;
    case GlobalKind::unsupported_tensor:
      throw odd_tensor(global.name, arguments, at, odd);
    default:
      throw bad_entry(fmt::format("a tensor is made by {}.{}", global.module, global.name), at);
  }
  const std::optional<TorchStorageView> view = storages_.find(arguments[0]);
  if (!view) throw bad_entry("the tensor has no storage", at);
  tensor.dtype = view->dtype;
  const bool is_v3 = global.symbol.kind == GlobalKind::rebuild_tensor_v3;
  if (is_v3) tensor.dtype = dtype_of(arguments[6], odd);
  if (tensor.dtype == nullptr) throw bad_entry("the tensor has an untyped storage and no dtype", at);
  tensor.first_element = unsigned_integer(arguments[1], "the tensor's offset", at);
  tensor.shape = dimensions(arguments[2], "shape", at);
  tensor.strides = dimensions(arguments[3], "stride", at);
  check_extent(*view, at, tensor);
  const size_t metadata = is_v3 ? 7 : 6;
  if (arguments.size() > metadata) tensor.negation = negation_of(arguments[metadata], *tensor.dtype, at, odd);
}

/// A tensor that a function of torch makes which makes no plain ones.
Error TorchTensorReader::odd_tensor(std::string_view function, const std::vector<PickleId>& arguments,
                                    PickleId at, TorchOddTensor& odd) const {
  constexpr size_t kNone = SIZE_MAX;
  struct Kind {
    std::string_view function, name;
    size_t argument;       ///< the one that is the shape
    bool is_with_tensors;  ///< or a tuple of tensors and the shape
  };
  constexpr Kind kKinds[] = {
      {"_rebuild_sparse_tensor", "sparse", 1, true},
      {"_rebuild_sparse_csr_tensor", "sparse", 1, true},
      {"_rebuild_nested_tensor", "nested", kNone, false},
      {"_rebuild_qtensor", "quantized", 2, false},
      {"_rebuild_meta_tensor_no_storage", "meta", 1, false},
  };
  const auto* const kind = std::ranges::find(kKinds, function, &Kind::function);
  odd.kind = kind == std::end(kKinds) ? "other" : kind->name;
  if (kind != std::end(kKinds) && kind->argument < arguments.size()) {
    std::optional<PickleId> shape = arguments[kind->argument];
    if (kind->is_with_tensors) {
      const std::vector<PickleId> members = tree_.members(*shape, 8);
      const auto found = std::ranges::find_if(members, [&](PickleId m) { return !finder_.is_tensor(m); });
      shape = found == members.end() ? std::nullopt : std::optional(*found);
    }
    if (shape) odd.shape = dimensions(*shape, "shape", at);
  }
  if (!element_count(odd.shape)) odd.shape.clear();
  return unsupported(fmt::format("the tensor is of another layout ({})", function), at);
}

/// The bits that torch sets by the names alone (torch._C._set_tensor_metadata), whatever their values are.
Negation TorchTensorReader::negation_of(PickleId metadata, const TorchDtype& dtype, PickleId at,
                                        TorchOddTensor& odd) const {
  if (tree_.kind(metadata) == PickleKind::none) return Negation::none;
  if (tree_.kind(metadata) != PickleKind::dict) throw bad_entry("the tensor's metadata is no dict", at);
  bool conjugate = false, negative = false;
  visit_entries(tree_, metadata, [&](PickleId key, PickleId) {
    if (tree_.kind(key) != PickleKind::string) throw bad_entry("the tensor's metadata has no names", at);
    conjugate = conjugate || tree_.text(key) == "conj";
    negative = negative || tree_.text(key) == "neg";
  });
  const NumberKind numbers = dtype.numbers;
  if (conjugate && numbers != NumberKind::complexes)
    throw bad_entry("a tensor of real numbers has the conjugate bit", at);
  if (!negative) return conjugate ? Negation::imaginary_parts : Negation::none;
  switch (numbers) {
    case NumberKind::integers:
      return Negation::integers;
    case NumberKind::floats:
      return Negation::floats;
    case NumberKind::complexes:
      return conjugate ? Negation::real_parts : Negation::complexes;
    case NumberKind::others:
      break;
  }
  odd.kind = dtype.name;
  odd.shape.clear();
  throw unsupported(fmt::format("the tensor has the negative bit, and torch negates no {}", dtype.name), at);
}

const TorchDtype* TorchTensorReader::dtype_of(PickleId id, TorchOddTensor& odd) const {
  const bool is_global = tree_.kind(id) == PickleKind::global;
  if (is_global && tree_.global(id).symbol.kind == GlobalKind::unsupported_value) {
    odd.kind = tree_.global(id).name;
    throw unsupported(fmt::format("the tensor is of dtype {}", tree_.global(id).name), id);
  }
  if (!is_global || tree_.global(id).symbol.kind != GlobalKind::dtype)
    throw bad_entry("the tensor's dtype is none", id);
  return tree_.global(id).symbol.dtype;
}

void TorchTensorReader::check_extent(const TorchStorageView& view, PickleId at, TorchTensor& tensor) {
  if (tensor.shape.size() != tensor.strides.size())
    throw bad_entry(fmt::format("the tensor has {} dimensions and {} strides", tensor.shape.size(),
                                tensor.strides.size()),
                    at);
  const std::optional<uint64_t> elements = element_count(tensor.shape);
  const std::optional<uint64_t> bytes =
      elements ? checked_mul(*elements, tensor.dtype->element_bytes) : std::nullopt;
  if (!bytes)
    throw Error(ErrorCode::shape_overflow, "the size of the tensor's shape does not fit in 64 bits")
        .with_offset(tree_.offset(at));
  tensor.bytes = *bytes;
  const uint64_t view_elements = view.bytes / tensor.dtype->element_bytes;
  if (*elements != 0) {
    // Offset, sizes and strides are below 2^63, so that a product fits; the sum is cut off in time.
    __extension__ using Wide = unsigned __int128;
    Wide last = tensor.first_element;
    for (size_t i = 0; i < tensor.shape.size() && last < view_elements; ++i)
      last += Wide{tensor.shape[i] - 1} * tensor.strides[i];
    if (last >= view_elements)
      throw Error(ErrorCode::storage_overrun,
                  fmt::format("the tensor reaches beyond its storage of {} elements", view_elements))
          .with_offset(tree_.offset(at));
  }
  if (*bytes > view.bytes) {
    repeated_bytes_ += std::min(*bytes, kMaxRepeatedBytes + 1);
    if (repeated_bytes_ > kMaxRepeatedBytes)
      throw Error(
          ErrorCode::tensor_too_large,
          fmt::format("tensors that repeat the elements of their storages take more than 1 GiB; this one "
                      "makes {} bytes of {}",
                      *bytes, view.bytes))
          .with_offset(tree_.offset(at));
  }
  tensor.storage = view.storage;
  tensor.first_element += view.first_byte / tensor.dtype->element_bytes;
  tensor.contiguous = is_contiguous(tensor);
}

}  // namespace hfload
