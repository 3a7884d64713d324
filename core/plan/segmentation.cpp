#include "core/plan/segmentation.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

namespace hfload {
namespace {

class Segmenter {
 public:
  explicit Segmenter(SegmentationProblem problem)
      : gpu_budgets_(std::move(problem.gpu_budgets)),
        cpu_budget_(problem.cpu_budget),
        pieces_(static_cast<uint32_t>(problem.piece_bytes.size())),
        sums_(sums_before(std::move(problem.piece_bytes))),
        cpu_sums_(sums_before(std::move(problem.cpu_piece_bytes))),
        layer_bytes_(std::move(problem.layer_bytes)),
        largest_from_(pieces_) {
    for (uint32_t i = pieces_; i-- > 0;) {
      largest_from_[i] = i;
      if (i + 1 < pieces_ && layer_bytes_[largest_from_[i + 1]] > layer_bytes_[i])
        largest_from_[i] = largest_from_[i + 1];
    }
  }

  Segmentation run() {
    const auto [gpus_end, cpu_end] = choose_ends();
    Segmentation best;
    best.gpu_reserve = largest_from(gpus_end);
    best.cpu_reserve = largest_from(cpu_end);
    best.ends = divide(gpus_end);
    best.ends.push_back(cpu_end);
    return best;
  }

 private:
  struct Ends {
    uint32_t gpus = 0, cpu = 0;
  };

  /// In the place of the numbers the sums of those before each, and of all.
  static std::vector<double> sums_before(std::vector<double> numbers) {
    std::partial_sum(numbers.begin(), numbers.end(), numbers.begin());
    numbers.insert(numbers.begin(), 0);
    return numbers;
  }

  size_t gpus() const { return gpu_budgets_.size(); }
  /// Of all pieces from this one on.
  SegmentationReserve largest_from(size_t piece) const {
    if (piece == pieces_) return {};
    const uint32_t largest = largest_from_[piece];
    return {layer_bytes_[largest], largest};
  }
  const std::vector<double>& cpu_sums() const { return cpu_sums_.size() == sums_.size() ? cpu_sums_ : sums_; }

  /// The fewest bytes on the disk, then on the CPU. More pieces on the GPUs only make room on the CPU, so for
  /// each end of the CPU's run the last possible end of the GPUs' is the one to try.
  Ends choose_ends() const {
    const std::vector<uint32_t> gpus_ends = last_gpus_ends();
    for (uint32_t end = pieces_;; --end) {
      const uint32_t gpus_end = gpus_ends[end];
      if (gpus_end == end) return {end, end};
      if (cpu_sums()[end] - cpu_sums()[gpus_end] + largest_from(end).bytes <= cpu_budget_)
        return {gpus_end, end};
    }
  }

  /// For each number of pieces, the most of them that the GPUs can hold when all others are elsewhere.
  /// Holding more takes less room for layers from elsewhere, so this is not simply all up to a limit.
  std::vector<uint32_t> last_gpus_ends() const {
    // reach[g][p]: how far GPU g and those after it come from piece p.
    std::vector<std::vector<uint32_t>> reach(gpus() + 1);
    reach[gpus()].resize(gpus() == 0 ? 0 : pieces_ + 1);
    std::iota(reach[gpus()].begin(), reach[gpus()].end(), 0U);
    for (size_t g = gpus(); g-- > 0;) {
      reach[g].resize(pieces_ + 1);
      uint32_t end = 0;
      for (uint32_t p = 0; p <= pieces_; ++p) {
        end = std::max(end, p);
        while (end < pieces_ && sums_[end + 1] - sums_[p] <= gpu_budgets_[g]) ++end;
        reach[g][p] = reach[g + 1][end];
      }
    }
    std::vector<uint32_t> last(pieces_ + 1);
    std::vector<uint32_t> first_run(gpus());  // of GPU g where it is the first that holds anything
    for (uint32_t end = 1; end <= pieces_; ++end) {
      last[end] = last[end - 1];
      for (size_t g = 0; g < gpus(); ++g) {
        const double room = gpu_budgets_[g] - largest_from(end).bytes;
        while (first_run[g] < pieces_ && sums_[first_run[g] + 1] <= room) ++first_run[g];
        if (first_run[g] > 0 && reach[g + 1][first_run[g]] >= end) last[end] = end;
      }
    }
    return last;
  }

