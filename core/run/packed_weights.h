#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "core/load/host_memory.h"
#include "core/run/onednn_product.h"
#include "core/run/worker_team.h"
#include "kernels/gemm.h"

namespace hfload {

/// The weights [n, k] of every entry of a batch, as rows of their own dtype, padded with zeros to a multiple
/// of kFewRowsUnit elements and without gaps.
class WeightRows {
 public:
  /// Copies B of `gemm`; one entry where all have the same. Throws Error(out_of_memory), and Error(internal)
  /// where the contract is broken.
  WeightRows(const Gemm& gemm, WorkerTeam& team);

  GemmDtype dtype() const { return dtype_; }
  int64_t n() const { return n_; }
  int64_t k() const { return k_; }
  int64_t padded_k() const { return padded_k_; }
  int64_t entries() const { return entries_; }
  /// The entry of the weights that an entry of the batch is multiplied by.
  const std::byte* of(int64_t entry) const;
  uint64_t bytes() const { return memory_.bytes().size(); }

 private:
  GemmDtype dtype_;
  int64_t n_, k_, padded_k_, entries_;
  HostMemory memory_;
};

/// Weights in the format that oneDNN multiplies them in.
class PackedWeights {
 public:
  /// Packs for products of m rows; nothing where oneDNN has no fast code for them. `type`: what oneDNN
  /// multiplies; fp32, or the dtype of the rows. Throws Error(out_of_memory), Error(onednn_error).
  static std::optional<PackedWeights> create(const OnednnRuntime& runtime, const WeightRows& rows,
                                             dnnl_data_type_t type, int64_t m, WorkerTeam& team);

  const dnnl_memory_desc_t& desc() const { return desc_; }
  const std::byte* of(const WeightRows& rows, int64_t entry) const;
  /// Besides the rows.
  uint64_t bytes() const { return memory_.bytes().size(); }

 private:
  PackedWeights() = default;

  dnnl_memory_desc_t desc_ = {};
  uint64_t entry_bytes_ = 0;
  bool are_rows_ = false;  ///< the rows themselves serve
  HostMemory memory_;
};

}  // namespace hfload
