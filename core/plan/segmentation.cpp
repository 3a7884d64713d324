#include "core/plan/segmentation.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <numeric>

namespace hfload {
namespace {

class Segmenter {
 public:
  explicit Segmenter(const SegmentationProblem& problem)
      : problem_(problem), pieces_(problem.piece_bytes.size()), gpus_(problem.gpu_budgets.size()) {
    sums_.resize(pieces_ + 1);
    std::partial_sum(problem.piece_bytes.begin(), problem.piece_bytes.end(), sums_.begin() + 1);
    cpu_sums_.resize(pieces_ + 1);
    std::partial_sum(problem.cpu_piece_bytes.begin(), problem.cpu_piece_bytes.end(), cpu_sums_.begin() + 1);
    largest_after_.resize(pieces_ + 1);
    for (size_t i = pieces_; i-- > 0;) {
      largest_after_[i] = {problem.layer_bytes[i], i};
      if (i + 1 < pieces_ && largest_after_[i + 1].bytes > problem.layer_bytes[i])
        largest_after_[i] = largest_after_[i + 1];
    }
  }

  Segmentation run() {
    const auto [gpus_end, cpu_end] = choose_ends();
    Segmentation best;
    best.gpu_reserve = largest_after_[gpus_end];
    best.cpu_reserve = largest_after_[cpu_end];
    best.ends = divide(gpus_end);
    best.ends.push_back(cpu_end);
    return best;
  }

 private:
  struct Ends {
    size_t gpus = 0, cpu = 0;
  };

  /// The fewest bytes on the disk, then on the CPU. More pieces on the GPUs only make room on the CPU, so for
  /// each end of the CPU's run the last possible end of the GPUs' is the one to try.
  Ends choose_ends() const {
    const std::vector<size_t> gpus_ends = last_gpus_ends();
    for (size_t end = pieces_;; --end) {
      const size_t gpus_end = gpus_ends[end];
      if (gpus_end == end) return {end, end};
      if (cpu_sums_[end] - cpu_sums_[gpus_end] + largest_after_[end].bytes <= problem_.cpu_budget)
        return {gpus_end, end};
    }
  }

  /// For each number of pieces, the most of them that the GPUs can hold when all others are elsewhere.
  /// Holding more takes less room for layers from elsewhere, so this is not simply all up to a limit.
  std::vector<size_t> last_gpus_ends() const {
    // reach[g][p]: how far GPU g and those after it come from piece p.
    std::vector<std::vector<size_t>> reach(gpus_ + 1);
    reach[gpus_].resize(pieces_ + 1);
    std::iota(reach[gpus_].begin(), reach[gpus_].end(), size_t{0});
    for (size_t g = gpus_; g-- > 0;) {
      reach[g].resize(pieces_ + 1);
      size_t end = 0;
      for (size_t p = 0; p <= pieces_; ++p) {
        end = std::max(end, p);
        while (end < pieces_ && sums_[end + 1] - sums_[p] <= problem_.gpu_budgets[g]) ++end;
        reach[g][p] = reach[g + 1][end];
      }
    }
    std::vector<size_t> last(pieces_ + 1);
    std::vector<size_t> first_run(gpus_);  // of GPU g where it is the first that holds anything
    for (size_t end = 1; end <= pieces_; ++end) {
      last[end] = last[end - 1];
      for (size_t g = 0; g < gpus_; ++g) {
        const double room = problem_.gpu_budgets[g] - largest_after_[end].bytes;
        while (first_run[g] < pieces_ && sums_[first_run[g] + 1] <= room) ++first_run[g];
        if (first_run[g] > 0 && reach[g + 1][first_run[g]] >= end) last[end] = end;
      }
    }
    return last;
  }

  /// How far GPU `g` comes from piece `begin` with `room` bytes, filled up to `share` of its budget.
  size_t furthest(size_t begin, size_t g, double room, double share) const {
    const double budget = problem_.gpu_budgets[g];
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
    for (size_t g = first; g < gpus_; ++g) {
      for (size_t n = most; n >= 1; --n)
        reach[n] = std::max(reach[n], run_end(g, reach[n - 1], reserve, share));
    }
    return reach;
  }

  /// How far GPU `g` comes from piece `begin`; from the first piece on, it is the first to hold anything.
  size_t run_end(size_t g, size_t begin, double reserve, double share) const {
    const double budget = problem_.gpu_budgets[g];
    return furthest(begin, g, begin == 0 ? budget - reserve : budget, share);
  }

  /// Ends of the GPUs' runs that together have the first `end` pieces.
  std::vector<size_t> divide(size_t end) const {
    std::vector<size_t> ends(gpus_);
    if (end == 0) return ends;
    const double reserve = largest_after_[end].bytes;
    const std::vector<size_t> reach = reach_by_count(0, 0, gpus_, reserve, 1);
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
    for (size_t g = 0; g < gpus_; ++g) {
      const size_t next = count > 0 ? std::min(run_end(g, begin, reserve, share), end) : begin;
      if (next > begin && reach_by_count(g + 1, next, count - 1, reserve, share)[count - 1] >= end) {
        begin = next;
        --count;
      }
      ends[g] = begin;
    }
    return ends;
  }

  const SegmentationProblem& problem_;
  const size_t pieces_, gpus_;
  std::vector<double> sums_;                        ///< of the pieces before each
  std::vector<double> cpu_sums_;                    ///< the same, of what they take on the CPU
  std::vector<SegmentationReserve> largest_after_;  ///< the largest layer from each piece on
};

}  // namespace

Segmentation segment(const SegmentationProblem& problem) { return Segmenter(problem).run(); }

}  // namespace hfload
