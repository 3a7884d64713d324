#include "core/check/tensor_diff.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <mutex>
#include <numeric>

#include "core/check/element_values.h"

namespace hfload {
namespace {

constexpr size_t kBlockValues = 32 << 10;

struct Tally {
  uint64_t differing = 0, nan_mismatches = 0;
  double max_absolute = 0, max_relative = 0;
  double dot = 0, norm_a = 0, norm_b = 0;
};

/// Numbers of a float dtype in ascending order of their values; -0 and 0 are one.
int64_t ordinal(uint64_t bits, unsigned width) {
  const uint64_t sign = uint64_t{1} << (width - 1);
  const auto magnitude = static_cast<int64_t>(bits & (sign - 1));
  return (bits & sign) != 0 ? -magnitude : magnitude;
}

size_t ulp_bucket(uint64_t distance) {
  return distance == 0 ? 0 : 1 + static_cast<size_t>(std::bit_width(distance - 1));
}

uint64_t bits_at(std::span<const std::byte> data, size_t index, unsigned bytes) {
  uint64_t bits = 0;
  std::memcpy(&bits, data.data() + index * bytes, bytes);
  return bits;
}

double integer_distance(uint64_t a, uint64_t b, bool is_signed) {
  const bool less = is_signed ? static_cast<int64_t>(a) < static_cast<int64_t>(b) : a < b;
  return static_cast<double>(less ? b - a : a - b);
}

class Comparison {
 public:
  Comparison(const Checkpoint& a, const TensorSource& source_a, const Checkpoint& b,
             const TensorSource& source_b, const CheckRun& run)
      : a_(a), b_(b), source_a_(source_a), source_b_(source_b), run_(run), buffers_(threads_of_run(run)) {}

  CheckpointDifference run() {
    match();
    const auto bytes_of = [&](size_t i) {
      const TensorDifference& pair = result_.common[i];
      return pair.same_shape ? a_.tensors[pair.a].bytes() : 0;
    };
    pieces_ = cut_into_pieces(result_.common.size(), bytes_of);
    run_pieces(pieces_, run_, [&](size_t index, unsigned worker) { compare(index, buffers_[worker]); });
    source_a_.require_unchanged();
    source_b_.require_unchanged();
    fold_parts();
    return std::move(result_);
  }

 private:
  struct Buffers {
    std::vector<std::byte> bytes_a, bytes_b;
    std::vector<double> a = std::vector<double>(kBlockValues), b = a;
  };

  void match() {
    // Sorted and not hashed: a tenth of the memory.
    std::vector<uint32_t> by_name(b_.tensors.size());
    std::iota(by_name.begin(), by_name.end(), 0U);
    const auto name_of = [&](uint32_t i) { return b_.tensors[i].name.view(); };
    std::ranges::stable_sort(by_name, {}, name_of);
    std::vector<bool> is_matched(b_.tensors.size(), false);
    result_.common.reserve(std::min(a_.tensors.size(), b_.tensors.size()));
    for (uint32_t i = 0; i < a_.tensors.size(); ++i) {
      const auto found = std::ranges::lower_bound(by_name, a_.tensors[i].name.view(), {}, name_of);
      if (found == by_name.end() || name_of(*found) != a_.tensors[i].name.view() || is_matched[*found]) {
        result_.only_a.push_back(i);
        continue;
      }
      is_matched[*found] = true;
      const CheckpointTensor& a = a_.tensors[i];
      const CheckpointTensor& b = b_.tensors[*found];
      TensorDifference& pair = result_.common.emplace_back();
      pair.a = i;
      pair.b = *found;
      // Dtypes that are not decoded are compared as bytes, and so only with themselves.
      const bool is_decoded = has_values(a.dtype) && has_values(b.dtype);
      const bool is_complex_pair = (a.dtype == Dtype::c64) == (b.dtype == Dtype::c64);
      pair.same_shape =
          a.shape == b.shape && is_complex_pair && (is_decoded || a.dtype_name() == b.dtype_name());
      pair.has_ulps = pair.same_shape && a.dtype == b.dtype && float_format(a.dtype);
      if (pair.same_shape) pair.values = has_values(a.dtype) ? a.bytes() / value_bytes(a.dtype) : a.bytes();
      for (const Dtype dtype : {a.dtype, b.dtype}) {
        if (has_values(dtype)) decoders_.try_emplace(dtype, dtype);
      }
    }
    for (uint32_t i = 0; i < b_.tensors.size(); ++i) {
      if (!is_matched[i]) result_.only_b.push_back(i);
    }
  }

