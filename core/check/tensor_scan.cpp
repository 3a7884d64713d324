#include "core/check/tensor_scan.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <mutex>
#include <utility>

#include "core/check/element_values.h"
#include "kernels/hash.h"

namespace hfload {
namespace {

constexpr uint64_t kBlockBytes = 512 << 10;

/// Statistics while they are formed, of one piece or of several in order.
struct Tally {
  uint64_t values = 0, nan = 0, infinite = 0, denormal = 0, zero = 0;
  double min = std::numeric_limits<double>::infinity(), max = -min;
  uint64_t min_integer = 0, max_integer = 0;  ///< bits of a 64-bit integer
  double sum = 0;                             ///< of finite values
  uint64_t hash_sum = 0;
  std::byte min_byte{0xFF}, max_byte{0};  ///< of a dtype that is not decoded

  uint64_t finite() const { return values - nan - infinite; }
};

/// float32 and float64, whose bits sort as their absolute values do. Lanes, so that compilers use vectors,
/// and so that sums are formed in one order whatever they use.
template <class Float, class Bits>
void count_floats(const std::byte* data, size_t count, Tally& tally) {
  constexpr Bits kInfinity = std::bit_cast<Bits>(std::numeric_limits<Float>::infinity());
  constexpr Bits kNormal = std::bit_cast<Bits>(std::numeric_limits<Float>::min());
  constexpr Bits kAbsolute = std::numeric_limits<Bits>::max() >> 1;
  constexpr size_t kLanes = 8;
  std::array<Bits, kLanes> nan{}, infinite{}, below_normal{}, zero{};
  std::array<double, kLanes> sum{};
  std::array<Float, kLanes> min{}, max{};
  min.fill(std::numeric_limits<Float>::infinity());
  max.fill(-std::numeric_limits<Float>::infinity());
  const auto add = [&](size_t lane, const std::byte* at) {
    Bits bits;
    std::memcpy(&bits, at, sizeof(Bits));
    const Bits absolute = bits & kAbsolute;
    nan[lane] += absolute > kInfinity;
    infinite[lane] += absolute == kInfinity;
    below_normal[lane] += absolute < kNormal;
    zero[lane] += absolute == 0;
    const bool finite = absolute < kInfinity;
    const Float value = std::bit_cast<Float>(bits);
    sum[lane] += finite ? static_cast<double>(value) : 0.0;
    min[lane] = finite && value < min[lane] ? value : min[lane];
    max[lane] = finite && value > max[lane] ? value : max[lane];
  };
  const size_t whole = count - count % kLanes;
  for (size_t i = 0; i < whole; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) add(lane, data + (i + lane) * sizeof(Float));
  }
  for (size_t i = whole; i < count; ++i) add(i - whole, data + i * sizeof(Float));
  tally.values += count;
  for (size_t lane = 0; lane < kLanes; ++lane) {
    tally.nan += nan[lane];
    tally.infinite += infinite[lane];
    tally.denormal += below_normal[lane] - zero[lane];
    tally.zero += zero[lane];
    tally.sum += sum[lane];
    tally.min = std::min(tally.min, static_cast<double>(min[lane]));
    tally.max = std::max(tally.max, static_cast<double>(max[lane]));
  }
}

template <class Integer>
void count_integers(const std::byte* data, size_t count, Tally& tally) {
  Integer min = std::numeric_limits<Integer>::max(), max = std::numeric_limits<Integer>::min();
  uint64_t zero = 0;
  double sum = 0;
  for (size_t i = 0; i < count; ++i) {
    Integer value;
    std::memcpy(&value, data + i * sizeof(Integer), sizeof(Integer));
    min = std::min(min, value);
    max = std::max(max, value);
    zero += value == 0;
    sum += static_cast<double>(value);
  }
  if (count == 0) return;
  const auto stored = [](uint64_t bits) { return static_cast<Integer>(bits); };
  const auto bits = [](Integer value) { return static_cast<uint64_t>(value); };
  tally.min_integer = tally.values == 0 ? bits(min) : bits(std::min(min, stored(tally.min_integer)));
  tally.max_integer = tally.values == 0 ? bits(max) : bits(std::max(max, stored(tally.max_integer)));
  tally.values += count;
  tally.zero += zero;
  tally.sum += sum;
}

/// What is known of a dtype of 8 or 16 bits: its elements are counted by bit pattern, and each pattern is
/// looked at once.
class SmallDtype {
 public:
  explicit SmallDtype(Dtype dtype) : values_(value_table(dtype)), denormal_(values_.size()) {
    const auto format = float_format(dtype);
    if (!format) return;
    const uint32_t mantissa = (1U << format->mantissa_bits) - 1;
    const uint32_t exponent = ((1U << format->exponent_bits) - 1) << format->mantissa_bits;
    for (uint32_t bits = 0; bits < values_.size(); ++bits)
      denormal_[bits] = (bits & exponent) == 0 && (bits & mantissa) != 0;
  }

