#include "core/save/cast_pieces.h"

#include <algorithm>
#include <optional>

namespace hfload {

void read_cast_piece(const ConvertPlan& plan, const TensorSource& source, const WriteRun& run,
                     const WritePiece& piece, PieceReader::Slots& slots, CastBuffers& buffers,
                     const CastSink& sink) {
  constexpr uint64_t kBufferBytes = 512 << 10;  // read into a processor's L2 cache at once
  const uint32_t tensor = plan.sources[plan.files[run.file].layout.slots[run.first_slot].tensor];
  const uint64_t target = run.target_offset + cast_bytes(run.cast, piece.first_byte);
  const std::optional<FileRange> range = run.from_file ? source.file_range(tensor) : std::nullopt;
  std::optional<PieceReader> reader;
  if (!range) reader.emplace(source, tensor, piece.first_byte, piece.source_bytes, slots);
  buffers.source.resize(kBufferBytes);
  for (uint64_t done = 0; done < piece.source_bytes; done += kBufferBytes) {
    const auto read = std::span(buffers.source).first(std::min(kBufferBytes, piece.source_bytes - done));
    if (range) {
      read_exactly(*range->file, range->offset + piece.first_byte + done, read);
    } else {
      reader->read(read);
    }
    std::span<const std::byte> result = read;
    if (run.cast != CastKind::none) {
      buffers.target.resize(cast_bytes(run.cast, kBufferBytes));
      cast(run.cast, read.data(), buffers.target.data(), read.size() / cast_source_bytes(run.cast));
      result = std::span(buffers.target).first(cast_bytes(run.cast, read.size()));
    }
    sink(target + cast_bytes(run.cast, done), result);
  }
}

}  // namespace hfload
