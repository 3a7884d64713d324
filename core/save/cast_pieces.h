#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "core/save/convert.h"
#include "core/save/tensor_source.h"
#include "core/save/write_schedule.h"

namespace hfload {

/// Two buffers of a thread, of which the second holds the result of a cast that doubles the size.
struct CastBuffers {
  std::vector<std::byte> source, target;
};

/// Takes a part of an output file, which begins so many bytes from its start.
using CastSink = std::function<void(uint64_t offset, std::span<const std::byte> bytes)>;

/// Reads a piece of the schedule and passes it on as the output has it: cast, by ascending offset, in parts
/// that were read 512 KiB at a time. Throws as TensorSource::read, and what the sink throws.
void read_cast_piece(const ConvertPlan& plan, const TensorSource& source, const WriteRun& run,
                     const WritePiece& piece, PieceReader::Slots& slots, CastBuffers& buffers,
                     const CastSink& sink);

}  // namespace hfload