  void count(std::span<const std::byte> data, std::vector<uint32_t>& counts) const {
    if (values_.size() == 256) {
      for (const std::byte value : data) ++counts[std::to_integer<uint8_t>(value)];
      return;
    }
    for (size_t i = 0; i + 2 <= data.size(); i += 2) {
      uint16_t value;
      std::memcpy(&value, data.data() + i, 2);
      ++counts[value];
    }
  }

  /// Adds the counts and clears them.
  void add(std::vector<uint32_t>& counts, Tally& tally) const {
    for (uint32_t bits = 0; bits < values_.size(); ++bits) {
      const uint64_t count = std::exchange(counts[bits], 0);
      if (count > 0) add(bits, count, tally);
    }
  }

  /// Adds elements one by one, which is less work than to look at all patterns where there are few.
  void add_each(std::span<const std::byte> data, Tally& tally) const {
    const size_t width = values_.size() == 256 ? 1 : 2;
    for (size_t i = 0; i + width <= data.size(); i += width) {
      uint16_t bits = 0;
      std::memcpy(&bits, data.data() + i, width);
      add(bits, 1, tally);
    }
  }

 private:
  void add(uint32_t bits, uint64_t count, Tally& tally) const {
    const double value = values_[bits];
    tally.values += count;
    if (std::isnan(value)) {
      tally.nan += count;
    } else if (std::isinf(value)) {
      tally.infinite += count;
    } else {
      if (value == 0) tally.zero += count;
      if (denormal_[bits]) tally.denormal += count;
      tally.min = std::min(tally.min, value);
      tally.max = std::max(tally.max, value);
      tally.sum += value * static_cast<double>(count);
    }
  }

  std::vector<double> values_;
  std::vector<char> denormal_;
};

class Scan {
 public:
  Scan(const Checkpoint& checkpoint, const TensorSource& source, const CheckRun& run)
      : checkpoint_(checkpoint), source_(source), run_(run), buffers_(threads_of_run(run)) {
    for (const CheckpointTensor& tensor : checkpoint.tensors) {
      const bool is_small = has_values(tensor.dtype) && value_bytes(tensor.dtype) <= 2;
      if (tensor.described && is_small) small_.try_emplace(tensor.dtype, tensor.dtype);
    }
  }

  std::vector<std::optional<TensorStatistics>> run() {
    const auto bytes_of = [&](size_t i) {
      const CheckpointTensor& tensor = checkpoint_.tensors[i];
      return tensor.described && !tensor.repeats_another() ? tensor.bytes() : 0;
    };
    pieces_ = cut_into_pieces(checkpoint_.tensors.size(), bytes_of);
    results_.resize(checkpoint_.tensors.size());
    run_pieces(pieces_, run_, [&](size_t index, unsigned worker) { read(index, buffers_[worker]); });
    source_.require_unchanged();
    fold();
    return std::move(results_);
  }

 private:
  struct Buffers {
    std::vector<std::byte> block;
    std::vector<uint32_t> counts;
  };

  void read(size_t index, Buffers& buffers) {
    const TensorPiece& piece = pieces_[index];
    Tally tally;
    const Dtype dtype = checkpoint_.tensors[piece.tensor].dtype;
    const auto small = small_.find(dtype);
    constexpr uint64_t kShortBytes = 64 << 10;
    const bool is_short = piece.bytes <= kShortBytes;
    buffers.block.resize(kBlockBytes);
    buffers.counts.resize(size_t{1} << 16);
    PieceReader reader(source_, piece.tensor, piece.first_byte, piece.bytes, gather_slots_);
    for (uint64_t done = 0; done < piece.bytes; done += kBlockBytes) {
      const auto block = std::span(buffers.block).first(std::min(kBlockBytes, piece.bytes - done));
      const uint64_t offset = piece.first_byte + done;
      reader.read(block);
      tally.hash_sum += hash_part(block.data(), block.size(), offset / 8);
      if (small != small_.end()) {
        is_short ? small->second.add_each(block, tally) : small->second.count(block, buffers.counts);
      } else if (has_values(dtype)) {
        count(dtype, block, tally);
      } else {
        tally.min_byte = std::min(tally.min_byte, std::ranges::min(block));
        tally.max_byte = std::max(tally.max_byte, std::ranges::max(block));
      }
    }
    if (small != small_.end() && !is_short) small->second.add(buffers.counts, tally);
    const uint64_t bytes = checkpoint_.tensors[piece.tensor].bytes();
    if (piece.bytes == bytes) {
      results_[piece.tensor] = statistics(dtype, tally, bytes);
      return;
    }
    const std::lock_guard lock(mutex_);
    parts_.emplace(index, tally);
  }

