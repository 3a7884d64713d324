#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "core/save/file_layout.h"

namespace hfload {

/// The layout of a file that torch.load(weights_only=True) reads as a dict of the chosen tensors in the given
/// order: a zip archive of stored members, data.pkl (pickle protocol 2) first, then one member per storage,
/// whose data begin at multiples of 64 bytes; zip64 where sizes need it. The directory in the archive has the
/// file's stem as its name, as torch.save has it. `same_elements` is parallel to `tensors`: those of one
/// number share a storage, which is written once. Throws Error(unsupported_dtype) for a dtype that torch
/// cannot name.
FileLayout pytorch_layout(std::span<const OutputTensor> tensors, std::span<const uint32_t> chosen,
                          std::span<const std::optional<uint64_t>> same_elements, std::string_view file_name);

/// Writes the pickle, the local headers and the central directory of a file that has such a layout, with
/// zeros for the checksums of tensors.
void write_pytorch_archive(std::span<const OutputTensor> tensors, const FileLayout& layout,
                           const PieceSink& sink);

}  // namespace hfload
