#include "core/check/copies.h"

#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <string>
#include <string_view>

#include "core/check/element_values.h"
#include "core/model/findings.h"

namespace hfload {
namespace {

constexpr size_t kBlockValues = 32 << 10;

/// Whether two numbers are one, as a dtype of so many mantissa bits has it that is rounded to either way.
struct Nearness {
  double relative = 0, absolute = 0;

  bool are_equal(double a, double b) const {
    if (a == b || (std::isnan(a) && std::isnan(b))) return true;
    if (!std::isfinite(a) || !std::isfinite(b)) return false;
    return std::abs(a - b) <= std::max(relative * std::max(std::abs(a), std::abs(b)), absolute);
  }
};

Nearness nearness_of(Dtype a, Dtype b) {
  const auto first = float_format(a), second = float_format(b);
  if (!first || !second) return {};
  Nearness near;
  for (const FloatFormat& format : {*first, *second}) {
    const int bits = static_cast<int>(format.mantissa_bits);
    near.relative = std::max(near.relative, std::ldexp(1.0, -bits));
    near.absolute = std::max(near.absolute, std::ldexp(1.0, 1 - format.bias - bits));  // smallest denormal
  }
  return near;
}

/// Reads two tensors of one shape beside one another.
class PairReader {
 public:
  PairReader(const Checkpoint& checkpoint, const TensorSource& source)
      : checkpoint_(checkpoint), source_(source) {}

  bool are_equal(const SavedCopy& copy, const TensorPiece& piece) {
    const Dtype dtype = checkpoint_.tensors[copy.dropped].dtype;
    const Dtype other = checkpoint_.tensors[copy.loaded].dtype;
    return dtype == other ? are_equal_bytes(copy, piece) : are_equal_values(copy, piece, dtype, other);
  }

 private:
  bool are_equal_bytes(const SavedCopy& copy, const TensorPiece& piece) {
    constexpr uint64_t kBlockBytes = 256 << 10;
    std::vector<std::byte> a(std::min(kBlockBytes, piece.bytes)), b(a.size());
    PieceReader reader_a(source_, copy.dropped, piece.first_byte, piece.bytes, slots_a_);
    PieceReader reader_b(source_, copy.loaded, piece.first_byte, piece.bytes, slots_b_);
    for (uint64_t done = 0; done < piece.bytes; done += a.size()) {
      a.resize(std::min<uint64_t>(a.size(), piece.bytes - done));
      b.resize(a.size());
      reader_a.read(a);
      reader_b.read(b);
      if (a != b) return false;
    }
    return true;
  }

  bool are_equal_values(const SavedCopy& copy, const TensorPiece& piece, Dtype dtype, Dtype other) {
    const ValueDecoder decode_a(dtype), decode_b(other);
    const Nearness near = nearness_of(dtype, other);
    const uint64_t width_a = value_bytes(dtype), width_b = value_bytes(other);
    const uint64_t first = piece.first_byte / width_a, count = piece.bytes / width_a;
    std::vector<std::byte> bytes_a, bytes_b;
    std::vector<double> a, b;
    PieceReader reader_a(source_, copy.dropped, first * width_a, count * width_a, slots_a_);
    PieceReader reader_b(source_, copy.loaded, first * width_b, count * width_b, slots_b_);
    for (uint64_t done = 0; done < count; done += kBlockValues) {
      const size_t values = std::min<uint64_t>(kBlockValues, count - done);
      bytes_a.resize(values * width_a);
      bytes_b.resize(values * width_b);
      a.resize(values);
      b.resize(values);
      reader_a.read(bytes_a);
      reader_b.read(bytes_b);
      decode_a.decode(bytes_a, a);
      decode_b.decode(bytes_b, b);
      const auto equal = [&](double x, double y) { return near.are_equal(x, y); };
      if (!std::ranges::equal(a, b, equal)) return false;
    }
    return true;
  }