  static void count(Dtype dtype, std::span<const std::byte> block, Tally& tally) {
    const size_t values = block.size() / value_bytes(dtype);
    switch (dtype) {
      case Dtype::f64:
        return count_floats<double, uint64_t>(block.data(), values, tally);
      case Dtype::i32:
        return count_integers<int32_t>(block.data(), values, tally);
      case Dtype::u32:
        return count_integers<uint32_t>(block.data(), values, tally);
      case Dtype::i64:
        return count_integers<int64_t>(block.data(), values, tally);
      case Dtype::u64:
        return count_integers<uint64_t>(block.data(), values, tally);
      default:
        return count_floats<float, uint32_t>(block.data(), values, tally);
    }
  }

  static bool is_wide_integer(Dtype dtype) {
    return dtype == Dtype::i32 || dtype == Dtype::u32 || dtype == Dtype::i64 || dtype == Dtype::u64;
  }

  static bool is_float(Dtype dtype) { return dtype_info(dtype).is_float || dtype == Dtype::c64; }

  static void append(Dtype dtype, const Tally& piece, Tally& tally) {
    if (is_wide_integer(dtype)) {
      const auto less = [&](uint64_t a, uint64_t b) {
        return dtype == Dtype::i64 || dtype == Dtype::i32 ? static_cast<int64_t>(a) < static_cast<int64_t>(b)
                                                          : a < b;
      };
      const bool is_first = tally.values == 0;
      if (is_first || less(piece.min_integer, tally.min_integer)) tally.min_integer = piece.min_integer;
      if (is_first || less(tally.max_integer, piece.max_integer)) tally.max_integer = piece.max_integer;
    }
    tally.values += piece.values;
    tally.nan += piece.nan;
    tally.infinite += piece.infinite;
    tally.denormal += piece.denormal;
    tally.zero += piece.zero;
    tally.min = std::min(tally.min, piece.min);
    tally.max = std::max(tally.max, piece.max);
    tally.sum += piece.sum;
    tally.hash_sum += piece.hash_sum;
    tally.min_byte = std::min(tally.min_byte, piece.min_byte);
    tally.max_byte = std::max(tally.max_byte, piece.max_byte);
  }

  static TensorStatistics statistics(Dtype dtype, const Tally& tally, uint64_t bytes) {
    TensorStatistics result{.decoded = has_values(dtype),
                            .values = tally.values,
                            .nan = tally.nan,
                            .infinite = tally.infinite,
                            .denormal = tally.denormal,
                            .zero = tally.zero,
                            .hash = hash_of_sum(tally.hash_sum, bytes)};
    if (!result.decoded) result.constant = bytes > 0 && tally.min_byte == tally.max_byte;
    if (tally.finite() == 0) return result;
    result.mean = tally.sum / static_cast<double>(tally.finite());
    if (dtype == Dtype::u64) {
      result.min = tally.min_integer;
      result.max = tally.max_integer;
    } else if (is_wide_integer(dtype)) {
      result.min = static_cast<int64_t>(tally.min_integer);
      result.max = static_cast<int64_t>(tally.max_integer);
    } else if (is_float(dtype)) {
      result.min = tally.min;
      result.max = tally.max;
    } else {
      result.min = static_cast<int64_t>(tally.min);
      result.max = static_cast<int64_t>(tally.max);
    }
    result.constant = tally.finite() == tally.values && result.min == result.max;
    return result;
  }

  /// Puts the parts of large tensors together, and what was not read.
  void fold() {
    for (auto part = parts_.begin(); part != parts_.end();) {
      const uint32_t tensor = pieces_[part->first].tensor;
      const CheckpointTensor& described = checkpoint_.tensors[tensor];
      Tally tally;
      for (; part != parts_.end() && pieces_[part->first].tensor == tensor; ++part)
        append(described.dtype, part->second, tally);
      results_[tensor] = statistics(described.dtype, tally, described.bytes());
    }
    for (uint32_t i = 0; i < results_.size(); ++i) {
      const CheckpointTensor& tensor = checkpoint_.tensors[i];
      if (!tensor.described || tensor.unreadable) continue;
      if (tensor.repeats_another()) {
        results_[i] = results_[tensor.view->same_as];
      } else if (!results_[i]) {
        results_[i] = statistics(tensor.dtype, {}, tensor.bytes());
      }
    }
  }

  const Checkpoint& checkpoint_;
  const TensorSource& source_;
  const CheckRun& run_;
  std::map<Dtype, SmallDtype> small_;
  std::vector<TensorPiece> pieces_;
  std::vector<std::optional<TensorStatistics>> results_;  ///< by tensor
  std::mutex mutex_;                                      ///< of parts_
  std::map<size_t, Tally> parts_;                         ///< by piece, of tensors that are several pieces
  std::vector<Buffers> buffers_;
  PieceReader::Slots gather_slots_{PieceReader::kMostGathering};
};

}  // namespace

std::vector<std::optional<TensorStatistics>> scan_tensors(const Checkpoint& checkpoint,
                                                          const TensorSource& source, const CheckRun& run) {
  return Scan(checkpoint, source, run).run();
}

}  // namespace hfload
