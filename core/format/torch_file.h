#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/format/byte_source.h"
#include "core/format/pickle_globals.h"
#include "core/format/tensor_reader.h"

namespace hfload {

/// Most dimensions of a tensor.
inline constexpr size_t kMaxTorchDimensions = 64;
/// Most bytes that all tensors of one file together take which are larger than the storage they view, as
/// expanded ones are.
inline constexpr uint64_t kMaxRepeatedBytes = uint64_t{1} << 30;

/// What the tensors of one file may take in memory, by kTensorMemoryBytes and 16 bytes a dimension each: so
/// many bytes, and two for each byte of the pickle.
inline constexpr uint64_t kMaxTensorMemoryBytes = 32 << 20, kTensorMemoryBytes = 400;
/// Most entries that are no tensors of which the names are kept.
inline constexpr size_t kMaxListedOthers = 1000;

/// A block of bytes that tensors are views of.
struct TorchStorage {
  std::string key;
  uint64_t data_offset = 0;  ///< bytes from the start of the file
  uint64_t bytes = 0;
  std::optional<uint32_t> crc;  ///< CRC-32 by the zip archive; not checked
};

/// A view of a storage: element (i, j, …) is element first_element + i * strides[0] + j * strides[1] + … of
/// it. All elements lie inside.
struct TorchTensor {
  std::string name;
  const TorchDtype* dtype = nullptr;
  std::vector<uint64_t> shape;
  std::vector<uint64_t> strides;  ///< in elements
  uint32_t storage =
      0;  ///< into TorchFile::storages; tensors that share one are tied, or views of one another
  uint64_t first_element = 0;
  uint64_t bytes = 0;                  ///< once contiguous
  bool contiguous = false;             ///< its elements lie in the storage in row-major order, without gaps
  Negation negation = Negation::none;  ///< of the conjugate and the negative bit

  /// Of its first element, bytes from the start of the file; of a tensor without elements, of its storage.
  uint64_t data_offset(const TorchStorage& of) const {
    return of.data_offset + (bytes == 0 ? 0 : first_element * dtype->element_bytes);
  }
};

/// A tensor that is no plain one, and is not read.
struct TorchOddTensor {
  std::string name;
  std::string kind;             ///< "sparse", "meta", or the name of a dtype
  std::vector<uint64_t> shape;  ///< empty where it is not known
};

/// An entry of the state dict that is no tensor.
struct TorchOther {
  std::string name;
  std::string_view kind;  ///< "an integer", "a dict"
};

enum class TorchLayout : uint8_t {
  zip,    ///< torch.save since 1.6
  legacy  ///< pickles, then storages
};

/// The state dict of a PyTorch checkpoint.
struct TorchFile {
  TorchLayout layout = TorchLayout::zip;
  bool big_endian = false;
  std::vector<TorchStorage> storages;  ///< those that the pickle refers to, by first reference
  std::vector<TorchTensor> tensors;    ///< in the order of the state dict
  std::vector<TorchOddTensor> odd;     ///< sparse, quantised, nested and meta tensors
  std::vector<TorchOther> others;      ///< the first kMaxListedOthers
  uint64_t other_count = 0;
  std::vector<std::string> notes;  ///< oddities, one sentence each
};

/// Reads what torch.save wrote of a state dict, without executing anything (see pickle.h), and checks every
/// tensor against its storage. `key` names the dict in the file that is the state dict (StateDictFinder).
/// Reads no storage. The rules are in docs/formats.md. There is at least one tensor. Throws Error of exit
/// status 3 for what is malformed or unsafe; Error(unsupported_format) for TorchScript, for layouts before
/// torch 0.2, for objects that are no state dict, and where no tensor is a plain one;
/// Error(weights_not_found) where there is no dict of that key.
TorchFile parse_torch_file(const ByteSource& source, std::string_view key = {});

/// The same of a file. Throws Error(changed_during_read, io_error) besides.
TorchFile read_torch_file(const RegularFile& file, std::string_view key = {});

}  // namespace hfload