  /// How far GPU `g` comes from piece `begin` with `room` bytes, filled up to `share` of its budget.
  size_t furthest(size_t begin, size_t g, double room, double share) const {
    const double budget = gpu_budgets_[g];
    const auto fits = [&](double sum) {
      const double used = sum - sums_[begin];
      return used <= room && used / budget <= share;
    };
    const auto first = sums_.begin() + static_cast<std::ptrdiff_t>(begin) + 1;
    return begin + static_cast<size_t>(std::partition_point(first, sums_.end(), fits) - first);
  }

  /// [n]: how far at most n of the GPUs from `first` on come from piece `begin`.
  std::vector<size_t> reach_by_count(size_t first, size_t begin, size_t most, double reserve,
                                     double share) const {
    std::vector<size_t> reach(most + 1, begin);
    for (size_t g = first; g < gpus(); ++g) {
      for (size_t n = most; n >= 1; --n)
        reach[n] = std::max(reach[n], run_end(g, reach[n - 1], reserve, share));
    }
    return reach;
  }

  /// How far GPU `g` comes from piece `begin`; from the first piece on, it is the first to hold anything.
  size_t run_end(size_t g, size_t begin, double reserve, double share) const {
    const double budget = gpu_budgets_[g];
    return furthest(begin, g, begin == 0 ? budget - reserve : budget, share);
  }

  /// Ends of the GPUs' runs that together have the first `end` pieces.
  std::vector<size_t> divide(size_t end) const {
    std::vector<size_t> ends(gpus());
    if (end == 0) return ends;
    const double reserve = largest_from(end).bytes;
    const std::vector<size_t> reach = reach_by_count(0, 0, gpus(), reserve, 1);
    const auto enough = std::ranges::find_if(reach, [&](size_t furthest_end) { return furthest_end >= end; });
    auto count = static_cast<size_t>(enough - reach.begin());

    // The bits of non-negative doubles are ordered as they are, so halving them finds the smallest share
    // exactly.
    uint64_t too_small = std::bit_cast<uint64_t>(0.0), large_enough = std::bit_cast<uint64_t>(1.0);
    while (large_enough - too_small > 1) {
      const uint64_t middle = too_small + (large_enough - too_small) / 2;
      const bool is_enough =
          reach_by_count(0, 0, count, reserve, std::bit_cast<double>(middle))[count] >= end;
      (is_enough ? large_enough : too_small) = middle;
    }
    const auto share = std::bit_cast<double>(large_enough);
    size_t begin = 0;
    for (size_t g = 0; g < gpus(); ++g) {
      const size_t next = count > 0 ? std::min(run_end(g, begin, reserve, share), end) : begin;
      if (next > begin && reach_by_count(g + 1, next, count - 1, reserve, share)[count - 1] >= end) {
        begin = next;
        --count;
      }
      ends[g] = begin;
    }
    return ends;
  }

  const std::vector<double> gpu_budgets_;
  const double cpu_budget_;
  const uint32_t pieces_;
  const std::vector<double> sums_;  ///< of the pieces before each, and of all
  const std::vector<double>
      cpu_sums_;  ///< the same, of what they take on the CPU; 0 alone where it is the same
  const std::vector<double> layer_bytes_;
  std::vector<uint32_t> largest_from_;  ///< the piece with the largest layer from each on
};

}  // namespace

Segmentation segment(SegmentationProblem problem) { return Segmenter(std::move(problem)).run(); }

}  // namespace hfload