  void compare(size_t index, Buffers& buffers) {
    const TensorPiece& piece = pieces_[index];
    const TensorDifference& pair = result_.common[piece.tensor];
    const Dtype dtype_a = a_.tensors[pair.a].dtype, dtype_b = b_.tensors[pair.b].dtype;
    Tally tally;
    UlpHistogram ulps{};
    if (!has_values(dtype_a)) {
      compare_bytes(piece, pair, buffers, tally);
    } else {
      const ValueDecoder& decode_a = decoders_.at(dtype_a);
      const ValueDecoder& decode_b = decoders_.at(dtype_b);
      const uint64_t width_a = value_bytes(dtype_a), width_b = value_bytes(dtype_b);
      const uint64_t first = piece.first_byte / width_a, count = piece.bytes / width_a;
      PieceReader reader_a(source_a_, pair.a, first * width_a, count * width_a, slots_a_);
      PieceReader reader_b(source_b_, pair.b, first * width_b, count * width_b, slots_b_);
      for (uint64_t done = 0; done < count; done += kBlockValues) {
        const size_t values = std::min<uint64_t>(kBlockValues, count - done);
        buffers.bytes_a.resize(values * width_a);
        buffers.bytes_b.resize(values * width_b);
        reader_a.read(buffers.bytes_a);
        reader_b.read(buffers.bytes_b);
        decode_a.decode(buffers.bytes_a, std::span(buffers.a).first(values));
        decode_b.decode(buffers.bytes_b, std::span(buffers.b).first(values));
        compare_values(buffers, values, dtype_a, dtype_b, tally, ulps);
      }
    }
    const std::lock_guard lock(mutex_);
    add_ulps(ulps, result_.common[piece.tensor]);
    if (piece.bytes == a_.tensors[pair.a].bytes()) {
      finish(tally, result_.common[piece.tensor]);
    } else {
      parts_.emplace(index, tally);
    }
  }

  static void add_ulps(const UlpHistogram& counts, TensorDifference& pair) {
    pair.zero_ulps += counts[0];
    const bool is_near = std::all_of(counts.begin() + 1, counts.end(), [](uint64_t n) { return n == 0; });
    if (is_near) return;
    if (!pair.ulps) pair.ulps.emplace();
    for (size_t k = 1; k < counts.size(); ++k) (*pair.ulps)[k] += counts[k];
  }

  void compare_bytes(const TensorPiece& piece, const TensorDifference& pair, Buffers& buffers, Tally& tally) {
    PieceReader reader_a(source_a_, pair.a, piece.first_byte, piece.bytes, slots_a_);
    PieceReader reader_b(source_b_, pair.b, piece.first_byte, piece.bytes, slots_b_);
    for (uint64_t done = 0; done < piece.bytes; done += kBlockValues) {
      const size_t bytes = std::min<uint64_t>(kBlockValues, piece.bytes - done);
      buffers.bytes_a.resize(bytes);
      buffers.bytes_b.resize(bytes);
      reader_a.read(buffers.bytes_a);
      reader_b.read(buffers.bytes_b);
      for (size_t i = 0; i < bytes; ++i) tally.differing += buffers.bytes_a[i] != buffers.bytes_b[i];
    }
    // There are no numbers to be near one another.
    if (tally.differing > 0) tally.max_absolute = INFINITY;
  }

