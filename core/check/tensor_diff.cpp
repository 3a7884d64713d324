#include "core/check/tensor_diff.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <mutex>
#include <string_view>
#include <unordered_map>

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
    std::vector<uint64_t> bytes;
    for (const TensorDifference& pair : result_.common)
      bytes.push_back(pair.same_shape ? a_.tensors[pair.a].bytes() : 0);
    pieces_ = cut_into_pieces(bytes);
    tallies_.resize(pieces_.size());
    run_pieces(pieces_, run_, [&](size_t index, unsigned worker) { compare(index, buffers_[worker]); });
    source_a_.require_unchanged();
    source_b_.require_unchanged();
    fold();
    return std::move(result_);
  }

 private:
  struct Buffers {
    std::vector<std::byte> bytes_a, bytes_b;
    std::vector<double> a = std::vector<double>(kBlockValues), b = a;
  };

  void match() {
    std::unordered_map<std::string_view, uint32_t> names;
    for (uint32_t i = 0; i < b_.tensors.size(); ++i) names.emplace(b_.tensors[i].name, i);
    for (uint32_t i = 0; i < a_.tensors.size(); ++i) {
      const auto found = names.find(a_.tensors[i].name);
      if (found == names.end()) {
        result_.only_a.push_back(i);
        continue;
      }
      const CheckpointTensor& a = a_.tensors[i];
      const CheckpointTensor& b = b_.tensors[found->second];
      TensorDifference& pair = result_.common.emplace_back();
      pair.a = i;
      pair.b = found->second;
      // Dtypes that are not decoded are compared as bytes, and so only with themselves.
      const bool is_decoded = has_values(a.dtype) && has_values(b.dtype);
      const bool is_complex_pair = (a.dtype == Dtype::c64) == (b.dtype == Dtype::c64);
      pair.same_shape = a.shape == b.shape && is_complex_pair && (is_decoded || a.dtype_name == b.dtype_name);
      if (pair.same_shape && a.dtype == b.dtype && float_format(a.dtype)) pair.ulps.emplace();
      names.erase(found);
    }
    for (uint32_t i = 0; i < b_.tensors.size(); ++i) {
      if (names.contains(b_.tensors[i].name)) result_.only_b.push_back(i);
    }
  }

  void compare(size_t index, Buffers& buffers) {
    const TensorPiece& piece = pieces_[index];
    const TensorDifference& pair = result_.common[piece.tensor];
    const Dtype dtype_a = a_.tensors[pair.a].dtype, dtype_b = b_.tensors[pair.b].dtype;
    Tally tally;
    std::array<uint64_t, 66> ulps{};
    if (!has_values(dtype_a)) {
      compare_bytes(piece, pair, buffers, tally);
    } else {
      const ValueDecoder decode_a(dtype_a), decode_b(dtype_b);
      const uint64_t width_a = value_bytes(dtype_a), width_b = value_bytes(dtype_b);
      const uint64_t first = piece.first_byte / width_a, count = piece.bytes / width_a;
      for (uint64_t done = 0; done < count; done += kBlockValues) {
        const size_t values = std::min<uint64_t>(kBlockValues, count - done);
        buffers.bytes_a.resize(values * width_a);
        buffers.bytes_b.resize(values * width_b);
        source_a_.read(pair.a, (first + done) * width_a, buffers.bytes_a);
        source_b_.read(pair.b, (first + done) * width_b, buffers.bytes_b);
        decode_a.decode(buffers.bytes_a, std::span(buffers.a).first(values));
        decode_b.decode(buffers.bytes_b, std::span(buffers.b).first(values));
        compare_values(buffers, values, dtype_a, dtype_b, tally, ulps);
      }
    }
    tallies_[index] = tally;
    if (!pair.ulps) return;
    const std::lock_guard lock(mutex_);
    auto& all = *result_.common[piece.tensor].ulps;
    for (size_t i = 0; i < ulps.size(); ++i) all[i] += ulps[i];
  }

  void compare_bytes(const TensorPiece& piece, const TensorDifference& pair, Buffers& buffers,
                     Tally& tally) const {
    for (uint64_t done = 0; done < piece.bytes; done += kBlockValues) {
      const size_t bytes = std::min<uint64_t>(kBlockValues, piece.bytes - done);
      buffers.bytes_a.resize(bytes);
      buffers.bytes_b.resize(bytes);
      source_a_.read(pair.a, piece.first_byte + done, buffers.bytes_a);
      source_b_.read(pair.b, piece.first_byte + done, buffers.bytes_b);
      for (size_t i = 0; i < bytes; ++i) tally.differing += buffers.bytes_a[i] != buffers.bytes_b[i];
    }
    // There are no numbers to be near one another.
    if (tally.differing > 0) tally.max_absolute = INFINITY;
  }

  static void compare_values(const Buffers& buffers, size_t count, Dtype dtype_a, Dtype dtype_b, Tally& tally,
                             std::array<uint64_t, 66>& ulps) {
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

  void fold() {
    size_t next = 0;
    for (uint32_t i = 0; i < result_.common.size(); ++i) {
      TensorDifference& pair = result_.common[i];
      const CheckpointTensor& tensor = a_.tensors[pair.a];
      Tally sum;
      for (; next < pieces_.size() && pieces_[next].tensor == i; ++next) {
        const Tally& piece = tallies_[next];
        pair.differing += piece.differing;
        pair.nan_mismatches += piece.nan_mismatches;
        pair.max_absolute = std::max(pair.max_absolute, piece.max_absolute);
        pair.max_relative = std::max(pair.max_relative, piece.max_relative);
        sum.dot += piece.dot;
        sum.norm_a += piece.norm_a;
        sum.norm_b += piece.norm_b;
      }
      if (!pair.same_shape) continue;
      pair.values = has_values(tensor.dtype) ? tensor.bytes() / value_bytes(tensor.dtype) : tensor.bytes();
      const double norm = std::sqrt(sum.norm_a) * std::sqrt(sum.norm_b);
      if (norm > 0 && std::isfinite(norm) && std::isfinite(sum.dot))
        pair.cosine = std::clamp(sum.dot / norm, -1.0, 1.0);
    }
  }

  const Checkpoint& a_;
  const Checkpoint& b_;
  const TensorSource& source_a_;
  const TensorSource& source_b_;
  const CheckRun& run_;
  CheckpointDifference result_;
  std::vector<TensorPiece> pieces_;  ///< of which `tensor` is the pair
  std::vector<Tally> tallies_;
  std::vector<Buffers> buffers_;
  std::mutex mutex_;  ///< of the histograms
};

}  // namespace

CheckpointDifference diff_checkpoints(const Checkpoint& a, const TensorSource& source_a, const Checkpoint& b,
                                      const TensorSource& source_b, const CheckRun& run) {
  return Comparison(a, source_a, b, source_b, run).run();
}

}  // namespace hfload
