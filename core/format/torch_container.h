#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/format/pickle.h"
#include "core/format/torch_file.h"
#include "core/format/zip_archive.h"

namespace hfload {

/// What the pickle says of one storage.
struct StorageClaim {
  std::string_view key;
  uint64_t elements = 0;
  unsigned element_bytes = 1;
  uint64_t offset = 0;  ///< of the claim in the pickle, for errors

  uint64_t bytes() const { return elements * element_bytes; }
};

/// The state dict's pickle of a checkpoint, and the way to its storages.
class TorchContainer {
 public:
  /// Finds out the layout and reads the pickle. Throws as parse_torch_file.
  explicit TorchContainer(const ByteSource& source);

  TorchLayout layout() const { return layout_; }
  bool big_endian() const { return big_endian_; }
  const PickleTree& tree() const { return pickle_.tree; }
  /// Of the state dict's pickle.
  uint64_t pickle_bytes() const { return pickle_.bytes(); }
  /// Oddities, one sentence each.
  const std::vector<std::string>& notes() const { return notes_; }

  /// Where the claimed storages are; in the order of the claims, whose keys differ from one another. Throws
  /// Error(invalid_storage) for one that is absent or has another size.
  std::vector<TorchStorage> locate(const std::vector<StorageClaim>& claims) const;

 private:
  void open_zip();
  void open_legacy();
  std::vector<TorchStorage> locate_in_zip(const std::vector<StorageClaim>& claims) const;
  std::vector<TorchStorage> locate_in_legacy(const std::vector<StorageClaim>& claims) const;

  const ByteSource& source_;
  TorchLayout layout_ = TorchLayout::zip;
  bool big_endian_ = false;
  ParsedPickle pickle_;
  ZipArchive archive_;
  std::vector<std::string> notes_;
  std::string top_;  ///< folder of the archive's members, with its slash
};

}  // namespace hfload
