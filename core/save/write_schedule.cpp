#include "core/save/write_schedule.h"

#include <algorithm>
#include <optional>

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
    const uint64_t bytes = source_.tensors()[tensor].bytes;
    if (bytes == 0) return;
    const CastKind kind = plan_.casts[slot.tensor];
    std::optional<FileRange> range = source_.file_range(tensor);
    if (range && layout.checksums.empty() && continues(*range, slot, kind)) {
      schedule_.runs.back().source_bytes += bytes;
      return;
    }
    schedule_.runs.push_back({file, index, kind, range.has_value(), bytes, slot.offset});
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
    for (uint32_t r = 0; r < schedule_.runs.size(); ++r) {
      const uint64_t bytes = schedule_.runs[r].source_bytes;
      for (uint64_t at = 0; at < bytes; at += kWritePieceBytes)
        schedule_.pieces.push_back({r, at, std::min(kWritePieceBytes, bytes - at)});
    }
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
