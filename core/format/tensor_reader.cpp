#include "core/format/tensor_reader.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <utility>

#include "core/base/error.h"

namespace hfload {
namespace {

constexpr uint64_t kWindowBytes = 1 << 20;  // of the file, in memory at once
constexpr uint64_t kMaxGapBytes = 4 << 10;  // read along rather than skipped

/// A dimension of a part of a tensor: elements that lie `stride` elements apart in the file, and `out_stride`
/// elements apart in what is read.
struct Axis {
  uint64_t count = 1, stride = 0, out_stride = 1;
};

/// The axes of a tensor, outermost first, without those of one element, and with those put together that lie
/// in the file as in the tensor.
std::vector<Axis> axes_of(const StridedTensor& tensor) {
  std::vector<Axis> axes;
  for (size_t i = 0; i < tensor.shape.size(); ++i) {
    const uint64_t count = tensor.shape[i], stride = tensor.strides[i];
    if (count == 1) continue;
    if (!axes.empty() && axes.back().stride == count * stride) {
      axes.back() = {axes.back().count * count, stride, 1};
    } else {
      axes.push_back({count, stride, 1});
    }
  }
  for (size_t i = axes.size(); i-- > 1;) axes[i - 1].out_stride = axes[i].out_stride * axes[i].count;
  return axes;
}

/// A box of elements, which begins so many elements from the start of the tensor's data and of what is read.
struct Box {
  uint64_t at = 0, out = 0;
  std::vector<Axis> axes;
};

/// Divides the elements [begin, end) of the axes from `level` on, counted in row-major order, into boxes:
/// whole rows, and the parts of rows before and after them.
void add_boxes(const std::vector<Axis>& axes, size_t level, uint64_t begin, uint64_t end, uint64_t at,
               uint64_t out, std::vector<Box>& boxes) {
  if (begin == end) return;
  if (level == axes.size()) {
    boxes.push_back({at, out, {}});
    return;
  }
  const Axis& axis = axes[level];
  const uint64_t row = axis.out_stride;
  uint64_t first = begin / row;
  const uint64_t last = end / row;
  const auto add_part = [&](uint64_t index, uint64_t from, uint64_t to) {
    add_boxes(axes, level + 1, from, to, at + index * axis.stride, out, boxes);
    out += to - from;
  };
  if (begin % row != 0) {
    add_part(first, begin % row, first == last ? end % row : row);
    if (first == last) return;
    ++first;
  }
  if (first < last) {
    Box box{at + first * axis.stride, out, {axes.begin() + static_cast<ptrdiff_t>(level), axes.end()}};
    box.axes.front().count = last - first;
    boxes.push_back(std::move(box));
    out += (last - first) * row;
  }
  if (end % row != 0) add_part(last, 0, end % row);
}

/// Reads boxes in the order of the file, whatever the order of the tensor.
class BoxReader {
 public:
  BoxReader(const ByteSource& source, const StridedTensor& tensor, std::span<std::byte> into,
            std::vector<std::byte>& window)
      : source_(source),
        data_offset_(tensor.data_offset),
        size_(tensor.element_bytes),
        into_(into),
        window_(window) {}

  void read(const Box& box) {
    std::vector<Axis> outer = box.axes;
    std::erase_if(outer, [](const Axis& axis) { return axis.count == 1; });
    std::ranges::stable_sort(outer, std::greater(), &Axis::stride);
    take_block(outer);
    const Axis column = outer.empty() ? Axis() : outer.back();
    if (!outer.empty()) outer.pop_back();
    for_each(outer, box.at, box.out, [&](uint64_t at, uint64_t out) { read_column(at, out, column); });
  }

 private:
  bool is_near(const Axis& axis) const { return axis.stride * size_ <= block_bytes_ + kMaxGapBytes; }

  /// Takes from the end of the axes those that lie so near one another that they are read as one.
  void take_block(std::vector<Axis>& axes) {
    block_.clear();
    block_bytes_ = size_;
    while (!axes.empty() && is_near(axes.back())) {
      const uint64_t more_bytes = (axes.back().count - 1) * axes.back().stride * size_;
      if (more_bytes > kWindowBytes - block_bytes_) return;
      block_bytes_ += more_bytes;
      block_.push_back(axes.back());
      axes.pop_back();
    }
  }

  /// Calls `f` with the place of every element of the axes in the file and in what is read.
  template <class F>
  static void for_each(const std::vector<Axis>& axes, uint64_t at, uint64_t out, F&& f) {
    std::vector<uint64_t> index(axes.size(), 0);
    for (;;) {
      f(at, out);
      size_t level = axes.size();
      while (level > 0) {
        const Axis& axis = axes[level - 1];
        at += axis.stride;
        out += axis.out_stride;
        if (++index[level - 1] < axis.count) break;
        at -= axis.count * axis.stride;
        out -= axis.count * axis.out_stride;
        index[--level] = 0;
      }
      if (level == 0) return;
    }
  }

