#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.h"
#include "core/format/pickle.h"
#include "core/format/torch_file.h"
#include "core/format/torch_state_dict.h"
#include "core/format/torch_storages.h"

namespace hfload {

/// Reads the calls in a pickle that make tensors.
class TorchTensorReader {
 public:
  /// All must outlive it.
  TorchTensorReader(const PickleTree& tree, const TorchStorages& storages, const StateDictFinder& finder)
      : tree_(tree), storages_(storages), finder_(finder) {}

  /// Reads a value of which StateDictFinder::is_tensor is true, and checks it against its storage. Throws
  /// Error(unsupported_format) for a tensor that is no plain one, of which `odd` then says kind and shape;
  /// Error(invalid_tensor_entry, storage_overrun, shape_overflow, tensor_too_large).
  void read(PickleId value, TorchTensor& tensor, TorchOddTensor& odd);

 private:
  Error bad_entry(std::string message, PickleId at) const;
  Error unsupported(std::string message, PickleId at) const;
  uint64_t unsigned_integer(PickleId id, std::string_view what, PickleId at) const;
  std::vector<uint64_t> dimensions(PickleId id, std::string_view what, PickleId at) const;
  void require_arguments(const std::vector<PickleId>& arguments, size_t least, size_t most,
                         PickleId at) const;
  void read_call(PickleId function, PickleId tuple, PickleId at, TorchTensor& tensor, TorchOddTensor& odd);
  Error odd_tensor(std::string_view function, const std::vector<PickleId>& arguments, PickleId at,
                   TorchOddTensor& odd) const;
  Negation negation_of(PickleId metadata, const TorchDtype& dtype, PickleId at, TorchOddTensor& odd) const;
  const TorchDtype* dtype_of(PickleId id, TorchOddTensor& odd) const;
  void check_extent(const TorchStorageView& view, PickleId at, TorchTensor& tensor);

  const PickleTree& tree_;
  const TorchStorages& storages_;
  const StateDictFinder& finder_;
  uint64_t repeated_bytes_ = 0;  ///< of tensors that are larger than their storages
};

}  // namespace hfload
