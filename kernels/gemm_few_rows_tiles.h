#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

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

/// Sums of a block of columns are kept in memory while K is walked piece by piece. A multiple of 3, 4 and 6.
constexpr int64_t kColumnsTogether = 24;
/// A piece of K is so long that of A it is this much: half of the smallest first cache there is.
constexpr int64_t kPieceBytes = 16 << 10;
constexpr int64_t kLineBytes = 64;

/// A group of rows of A by some columns of B over a piece of K.
struct FewRowsTile {
  const float* a;      ///< packed, of the group
  const std::byte* b;  ///< of the first column
  int64_t b_stride;    ///< bytes from column to column
  uintptr_t next;      ///< what of B is read next, to be fetched by the way; the same stride
  int64_t units;       ///< of kFewRowsUnit elements along K
  float* sums;         ///< [columns][rows][Lanes::kCount], added to
  int64_t sum_stride;  ///< floats from column to column
};

/// `rows` by `columns` sums in registers; one row has twice as many, so that an addition need not wait for
/// the one before. `ahead` columns are fetched for the next tile.
template <class Lanes, GemmDtype dtype, int rows, int columns, int ahead>
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
      sums[0][c][r] = Lanes::load(tile.sums + c * tile.sum_stride + r * Lanes::kCount);
      if constexpr (kChains == 2) sums[1][c][r] = Lanes::zero();
    }
  }
  const float* a = tile.a;
  const std::byte* b = tile.b;
  uintptr_t next = tile.next;
  for (int64_t unit = 0; unit < tile.units; ++unit) {
#pragma GCC unroll 8
    for (int c = 0; c < ahead; ++c) {
#pragma GCC unroll 2
      for (int64_t line = 0; line < kUnitBytes; line += kLineBytes) {
        const auto at = next + static_cast<uintptr_t>(c * stride + line);
        __builtin_prefetch(reinterpret_cast<const void*>(at), 0, 2);
      }
    }
#pragma GCC unroll 8
    for (int part = 0; part < kParts; ++part) {
      const int in_unit = part * Lanes::kCount;
      const float* const x = a + in_unit / 16 * rows * 16 + in_unit % 16;
      // What is fewer is held, so that the sums and it fit into registers.
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
    next += kUnitBytes;
  }
#pragma GCC unroll 8
  for (int c = 0; c < columns; ++c) {
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) {
      Vector sum = sums[0][c][r];
      if constexpr (kChains == 2) sum = Lanes::add(sum, sums[1][c][r]);
      Lanes::store(tile.sums + c * tile.sum_stride + r * Lanes::kCount, sum);
    }
  }
}

/// Rows in a group of `first` and, if there are more than four, another of `second`. A piece of A stays in
/// the first cache while it is multiplied by a block of columns; of B each piece is there for the second
/// group. Meanwhile the next piece of B comes from memory.
template <class Lanes, GemmDtype dtype, int first, int second>
HFLOAD_LANES_TARGET void multiply_groups(const FewRows& rows, int64_t begin, int64_t end, float* out,
                                         int64_t out_ld) {
  constexpr int64_t kRows = first + second;
  constexpr int kColumns = Lanes::columns(first);
  constexpr int kAhead = second == 0 ? kColumns : (kColumns + 1) / 2;
  constexpr int64_t kElementBytes = gemm_element_bytes(dtype);
  constexpr int64_t kSumStride = kRows * Lanes::kCount;
  alignas(64) float sums[kColumnsTogether * kSumStride];
  const int64_t units = rows.k / kFewRowsUnit;
  const int64_t most_units = kPieceBytes / (4 * kRows * kFewRowsUnit);
  const int64_t pieces = std::max<int64_t>((units + most_units - 1) / most_units, 1);
  const int64_t piece_units = (units + pieces - 1) / pieces;
  const int64_t stride = rows.k * kElementBytes;
  const auto* const b = static_cast<const std::byte*>(rows.b);
  for (int64_t block = begin; block < end; block += kColumnsTogether) {
    const int64_t count = std::min(kColumnsTogether, end - block);
    std::memset(sums, 0, static_cast<size_t>(count * kSumStride) * sizeof(float));
    for (int64_t unit = 0; unit < units; unit += piece_units) {
      const int64_t in_row = unit * kFewRowsUnit * kElementBytes;
      for (int64_t column = 0, following = 0; column < count; column = following) {
        const bool whole = count - column >= kColumns;
        following = column + (whole ? kColumns : 1);
        FewRowsTile tile{.a = rows.a + unit * kFewRowsUnit * first,
                         .b = b + (block + column) * stride + in_row,
                         .b_stride = stride,
                         .next = reinterpret_cast<uintptr_t>(b),
                         .units = std::min(piece_units, units - unit),
                         .sums = sums + column * kSumStride,
                         .sum_stride = kSumStride};
        const int64_t next = following < count             ? (block + following) * stride + in_row
                             : unit + piece_units < units ? block * stride + in_row + tile.units * kFewRowsUnit * kElementBytes
                                                          : (block + count) * stride;
        tile.next += static_cast<uintptr_t>(next);
        if (whole) {
          multiply_tile<Lanes, dtype, first, kColumns, kAhead>(tile);
        } else {
          multiply_tile<Lanes, dtype, first, 1, 0>(tile);
        }
        if constexpr (second > 0) {
          tile.a = rows.a + rows.k * first + unit * kFewRowsUnit * second;
          tile.sums += first * Lanes::kCount;
          tile.next += static_cast<uintptr_t>(kAhead * stride);
          if (whole) {
            multiply_tile<Lanes, dtype, second, kColumns, kAhead>(tile);
          } else {
            multiply_tile<Lanes, dtype, second, 1, 0>(tile);
          }
        }
      }
    }
    for (int64_t row = 0; row < kRows; ++row) {
      float* const to = out + row * out_ld + block - begin;
      for (int64_t column = 0; column < count; ++column) {
        to[column] = Lanes::sum(Lanes::load(sums + column * kSumStride + row * Lanes::kCount));
      }
    }
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
