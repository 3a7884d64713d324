#include "core/format/tensor_reader.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "core/base/error.h"

namespace hfload {
namespace {

constexpr size_t kMostRuns = 256 << 10;       // sorted at once, 16 bytes each
constexpr uint64_t kMostRunBytes = 1 << 30;   // what a run's own numbers hold
constexpr uint64_t kWindowBytes = 256 << 10;  // read at once for several runs
constexpr uint64_t kMaxGapBytes = 4 << 10;    // read along rather than skipped

using Run = StridedRun;

/// Steps through a tensor's runs in row-major order.
class RunCursor {
 public:
  explicit RunCursor(const StridedTensor& tensor) : tensor_(tensor) {
    // The innermost dimensions that lie in the file as in the tensor are one run.
    outer_ = tensor.shape.size();
    while (outer_ > 0 && (tensor.shape[outer_ - 1] == 1 || tensor.strides[outer_ - 1] == run_elements_))
      run_elements_ *= tensor.shape[--outer_];
    index_.resize(outer_);
  }

  /// Of a run that is not cut off.
  uint64_t run_bytes() const { return run_elements_ * tensor_.element_bytes; }

  void seek(uint64_t element) {
    in_run_ = element % run_elements_;
    uint64_t run = element / run_elements_;
    element_offset_ = 0;
    for (size_t i = outer_; i-- > 0;) {
      index_[i] = run % tensor_.shape[i];
      run /= tensor_.shape[i];
      element_offset_ += index_[i] * tensor_.strides[i];
    }
  }

  /// The next run, of at most `bytes`.
  Run next(uint64_t bytes) {
    const uint64_t size = tensor_.element_bytes;
    const uint64_t wanted = std::min({bytes, (run_elements_ - in_run_) * size, kMostRunBytes});
    const Run run{tensor_.data_offset + (element_offset_ + in_run_) * size, 0, static_cast<uint32_t>(wanted)};
    in_run_ += run.bytes / size;
    if (in_run_ == run_elements_) advance();
    return run;
  }

 private:
  void advance() {
    in_run_ = 0;
    for (size_t i = outer_; i-- > 0;) {
      element_offset_ += tensor_.strides[i];
      if (++index_[i] < tensor_.shape[i]) return;
      element_offset_ -= tensor_.strides[i] * tensor_.shape[i];
      index_[i] = 0;
    }
  }

  const StridedTensor& tensor_;
  size_t outer_ = 0;  ///< dimensions that are stepped through
  uint64_t run_elements_ = 1;
  std::vector<uint64_t> index_;
  uint64_t element_offset_ = 0, in_run_ = 0;
};

/// Reads runs in file order, near ones together.
void read_runs(const ByteSource& source, std::vector<Run>& runs, std::vector<std::byte>& window,
               std::span<std::byte> into) {
  const auto by_offset = [](const Run& a, const Run& b) { return a.file_offset < b.file_offset; };
  if (!std::is_sorted(runs.begin(), runs.end(), by_offset)) std::sort(runs.begin(), runs.end(), by_offset);
  for (size_t i = 0; i < runs.size();) {
    const uint64_t begin = runs[i].file_offset;
    uint64_t end = begin + runs[i].bytes;
    size_t last = i + 1;
    for (; last < runs.size(); ++last) {
      const uint64_t next_end = std::max(end, runs[last].file_offset + runs[last].bytes);
      if (runs[last].file_offset > end + kMaxGapBytes || next_end - begin > kWindowBytes) break;
      end = next_end;
    }
    if (last == i + 1) {
      source.read(begin, into.subspan(runs[i].into_offset, runs[i].bytes));
    } else {
      window.resize(std::max<size_t>(window.size(), end - begin));
      source.read(begin, std::span(window).first(end - begin));
      for (size_t k = i; k < last; ++k)
        std::memcpy(into.data() + runs[k].into_offset, window.data() + (runs[k].file_offset - begin),
                    runs[k].bytes);
    }
    i = last;
  }
}

void swap_byte_order(std::span<std::byte> bytes, uint32_t group) {
  for (size_t at = 0; at + group <= bytes.size(); at += group)
    std::reverse(bytes.begin() + static_cast<ptrdiff_t>(at),
                 bytes.begin() + static_cast<ptrdiff_t>(at + group));
}

}  // namespace

void read_tensor_elements(const ByteSource& source, const StridedTensor& tensor, uint64_t first,
                          std::span<std::byte> into, StridedReadBuffers& buffers) {
  if (into.empty()) return;
  if (into.size() % tensor.element_bytes != 0)
    throw Error(ErrorCode::internal, "a part of an element is asked for");
  RunCursor cursor(tensor);
  cursor.seek(first);
  std::vector<Run>& runs = buffers.runs;
  runs.reserve(std::min<uint64_t>(kMostRuns, into.size() / cursor.run_bytes() + 2));
  for (uint64_t done = 0; done < into.size();) {
    const uint64_t begin = done;
    runs.clear();
    while (done < into.size() && runs.size() < kMostRuns && done - begin < kMostRunBytes) {
      Run run = cursor.next(into.size() - done);
      run.into_offset = static_cast<uint32_t>(done - begin);
      done += run.bytes;
      runs.push_back(run);
    }
    read_runs(source, runs, buffers.window, into.subspan(begin, done - begin));
  }
  if (tensor.swap_bytes > 1) swap_byte_order(into, tensor.swap_bytes);
}

void read_tensor_elements(const RegularFile& file, const StridedTensor& tensor, uint64_t first,
                          std::span<std::byte> into) {
  StridedReadBuffers buffers;
  read_tensor_elements(FileSource(file), tensor, first, into, buffers);
}

}  // namespace hfload
