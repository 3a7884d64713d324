#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/gemm_few_rows.h"

// The product of a few rows, written once for all instruction sets. The file of each defines
// HFLOAD_LANES_TARGET, the attributes of functions that use its vectors, before it includes this, and gives
// the vectors as a class `Lanes`:
//   Vector, kCount       a vector of so many floats; kFewRowsUnit / 2 is a multiple of it
//   columns(rows)        columns of B that are multiplied with so many rows of A at a time
//   zero, load, store    of floats
//   load_wide<dtype>     the part-th vector of kFewRowsUnit elements of B in the order of packed A
//   multiply_add, sum    x · y + z; of a vector's floats
#ifndef HFLOAD_LANES_TARGET
#error "HFLOAD_LANES_TARGET is not defined"
#endif

namespace hfload {
namespace {

constexpr int64_t kLineBytes = 64;
/// What two groups of rows of A take turns at is so much of a row of B, which stays in the first cache.
constexpr int64_t kPieceBytes = 1024;
/// So far ahead of what is read B is fetched from memory, by the first and by the second group. Shorter than
/// what hides the whole latency: the processor's own prefetchers do the rest, and they know best but where a
/// row or a page begins. Best of 384 to 2048 on an AMD EPYC (Zen 3).
constexpr int64_t kLeadBytes = 512;
constexpr int64_t kSecondLeadBytes = 1024;

/// A group of rows of A by some columns of B over a piece of K.
struct FewRowsTile {
  const float* a = nullptr;      ///< packed, of the group
  const std::byte* b = nullptr;  ///< of the first column
  int64_t b_stride = 0;          ///< bytes from column to column
  int64_t units = 0;             ///< of kFewRowsUnit elements along K
  /// What of B is fetched during the first `same_row_units`, and during the others.
  uintptr_t fetched = 0, fetched_next = 0;
  int64_t same_row_units = 0;
  float* sums = nullptr;  ///< [columns][rows][Lanes::kCount], added to
};

/// `rows` by `columns` sums in registers; one row has twice as many, so that an addition need not wait for
/// the one before.
template <class Lanes, GemmDtype dtype, int rows, int columns>
HFLOAD_LANES_TARGET void multiply_tile(const FewRowsTile& tile) {
  using Vector = typename Lanes::Vector;
  constexpr int kParts = static_cast<int>(kFewRowsUnit) / Lanes::kCount;
  constexpr int kChains = rows == 1 ? 2 : 1;
  constexpr int64_t kUnitBytes = kFewRowsUnit * gemm_element_bytes(dtype);
  const int64_t stride = tile.b_stride;
  Vector sums[kChains][columns][rows];
#pragma GCC unroll 8
  for (int c = 0; c < columns; ++c) {
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) {
      sums[0][c][r] = Lanes::load(tile.sums + (c * rows + r) * Lanes::kCount);
      if constexpr (kChains == 2) sums[1][c][r] = Lanes::zero();
    }
  }
  const float* a = tile.a;
  const std::byte* b = tile.b;
  uintptr_t fetched = tile.fetched;
  int64_t unit = 0;
  for (int64_t end = tile.same_row_units;; end = tile.units, fetched = tile.fetched_next) {
    for (; unit < end; ++unit) {
#pragma GCC unroll 8
      for (int c = 0; c < columns; ++c) {
#pragma GCC unroll 2
        for (int64_t line = 0; line < kUnitBytes; line += kLineBytes) {
          const auto at = fetched + static_cast<uintptr_t>(c * stride + line);
          __builtin_prefetch(reinterpret_cast<const void*>(at));
        }
      }
#pragma GCC unroll 8
      for (int part = 0; part < kParts; ++part) {
        const int in_unit = part * Lanes::kCount;
        const float* const x = a + in_unit / 16 * rows * 16 + in_unit % 16;
        // What is fewer is held, so that it and the sums fit into registers.
        if constexpr (rows < columns) {
          Vector of_a[rows];
#pragma GCC unroll 4
          for (int r = 0; r < rows; ++r) of_a[r] = Lanes::load(x + r * 16);
#pragma GCC unroll 8
          for (int c = 0; c < columns; ++c) {
            const Vector wide = Lanes::template load_wide<dtype>(b + c * stride, part);
#pragma GCC unroll 4
            for (int r = 0; r < rows; ++r) {
              Vector& sum = sums[part % kChains][c][r];
              sum = Lanes::multiply_add(of_a[r], wide, sum);
            }
          }
        } else {
          Vector wide[columns];
#pragma GCC unroll 8
          for (int c = 0; c < columns; ++c) wide[c] = Lanes::template load_wide<dtype>(b + c * stride, part);
#pragma GCC unroll 4
          for (int r = 0; r < rows; ++r) {
            const Vector of_a = Lanes::load(x + r * 16);
#pragma GCC unroll 8
            for (int c = 0; c < columns; ++c) {
              Vector& sum = sums[part % kChains][c][r];
              sum = Lanes::multiply_add(of_a, wide[c], sum);
            }
          }
        }
      }
      a += rows * kFewRowsUnit;
      b += kUnitBytes;
      fetched += kUnitBytes;
    }
    if (end == tile.units) break;
  }
#pragma GCC unroll 8
  for (int c = 0; c < columns; ++c) {
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) {
      Vector sum = sums[0][c][r];
      if constexpr (kChains == 2) sum = Lanes::add(sum, sums[1][c][r]);
      Lanes::store(tile.sums + (c * rows + r) * Lanes::kCount, sum);
    }
  }
}

