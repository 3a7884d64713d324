#include "core/save/write_schedule.h"

#include <optional>

#include "core/base/error.h"

namespace hfload {
namespace {

class Scheduler {
 public:
  Scheduler(const ConvertPlan& plan, const TensorSource& source) : plan_(plan), source_(source) {}

  WriteSchedule build() {
    for (uint32_t f = 0; f < plan_.files.size(); ++f) {
      open_.reset();
      for (uint32_t s = 0; s < plan_.files[f].layout.slots.size(); ++s) add(f, s);
    }
    cut();
    return std::move(schedule_);
  }

 private:
  void add(uint32_t file, uint32_t index) {
    const FileLayout& layout = plan_.files[file].layout;
    const TensorSlot& slot = layout.slots[index];
    const uint32_t tensor = plan_.sources[slot.tensor];
    const uint64_t bytes = source_.tensor(tensor).bytes;
    if (bytes == 0) return;
    const CastKind kind = plan_.casts[slot.tensor];
    std::optional<FileRange> range = source_.file_range(tensor);
    if (range && !layout.archive && continues(*range, slot, kind)) {
      schedule_.runs.back().source_bytes += bytes;
      return;
    }
    schedule_.runs.push_back({file, index, kind, range.has_value(), 0, bytes, slot.offset});
    open_ = std::move(range);
  }

  /// Whether a tensor follows the last run in its source, in its output, and in its cast.
  bool continues(const FileRange& range, const TensorSlot& slot, CastKind kind) const {
    if (!open_) return false;
    const WriteRun& run = schedule_.runs.back();
    return range.file == open_->file && range.offset == open_->offset + run.source_bytes &&
           slot.offset == run.target_offset + cast_bytes(run.cast, run.source_bytes) && kind == run.cast;
  }

  void cut() {
    uint64_t pieces = 0;
    for (WriteRun& run : schedule_.runs) {
      run.first_piece = static_cast<uint32_t>(pieces);
      pieces += (run.source_bytes + kWritePieceBytes - 1) / kWritePieceBytes;
      // 16 PiB: more than any disk that could have been reserved.
      if (pieces > UINT32_MAX) throw Error(ErrorCode::no_space, "the output takes more than 2^54 bytes");
    }
    schedule_.pieces = pieces;
  }

  const ConvertPlan& plan_;
  const TensorSource& source_;
  std::optional<FileRange> open_;  ///< of the first tensor of the last run, where another may follow
  WriteSchedule schedule_;
};

}  // namespace

WriteSchedule make_write_schedule(const ConvertPlan& plan, const TensorSource& source) {
  return Scheduler(plan, source).build();
}

}  // namespace hfload