  const Checkpoint& checkpoint_;
  const TensorSource& source_;
  /// Of one each for one side, as a thread that held one of them could wait for another for ever.
  PieceReader::Slots slots_a_{PieceReader::kMostGathering}, slots_b_{PieceReader::kMostGathering};
};

/// Whether the two can be compared value by value: undecoded and complex dtypes only with themselves.
bool are_comparable(const CheckpointTensor& a, const CheckpointTensor& b) {
  if (a.dtype_name() == b.dtype_name()) return true;
  return has_values(a.dtype) && has_values(b.dtype) && a.dtype != Dtype::c64 && b.dtype != Dtype::c64;
}

Finding tied_weights_differ(const Checkpoint& checkpoint, const std::vector<SavedCopy>& copies) {
  const std::string_view loaded = checkpoint.tensors[copies.front().loaded].name;
  const std::string_view dropped = checkpoint.tensors[copies.front().dropped].name;
  std::vector<std::string> names;
  for (const SavedCopy& copy : copies) names.push_back(checkpoint.tensors[copy.dropped].name.str());
  std::ranges::sort(names);
  const bool one = copies.size() == 1;
  const std::string message = fmt::format(
      "{} tied to another one, and the checkpoint holds other values for {}: {} is dropped, and {} is loaded "
      "in its place",
      one ? "1 tensor is" : fmt::format("{} tensors are", copies.size()), one ? "it" : "them", dropped,
      loaded);
  return {"tied_weights_differ", message, std::move(names),
          "Where both were trained, set tie_word_embeddings to false in config.json; else remove the tensor "
          "that is wrong."};
}

}  // namespace

std::vector<SavedCopy> find_differing_copies(const Checkpoint& checkpoint, const TensorSource& source,
                                             const std::vector<SavedCopy>& copies, const CheckRun& run) {
  std::vector<std::atomic<bool>> differ(copies.size());
  std::vector<uint64_t> bytes(copies.size());  // to be read
  for (size_t i = 0; i < copies.size(); ++i) {
    const SavedCopy& copy = copies[i];
    const CheckpointTensor &loaded = checkpoint.tensors[copy.loaded],
                           &dropped = checkpoint.tensors[copy.dropped];
    const bool is_known = !loaded.described || !dropped.described ||
                          loaded.first_tied(copy.loaded) == dropped.first_tied(copy.dropped);
    if (is_known) continue;
    differ[i] = loaded.shape != dropped.shape || !are_comparable(loaded, dropped);
    if (!differ[i]) bytes[i] = dropped.bytes();
  }
  const std::vector<TensorPiece> pieces = cut_into_pieces(bytes.size(), [&](size_t i) { return bytes[i]; });
  PairReader reader(checkpoint, source);
  run_pieces(pieces, run, [&](size_t index, unsigned) {
    const uint32_t pair = pieces[index].tensor;
    if (!differ[pair] && !reader.are_equal(copies[pair], pieces[index])) differ[pair] = true;
  });
  source.require_unchanged();
  std::vector<SavedCopy> found;
  for (size_t i = 0; i < copies.size(); ++i) {
    if (differ[i]) found.push_back(copies[i]);
  }
  return found;
}

std::vector<Finding> check_copies(const Checkpoint& checkpoint, const TensorSource& source,
                                  const std::vector<SavedCopy>& copies,
                                  const std::vector<std::optional<TensorStatistics>>& statistics,
                                  const CheckRun& run) {
  std::vector<SavedCopy> differing, unknown;
  std::vector<std::string> equal;
  for (const SavedCopy& copy : copies) {
    const auto &loaded = statistics[copy.loaded], &dropped = statistics[copy.dropped];
    const bool is_one_dtype =
        checkpoint.tensors[copy.loaded].dtype_name() == checkpoint.tensors[copy.dropped].dtype_name();
    if (loaded && dropped && !is_one_dtype) {
      unknown.push_back(copy);
    } else if (loaded && dropped && loaded->hash != dropped->hash) {
      differing.push_back(copy);
    }
  }
  for (const SavedCopy& copy : find_differing_copies(checkpoint, source, unknown, run))
    differing.push_back(copy);
  std::ranges::sort(differing, {}, &SavedCopy::dropped);
  for (const SavedCopy& copy : copies) {
    const bool differs = std::ranges::binary_search(differing, copy.dropped, {}, &SavedCopy::dropped);
    if (!differs) equal.push_back(checkpoint.tensors[copy.dropped].name.str());
  }
  std::vector<Finding> findings;
  if (!differing.empty()) findings.push_back(tied_weights_differ(checkpoint, differing));
  if (!equal.empty()) findings.push_back(tied_weights_saved(std::move(equal)));
  return findings;
}

}  // namespace hfload
