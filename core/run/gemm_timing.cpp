#include "core/run/gemm_timing.h"

#include <algorithm>
#include <random>

namespace hfload {

Gemm GemmSize::of(const void* a, const void* b, void* c) const {
  Gemm gemm;
  gemm.dtype = dtype;
  gemm.m = m;
  gemm.n = n;
  gemm.k = k;
  gemm.a = {a, k, 0};
  gemm.b = {b, k, 0};
  gemm.c = {c, n, 0};
  return gemm;
}

std::vector<std::byte> random_gemm_elements(GemmDtype dtype) {
  constexpr int64_t kCount = 65'521;
  std::vector<std::byte> elements(static_cast<size_t>(kCount * gemm_element_bytes(dtype)));
  std::mt19937 random(1);
  std::normal_distribution<double> normal;
  for (int64_t i = 0; i < kCount; ++i) gemm_store(dtype, elements.data(), i, normal(random));
  return elements;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

}  // namespace hfload