/// All rows of A, a group of `first` and, if there are more than four, one of `second`, by some columns of B.
/// B is read along its rows, which is what processors prefetch best.
template <class Lanes, GemmDtype dtype, int first, int second, int columns>
HFLOAD_LANES_TARGET void multiply_columns(const FewRows& rows, int64_t column, float* out, int64_t out_ld) {
  constexpr int64_t kUnitBytes = kFewRowsUnit * gemm_element_bytes(dtype);
  constexpr int kOfFirst = first * columns * Lanes::kCount, kOfSecond = second * columns * Lanes::kCount;
  alignas(64) float sums[kOfFirst + kOfSecond] = {};
  const int64_t units = rows.k / kFewRowsUnit;
  const int64_t stride = units * kUnitBytes;
  const std::byte* const b = static_cast<const std::byte*>(rows.b) + column * stride;
  const auto address = reinterpret_cast<uintptr_t>(b);
  const auto tile_at = [&](int64_t unit, int64_t count, int64_t lead_bytes) {
    const int64_t lead = std::min(units, lead_bytes / kUnitBytes);
    FewRowsTile tile{.b = b + unit * kUnitBytes, .b_stride = stride, .units = count};
    tile.same_row_units = std::clamp<int64_t>(units - lead - unit, 0, count);
    tile.fetched = address + static_cast<uintptr_t>((unit + lead) * kUnitBytes);
    // Past the rows' end come the next columns.
    const int64_t into_next = unit + lead + tile.same_row_units - units;
    tile.fetched_next = address + static_cast<uintptr_t>(columns * stride + into_next * kUnitBytes);
    return tile;
  };
  const int64_t piece = second == 0 ? units : kPieceBytes / kUnitBytes;
  for (int64_t unit = 0; unit < units; unit += piece) {
    const int64_t count = std::min(piece, units - unit);
    FewRowsTile tile = tile_at(unit, count, kLeadBytes);
    tile.a = rows.a + unit * kFewRowsUnit * first;
    tile.sums = sums;
    multiply_tile<Lanes, dtype, first, columns>(tile);
    if constexpr (second > 0) {
      tile = tile_at(unit, count, kSecondLeadBytes);
      tile.a = rows.a + rows.k * first + unit * kFewRowsUnit * second;
      tile.sums = sums + kOfFirst;
      multiply_tile<Lanes, dtype, second, columns>(tile);
    }
  }
  for (int c = 0; c < columns; ++c) {
    for (int r = 0; r < first + second; ++r) {
      const int at =
          r < first ? (c * first + r) * Lanes::kCount : kOfFirst + (c * second + r - first) * Lanes::kCount;
      out[r * out_ld + c] = Lanes::sum(Lanes::load(sums + at));
    }
  }
}

template <class Lanes, GemmDtype dtype, int first, int second>
HFLOAD_LANES_TARGET void multiply_groups(const FewRows& rows, int64_t begin, int64_t end, float* out,
                                         int64_t out_ld) {
  constexpr int kColumns = Lanes::columns(first);
  int64_t column = begin;
  for (; column + kColumns <= end; column += kColumns) {
    multiply_columns<Lanes, dtype, first, second, kColumns>(rows, column, out + column - begin, out_ld);
  }
  for (; column < end; ++column) {
    multiply_columns<Lanes, dtype, first, second, 1>(rows, column, out + column - begin, out_ld);
  }
}

template <class Lanes, GemmDtype dtype>
void multiply_dtype(const FewRows& rows, int64_t begin, int64_t end, float* out, int64_t out_ld) {
  constexpr void (*kByRows[kMostFewRows])(const FewRows&, int64_t, int64_t, float*, int64_t) = {
      multiply_groups<Lanes, dtype, 1, 0>, multiply_groups<Lanes, dtype, 2, 0>,
      multiply_groups<Lanes, dtype, 3, 0>, multiply_groups<Lanes, dtype, 4, 0>,
      multiply_groups<Lanes, dtype, 3, 2>, multiply_groups<Lanes, dtype, 3, 3>,
      multiply_groups<Lanes, dtype, 4, 3>, multiply_groups<Lanes, dtype, 4, 4>};
  kByRows[rows.m - 1](rows, begin, end, out, out_ld);
}

/// The whole product by one instruction set.
template <class Lanes>
void multiply_by_lanes(const FewRows& rows, int64_t begin, int64_t end, float* out, int64_t out_ld) {
  switch (rows.dtype) {
    case GemmDtype::f32:
      return multiply_dtype<Lanes, GemmDtype::f32>(rows, begin, end, out, out_ld);
    case GemmDtype::f16:
      return multiply_dtype<Lanes, GemmDtype::f16>(rows, begin, end, out, out_ld);
    case GemmDtype::bf16:
      return multiply_dtype<Lanes, GemmDtype::bf16>(rows, begin, end, out, out_ld);
  }
}

}  // namespace
}  // namespace hfload