  /// Reads a block for each element of the axis, as many of them at once as the window holds.
  void read_column(uint64_t at, uint64_t out, const Axis& column) {
    const bool near = is_near(column);
    const uint64_t pitch = near ? column.stride * size_ : block_bytes_;
    const uint64_t fit = pitch == 0 ? column.count : (kWindowBytes - block_bytes_) / pitch + 1;
    for (uint64_t first = 0; first < column.count; first += fit) {
      const uint64_t blocks = std::min(fit, column.count - first);
      window_.resize(std::max<size_t>(window_.size(), (blocks - 1) * pitch + block_bytes_));
      const uint64_t offset = data_offset_ + (at + first * column.stride) * size_;
      if (near) {
        source_.read(offset, std::span(window_).first((blocks - 1) * pitch + block_bytes_));
      } else {
        for (uint64_t b = 0; b < blocks; ++b)
          source_.read(offset + b * column.stride * size_,
                       std::span(window_).subspan(b * pitch, block_bytes_));
      }
      scatter(out + first * column.out_stride, {blocks, pitch, column.out_stride});
    }
  }

  /// Copies from the window to where the elements go, in the order in which they lie there. The strides are
  /// those of the window, in bytes.
  void scatter(uint64_t out, Axis blocks) {
    std::vector<Axis> axes = block_;
    for (Axis& axis : axes) axis.stride *= size_;
    if (blocks.count > 1 || axes.empty()) axes.push_back(blocks);
    std::ranges::sort(axes, std::greater(), &Axis::out_stride);
    const Axis run = axes.back();
    axes.pop_back();
    for_each(axes, 0, out, [&](uint64_t from, uint64_t to) {
      copy_run(window_.data() + from, into_.data() + to * size_, run);
    });
  }

  void copy_run(const std::byte* from, std::byte* to, const Axis& run) const {
    if (run.stride == size_ && run.out_stride == 1) {
      std::memcpy(to, from, run.count * size_);
      return;
    }
    switch (size_) {
      case 1:
        return copy_elements<1>(from, to, run);
      case 2:
        return copy_elements<2>(from, to, run);
      case 4:
        return copy_elements<4>(from, to, run);
      case 8:
        return copy_elements<8>(from, to, run);
      default:
        return copy_elements<0>(from, to, run);
    }
  }

  /// `kSize` is the size of an element where it is known.
  template <size_t kSize>
  void copy_elements(const std::byte* from, std::byte* to, const Axis& run) const {
    const uint64_t size = kSize == 0 ? size_ : kSize;
    for (uint64_t i = 0; i < run.count; ++i)
      std::memcpy(to + i * run.out_stride * size, from + i * run.stride, size);
  }

  const ByteSource& source_;
  uint64_t data_offset_, size_;
  std::span<std::byte> into_;
  std::vector<Axis> block_;  ///< what is read as one, of the box that is being read
  uint64_t block_bytes_ = 0;
  std::vector<std::byte>& window_;
};

void swap_byte_order(std::span<std::byte> bytes, uint32_t group) {
  for (size_t at = 0; at + group <= bytes.size(); at += group)
    std::reverse(bytes.begin() + static_cast<ptrdiff_t>(at),
                 bytes.begin() + static_cast<ptrdiff_t>(at + group));
}

/// Of little-endian integers of `size` bytes.
void negate_integers(std::span<std::byte> bytes, size_t size) {
  for (size_t at = 0; at + size <= bytes.size(); at += size) {
    unsigned carry = 1;
    for (std::byte& byte : bytes.subspan(at, size)) {
      const unsigned sum = (~std::to_integer<unsigned>(byte) & 0xFF) + carry;
      byte = static_cast<std::byte>(sum);
      carry = sum >> 8;
    }
  }
}

/// Of little-endian numbers the last byte of which is `first` and every `step` bytes from there on.
void flip_signs(std::span<std::byte> bytes, size_t first, size_t step) {
  for (size_t at = first; at < bytes.size(); at += step) bytes[at] ^= std::byte{0x80};
}

/// Elements of `size` bytes, little-endian. torch's negation of a NaN flips its sign, too.
void negate(std::span<std::byte> elements, size_t size, Negation negation) {
  switch (negation) {
    case Negation::none:
      return;
    case Negation::integers:
      return negate_integers(elements, size);
    case Negation::complexes:
      return flip_signs(elements, size / 2 - 1, size / 2);
    case Negation::real_parts:
      return flip_signs(elements, size / 2 - 1, size);
    case Negation::floats:
    case Negation::imaginary_parts:
      return flip_signs(elements, size - 1, size);
  }
}

}  // namespace

void read_tensor_elements(const ByteSource& source, const StridedTensor& tensor, uint64_t first,
                          std::span<std::byte> into, StridedReadBuffers& buffers) {
  if (into.empty()) return;
  if (into.size() % tensor.element_bytes != 0)
    throw Error(ErrorCode::internal, "a part of an element is asked for");
  std::vector<Box> boxes;
  add_boxes(axes_of(tensor), 0, first, first + into.size() / tensor.element_bytes, 0, 0, boxes);
  BoxReader reader(source, tensor, into, buffers.window);
  for (const Box& box : boxes) reader.read(box);
  if (tensor.swap_bytes > 1) swap_byte_order(into, tensor.swap_bytes);
  negate(into, tensor.element_bytes, tensor.negation);
}

void read_tensor_elements(const RegularFile& file, const StridedTensor& tensor, uint64_t first,
                          std::span<std::byte> into) {
  StridedReadBuffers buffers;
  read_tensor_elements(FileSource(file), tensor, first, into, buffers);
}

}  // namespace hfload
