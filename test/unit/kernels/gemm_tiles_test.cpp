#include "kernels/gemm_tiles.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "test/support/sanitized.h"

namespace hfload::test {
namespace {

TEST_CASE("work items cover every element of C once per range of K, and the ranges all of K") {
  std::mt19937 random(1);
  const auto pick = [&](int32_t least, int32_t most) {
    return least + static_cast<int32_t>(random() % static_cast<uint32_t>(most - least + 1));
  };
  for (size_t trial = 0; trial < 3000; trial += test::every(15)) {
    GemmTiling tiling;
    tiling.m = pick(1, 90);
    tiling.n = pick(1, 90);
    tiling.k = pick(0, 300);
    tiling.batch = pick(1, 3);
    tiling.tile_m = 1 << pick(0, 5);
    tiling.tile_n = 1 << pick(0, 5);
    tiling.k_unit = 1 << pick(0, 6);
    tiling.splits = pick(1, 5);
    const int32_t cluster = pick(0, 2);
    tiling.cluster_m = cluster == 1 ? 2 : 1;
    tiling.cluster_n = cluster == 2 ? 2 : 1;
    std::vector<int32_t> covered(static_cast<size_t>(tiling.batch * tiling.m * tiling.n));
    std::map<std::pair<int32_t, int32_t>, int32_t> last_end;
    for (int64_t i = 0; i < tiling.cluster_items() * tiling.cluster(); ++i) {
      const int64_t item = i / tiling.cluster();
      const auto rank = static_cast<int32_t>(i % tiling.cluster());
      const GemmWork first = cluster_work(tiling, item, 0), work = cluster_work(tiling, item, rank);
      if (tiling.cluster() == 1) REQUIRE(gemm_work(tiling, item).row == work.row);
      REQUIRE((work.entry >= 0 && work.entry < tiling.batch));
      REQUIRE(work.unit_begin <= work.unit_end);
      // The first block of a cluster has a tile; the other may lie past an edge, and shares B's or A's rows.
      REQUIRE((first.row < tiling.m && first.column < tiling.n));
      REQUIRE(work.row == first.row + (tiling.cluster_m > 1 ? rank * tiling.tile_m : 0));
      REQUIRE(work.column == first.column + (tiling.cluster_n > 1 ? rank * tiling.tile_n : 0));
      REQUIRE((work.unit_begin == first.unit_begin && work.unit_end == first.unit_end));
      const int32_t begin = std::min(work.unit_begin * tiling.k_unit, tiling.k);
      const int32_t end = std::min(work.unit_end * tiling.k_unit, tiling.k);
      for (int32_t r = work.row; r < std::min(work.row + tiling.tile_m, tiling.m); ++r) {
        for (int32_t c = work.column; c < std::min(work.column + tiling.tile_n, tiling.n); ++c) {
          // Elements of K that were added up so far; a gap or an overlap shows in the order of the splits.
          int32_t& sum = covered[static_cast<size_t>((work.entry * tiling.m + r) * tiling.n + c)];
          REQUIRE(sum == begin);
          sum = end;
        }
      }
    }
    REQUIRE(std::all_of(covered.begin(), covered.end(), [&](int32_t sum) { return sum == tiling.k; }));
  }
}

TEST_CASE("a tile is done once for each range of K even where K has fewer units than ranges") {
  GemmTiling tiling{.m = 70, .n = 33, .k = 64, .tile_m = 32, .tile_n = 16, .k_unit = 64, .splits = 4};
  std::set<std::tuple<int32_t, int32_t, int32_t>> seen;
  for (int64_t i = 0; i < tiling.items(); ++i) {
    const GemmWork work = gemm_work(tiling, i);
    CHECK(seen.emplace(work.row, work.column, work.split).second);
  }
  CHECK(seen.size() == 3 * 3 * 4);
}

TEST_CASE("ranges of K differ by one unit at most") {
  for (int32_t units = 0; units < 100; ++units) {
    for (int32_t splits = 1; splits <= 32; ++splits) {
      CHECK(split_begin(units, splits, 0) == 0);
      CHECK(split_begin(units, splits, splits) == units);
      for (int32_t s = 0; s < splits; ++s) {
        const int32_t length = split_begin(units, splits, s + 1) - split_begin(units, splits, s);
        CHECK((length == units / splits || length == (units + splits - 1) / splits));
      }
    }
  }
}

TEST_CASE("tiles that run together share rows of A and columns of B") {
  // 132 neighbours in the order of a 64 x 64 grid touch far fewer than the 132 + 132 rows and columns.
  std::set<int64_t> rows, columns;
  for (int64_t i = 0; i < 132; ++i) {
    const GemmTilePlace place = grouped_tile(i, 64, 64, kGemmGroupRows);
    rows.insert(place.row);
    columns.insert(place.column);
  }
  CHECK(rows.size() == 8);
  CHECK(columns.size() == 17);
  // In pairs along M too.
  const GemmTiling pairs{.m = 64, .n = 64, .cluster_m = 2};
  rows.clear(), columns.clear();
  for (int64_t i = 0; i < 132; ++i) {
    const GemmWork work = cluster_work(pairs, i / 2, static_cast<int32_t>(i % 2));
    rows.insert(work.row);
    columns.insert(work.column);
  }
  CHECK(rows.size() == 8);
  CHECK(columns.size() == 17);
}

/// Banks of 4 bytes, 32 of them. Each access is `words` words at a byte offset; a hardware phase serves as
/// many lanes as make 128 bytes. True if no phase meets a bank in two different words.
bool free_of_conflicts(const std::vector<uint32_t>& offsets, uint32_t words) {
  const size_t lanes = 32 / words;
  for (size_t phase = 0; phase < offsets.size(); phase += lanes) {
    std::map<uint32_t, uint32_t> word_of_bank;
    for (size_t lane = phase; lane < std::min(phase + lanes, offsets.size()); ++lane) {
      for (uint32_t w = 0; w < words; ++w) {
        const uint32_t word = offsets[lane] / 4 + w;
        const auto [at, is_new] = word_of_bank.emplace(word % 32, word);
        if (!is_new && at->second != word) return false;
      }
    }
  }
  return true;
}

TEST_CASE("the chunk swizzle is a bijection without bank conflicts for copies and ldmatrix") {
  std::set<uint32_t> places;
  for (uint32_t row = 0; row < 256; ++row) {
    for (uint32_t chunk = 0; chunk < 8; ++chunk) {
      const uint32_t at = swizzled_chunk(row, chunk);
      CHECK((at % 16 == 0 && at < 256 * 128));
      places.insert(at);
    }
  }
  CHECK(places.size() == 256 * 8);
  for (uint32_t row = 0; row < 248; ++row) {
    for (uint32_t chunk = 0; chunk < 8; ++chunk) {
      std::vector<uint32_t> matrix, plain;  // the 8 rows of one 8x8 matrix
      for (uint32_t i = 0; i < 8; ++i) {
        matrix.push_back(swizzled_chunk(row + i, chunk));
        plain.push_back((row + i) * 128 + chunk * 16);
      }
      CHECK(free_of_conflicts(matrix, 4));
      CHECK_FALSE(free_of_conflicts(plain, 4));
    }
  }
  for (uint32_t first = 0; first < 256 * 8; first += 32) {  // a warp of cp.async: thread i copies chunk i
    std::vector<uint32_t> copies;
    for (uint32_t i = first; i < first + 32; ++i) copies.push_back(swizzled_chunk(i / 8, i % 8));
    CHECK(free_of_conflicts(copies, 4));
  }
}

TEST_CASE("the float swizzle is a bijection without bank conflicts for the transposing copy and for reads") {
  for (const uint32_t width : {64U, 128U}) {
    std::set<uint32_t> places;
    for (uint32_t k = 0; k < 16; ++k) {
      for (uint32_t row = 0; row < width; ++row) places.insert(swizzled_float(k, row, width));
    }
    CHECK(places.size() == 16 * width);
    CHECK(*places.rbegin() == 16 * width - 1);
    // A warp copies 8 neighbours along K of 4 rows; it reads 4 neighbouring rows at once, at one K.
    for (uint32_t k = 0; k < 16; k += 8) {
      for (uint32_t row = 0; row < width; row += 4) {
        std::vector<uint32_t> copies;
        for (uint32_t lane = 0; lane < 32; ++lane) {
          copies.push_back(4 * swizzled_float(k + lane % 8, row + lane / 8, width));
        }
        CHECK(free_of_conflicts(copies, 1));
      }
    }
    for (uint32_t k = 0; k < 16; ++k) {
      for (uint32_t row = 0; row < width; row += 4) {
        for (uint32_t i = 1; i < 4; ++i) {
          CHECK(swizzled_float(k, row + i, width) == swizzled_float(k, row, width) + i);
        }
      }
      for (uint32_t row = 0; row < width; row += 32) {
        std::vector<uint32_t> reads;
        for (uint32_t lane = 0; lane < 32; ++lane) {
          reads.push_back(4 * swizzled_float(k, row + lane % 8 * 4, width));
        }
        CHECK(free_of_conflicts(reads, 4));
      }
    }
  }
}

TEST_CASE("accumulators are stored to shared memory without bank conflicts") {
  for (const uint32_t columns : {32U, 64U, 128U}) {
    for (uint32_t index = 0; index < columns / 2; index += 2) {
      std::vector<uint32_t> stores;
      for (uint32_t lane = 0; lane < 32; ++lane) {
        const AccumulatorPlace place = accumulator_place(lane, index);
        stores.push_back(4 * (place.row * result_stride(columns) + place.column));
      }
      CHECK(free_of_conflicts(stores, 2));
    }
  }
}

/// ldmatrix.x4 by the PTX ISA: lanes 8i to 8i + 7 name the rows of matrix i; lane l then holds the elements
/// 2 (l % 4) and 2 (l % 4) + 1 of row l / 4 of matrix i in register i.
struct Registers {
  float value[4][2];
};
template <class Load>
std::vector<Registers> ldmatrix(const std::vector<FragmentAddress>& address, Load load) {
  std::vector<Registers> registers(32);
  for (uint32_t lane = 0; lane < 32; ++lane) {
    for (uint32_t i = 0; i < 4; ++i) {
      const FragmentAddress& row = address[8 * i + lane / 4];
      for (uint32_t e = 0; e < 2; ++e) {
        registers[lane].value[i][e] = load(row.row, row.chunk * 8 + lane % 4 * 2 + e);
      }
    }
  }
  return registers;
}

TEST_CASE("fragments and accumulators make a product by the PTX ISA's mma.m16n8k16") {
  // Shared tiles A [16, 16] and B [16 columns of C, 16].
  std::mt19937 random(3);
  float a[16][16], b[16][16];
  for (auto& row : a) std::generate(row, row + 16, [&] { return static_cast<float>(random() % 9) - 4; });
  for (auto& row : b) std::generate(row, row + 16, [&] { return static_cast<float>(random() % 9) - 4; });
  std::vector<FragmentAddress> a_rows, b_rows;
  for (uint32_t lane = 0; lane < 32; ++lane) {
    a_rows.push_back(a_fragment(lane));
    b_rows.push_back(b_fragment(lane));
  }
  const auto a_registers = ldmatrix(a_rows, [&](uint32_t r, uint32_t k) { return a[r][k]; });
  const auto b_registers = ldmatrix(b_rows, [&](uint32_t r, uint32_t k) { return b[r][k]; });
  // The ISA: a0 a1 at row g, a2 a3 at row g + 8, columns 2t..; a4 to a7 the same 8 columns on; b0 b1 at rows
  // 2t.. of column g, b2 b3 8 rows on; c0 c1 at row g, columns 2t.., c2 c3 at row g + 8 (g = lane / 4, t =
  // lane % 4).
  for (uint32_t half = 0; half < 2; ++half) {
    float a_seen[16][16] = {}, b_seen[16][8] = {};
    for (uint32_t lane = 0; lane < 32; ++lane) {
      for (uint32_t e = 0; e < 2; ++e) {
        for (uint32_t r = 0; r < 4; ++r) {
          a_seen[lane / 4 + r % 2 * 8][lane % 4 * 2 + e + r / 2 * 8] = a_registers[lane].value[r][e];
        }
        for (uint32_t r = 0; r < 2; ++r) {
          b_seen[lane % 4 * 2 + e + r * 8][lane / 4] = b_registers[lane].value[half * 2 + r][e];
        }
      }
    }
    for (uint32_t lane = 0; lane < 32; ++lane) {
      for (uint32_t i = 0; i < 4; ++i) {
        const uint32_t row = lane / 4 + i / 2 * 8;
        const uint32_t column = lane % 4 * 2 + i % 2;
        float made = 0, expected = 0;
        for (uint32_t k = 0; k < 16; ++k) {
          made += a_seen[row][k] * b_seen[k][column];
          expected += a[row][k] * b[half * 8 + column][k];
        }
        CHECK(made == expected);
        const AccumulatorPlace place = accumulator_place(lane, half * 4 + i);
        CHECK((place.row == row && place.column == half * 8 + column));
      }
    }
  }
}

TEST_CASE("a producer and consumers on the ring's barriers neither overwrite, read early nor stop") {
  // An mbarrier by the PTX ISA: a phase completes when its expected arrivals have come; waiting for parity p
  // passes once a phase of that parity is complete and the next is not, so parity 1 passes at the start.
  struct Barrier {
    uint32_t expected, pending, phase = 0;
    explicit Barrier(uint32_t count) : expected(count), pending(count) {}
    void arrive() {
      if (--pending == 0) {
        pending = expected;
        ++phase;
      }
    }
    bool passes(uint32_t parity) const { return (phase & 1) != parity; }
  };
  std::mt19937 random(5);
  for (const uint32_t stages : {3U, 4U, 6U}) {
    constexpr uint32_t kConsumers = 8, kUses = 200;
    std::vector<Barrier> full(stages, Barrier(1)), empty(stages, Barrier(kConsumers));
    std::vector<uint32_t> content(stages, ~0U);
    uint32_t produced = 0;
    std::vector<uint32_t> read(kConsumers, 0), released(kConsumers, 0);
    const auto consume = [&](uint32_t c) {
      // Reads one use ahead of what it releases, as the wgmma loop does.
      const uint32_t use = read[c];
      if (use < kUses && use - released[c] < 2) {
        const PipelinePlace place = pipeline_place(use, stages);
        if (!full[place.stage].passes(place.parity)) return false;
        REQUIRE(content[place.stage] == use);
        ++read[c];
        return true;
      }
      if (released[c] == kUses) return false;
      REQUIRE(content[pipeline_place(released[c], stages).stage] == released[c]);
      empty[pipeline_place(released[c]++, stages).stage].arrive();
      return true;
    };
    const auto produce = [&] {
      const PipelinePlace place = pipeline_place(produced, stages);
      if (produced == kUses || !empty[place.stage].passes(place.parity ^ 1)) return false;
      content[place.stage] = produced++;
      full[place.stage].arrive();
      return true;
    };
    uint32_t idle = 0;
    while (idle < 10'000) {
      const uint32_t who = static_cast<uint32_t>(random() % (kConsumers + 1));
      const bool moved = who == kConsumers ? produce() : consume(who);
      idle = moved ? 0 : idle + 1;
    }
    CHECK(produced == kUses);
    for (const uint32_t r : released) CHECK(r == kUses);
  }
}

TEST_CASE("a wgmma descriptor has the fields of the PTX ISA") {
  const uint64_t descriptor = wgmma_descriptor(0x12400);
  CHECK((descriptor & 0x3fff) == 0x1240);
  CHECK((descriptor >> 14 & 3) == 0);
  CHECK((descriptor >> 16 & 0x3fff) == 1);
  CHECK((descriptor >> 32 & 0x3fff) == 1024 / 16);
  CHECK((descriptor >> 49 & 7) == 0);
  CHECK(descriptor >> 62 == 1);
}

}  // namespace
}  // namespace hfload::test