  static void compare_values(const Buffers& buffers, size_t count, Dtype dtype_a, Dtype dtype_b, Tally& tally,
                             UlpHistogram& ulps) {
    const bool same = dtype_a == dtype_b, has_ulps = same && float_format(dtype_a).has_value();
    const bool is_wide = same && (dtype_a == Dtype::i64 || dtype_a == Dtype::u64);
    const unsigned width = value_bytes(dtype_a);
    const bool all_equal = same && buffers.bytes_a == buffers.bytes_b;
    for (size_t i = 0; i < count; ++i) {
      const double a = buffers.a[i], b = buffers.b[i];
      const bool nan_a = std::isnan(a), nan_b = std::isnan(b);
      const bool has_nan = nan_a || nan_b;
      if (std::isfinite(a) && std::isfinite(b)) {
        tally.dot += a * b;
        tally.norm_a += a * a;
        tally.norm_b += b * b;
      }
      if (all_equal) {
        if (!has_nan) ++ulps[0];
        continue;
      }
      const uint64_t bits_a = same ? bits_at(buffers.bytes_a, i, width) : std::bit_cast<uint64_t>(a);
      const uint64_t bits_b = same ? bits_at(buffers.bytes_b, i, width) : std::bit_cast<uint64_t>(b);
      if (bits_a != bits_b && (same || !(nan_a && nan_b))) ++tally.differing;
      if (has_nan) {
        tally.nan_mismatches += nan_a != nan_b;
        continue;
      }
      if (has_ulps) {
        const int64_t one = ordinal(bits_a, 8 * width), other = ordinal(bits_b, 8 * width);
        const uint64_t distance = one < other ? static_cast<uint64_t>(other) - static_cast<uint64_t>(one)
                                              : static_cast<uint64_t>(one) - static_cast<uint64_t>(other);
        ++ulps[ulp_bucket(distance)];
      }
      const double distance = is_wide  ? integer_distance(bits_a, bits_b, dtype_a == Dtype::i64)
                              : a == b ? 0.0
                                       : std::abs(a - b);
      tally.max_absolute = std::max(tally.max_absolute, distance);
      const double scale = std::max(std::abs(a), std::abs(b));
      if (scale > 0 && std::isfinite(scale))
        tally.max_relative = std::max(tally.max_relative, distance / scale);
    }
  }

  /// Puts the parts of large tensors together, in their order, as sums depend on it.
  void fold_parts() {
    for (auto part = parts_.begin(); part != parts_.end();) {
      const uint32_t tensor = pieces_[part->first].tensor;
      Tally sum;
      for (; part != parts_.end() && pieces_[part->first].tensor == tensor; ++part) {
        const Tally& piece = part->second;
        sum.differing += piece.differing;
        sum.nan_mismatches += piece.nan_mismatches;
        sum.max_absolute = std::max(sum.max_absolute, piece.max_absolute);
        sum.max_relative = std::max(sum.max_relative, piece.max_relative);
        sum.dot += piece.dot;
        sum.norm_a += piece.norm_a;
        sum.norm_b += piece.norm_b;
      }
      finish(sum, result_.common[tensor]);
    }
  }

  static void finish(const Tally& tally, TensorDifference& pair) {
    pair.differing = tally.differing;
    pair.nan_mismatches = tally.nan_mismatches;
    pair.max_absolute = tally.max_absolute;
    pair.max_relative = tally.max_relative;
    const double norm = std::sqrt(tally.norm_a) * std::sqrt(tally.norm_b);
    if (norm > 0 && std::isfinite(norm) && std::isfinite(tally.dot))
      pair.cosine = std::clamp(tally.dot / norm, -1.0, 1.0);
  }

  const Checkpoint& a_;
  const Checkpoint& b_;
  const TensorSource& source_a_;
  const TensorSource& source_b_;
  const CheckRun& run_;
  CheckpointDifference result_;
  std::map<Dtype, ValueDecoder> decoders_;
  std::vector<TensorPiece> pieces_;  ///< of which `tensor` is the pair
  std::vector<Buffers> buffers_;
  PieceReader::Slots slots_a_{PieceReader::kMostGathering}, slots_b_{PieceReader::kMostGathering};
  std::mutex mutex_;               ///< of result_ and parts_
  std::map<size_t, Tally> parts_;  ///< by piece, of tensors that are several pieces
};

}  // namespace

CheckpointDifference diff_checkpoints(const Checkpoint& a, const TensorSource& source_a, const Checkpoint& b,
                                      const TensorSource& source_b, const CheckRun& run) {
  require_readable_tensors(a);
  require_readable_tensors(b);
  return Comparison(a, source_a, b, source_b, run).run();
}

}  // namespace hfload
