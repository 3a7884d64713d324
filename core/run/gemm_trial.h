#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernels/gemm_case.h"

namespace hfload {

/// A size that checks of matrix products try.
struct GemmTrialSize {
  int64_t m, n, k, batch, pad;
};

/// A product to be checked. Exact ones are of small whole numbers, whose result must be the reference's bits.
struct GemmTrial {
  GemmCase::Shape shape;
  bool exact = false;
};

/// Every size in all dtypes and epilogues, with alpha and beta that walk past the epilogues from size to
/// size; those that can be exact twice. Sizes of more than `most_multiplications` are left out.
std::vector<GemmTrial> gemm_trials(std::span<const GemmTrialSize> sizes, int64_t most_multiplications);

/// What comparing a result with the reference found.
struct GemmVerdict {
  uint64_t elements = 0;  ///< compared
  double worst = 0;       ///< greatest error as a part of its bound
  std::string fault;      ///< what is wrong; empty: nothing
};

/// A product's operands on the host and what its result should be.
class GemmExpectation {
 public:
  /// At most `most_elements` are compared, besides the corners: the reference is slow.
  explicit GemmExpectation(const GemmTrial& trial, uint64_t most_elements = 2000);

  /// C poisoned where beta is 0.
  const GemmCase& before() const { return before_; }
  /// Compares `result`, of the same shape: every element of a small product; of a large one its corners and a
  /// random sample.
  GemmVerdict judge(const GemmCase& result) const;

 private:
  struct Element {
    int64_t entry, row, column;
    double value, bound;
  };

  bool exact_;
  GemmCase before_;
  std::vector<Element> elements_;
};

/// "3x5x7 batch 1 none alpha 1 beta 0".
std::string describe_trial(const GemmCase::Shape& shape);

}  // namespace hfload
