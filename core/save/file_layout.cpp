#include "core/save/file_layout.h"

#include "core/save/pytorch_writer.h"
#include "core/save/safetensors_writer.h"

namespace hfload {

void write_around_tensors(std::span<const OutputTensor> tensors, const FileLayout& layout,
                          const PieceSink& sink) {
  if (layout.archive) {
    write_pytorch_archive(tensors, layout, sink);
    return;
  }
  uint64_t offset = 0;
  write_safetensors_head(tensors, layout, [&](std::string_view part) {
    sink(offset, part);
    offset += part.size();
  });
}

}  // namespace hfload
