// Products of small matrices that stay in the cache, for kernels that do more with them than a BLAS offers.
//
// Everything here is inlined into a kernel of instruction_sets.hpp. Rows are multiples of 16 numbers long.
#pragma once

#include <cstddef>
#include <cstring>
#include <type_traits>
#include <utility>

namespace omnisage {

constexpr std::size_t kLanes = 16;
typedef float Vector __attribute__((vector_size(kLanes * sizeof(float))));
typedef int Ints __attribute__((vector_size(kLanes * sizeof(int))));

constexpr std::size_t round_up(std::size_t size, std::size_t multiple) {
  return (size + multiple - 1) / multiple * multiple;
}

// Loads and stores by memcpy, which asks for no alignment.
[[gnu::always_inline]] inline void load(const float* from, Vector& to) { std::memcpy(&to, from, sizeof(Vector)); }
[[gnu::always_inline]] inline void store(const Vector& from, float* to) { std::memcpy(to, &from, sizeof(Vector)); }

[[gnu::always_inline]] inline float max_of(const Vector& values) {
  float best = values[0];
  for (std::size_t i = 1; i < kLanes; ++i) best = values[i] > best ? values[i] : best;
  return best;
}

[[gnu::always_inline]] inline float sum_of(const Vector& values) {
  float sum = values[0];
  for (std::size_t i = 1; i < kLanes; ++i) sum += values[i];
  return sum;
}

// Calls body(0), ..., body(kCount - 1) with constants, so that arrays of vectors become registers.
template <std::size_t kCount, typename Body>
[[gnu::always_inline]] inline void repeat(Body&& body) {
  [&]<std::size_t... kIndex>(std::index_sequence<kIndex...>) __attribute__((always_inline)) {
    (body(std::integral_constant<std::size_t, kIndex>{}), ...);
  }(std::make_index_sequence<kCount>{});
}

// out[i, j] += sum over k of left[i * left_row + k * left_step] * right[k * right_row + j], or = instead of +=.
struct Product {
  const float* left;
  std::size_t left_row, left_step;
  const float* right;
  std::size_t right_row;
  float* out;
  std::size_t out_row;
};

// A tile of kRows x kVectors vectors of the product, from `row` and `column` on, in registers for all `depth`.
template <std::size_t kRows, std::size_t kVectors, bool kAdd>
[[gnu::always_inline]] inline void product_tile(const Product& p, std::size_t row, std::size_t column,
                                                std::size_t depth) {
  Vector sums[kRows][kVectors];
  float* const out = p.out + row * p.out_row + column;
  repeat<kRows>([&](auto i) __attribute__((always_inline)) {
    repeat<kVectors>([&](auto j) __attribute__((always_inline)) {
      if constexpr (kAdd) {
        load(out + i * p.out_row + j * kLanes, sums[i][j]);
      } else {
        sums[i][j] = Vector{};
      }
    });
  });
  const float* left = p.left + row * p.left_row;
  const float* right = p.right + column;
  for (std::size_t k = 0; k < depth; ++k, left += p.left_step, right += p.right_row) {
    Vector values[kVectors];
    repeat<kVectors>([&](auto j) __attribute__((always_inline)) { load(right + j * kLanes, values[j]); });
    repeat<kRows>([&](auto i) __attribute__((always_inline)) {
      const float factor = left[i * p.left_row];
      repeat<kVectors>([&](auto j) __attribute__((always_inline)) { sums[i][j] += factor * values[j]; });
    });
  }
  repeat<kRows>([&](auto i) __attribute__((always_inline)) {
    repeat<kVectors>([&](auto j)
                         __attribute__((always_inline)) { store(sums[i][j], out + i * p.out_row + j * kLanes); });
  });
}

template <std::size_t kVectors, bool kAdd>
[[gnu::always_inline]] inline void product_columns(const Product& p, std::size_t num_rows, std::size_t column,
                                                   std::size_t depth) {
  std::size_t row = 0;  // 6 x 4 vectors of sums leave 8 of 32 registers; 6 x 1 (of two halves) leave 4 of 16
  for (; row + 6 <= num_rows; row += 6) product_tile<6, kVectors, kAdd>(p, row, column, depth);
  for (; row + 4 <= num_rows; row += 4) product_tile<4, kVectors, kAdd>(p, row, column, depth);
  for (; row + 2 <= num_rows; row += 2) product_tile<2, kVectors, kAdd>(p, row, column, depth);
  for (; row < num_rows; ++row) product_tile<1, kVectors, kAdd>(p, row, column, depth);
}

// The product's first num_rows rows and num_columns (a multiple of 16) columns.
template <int kVectors, bool kAdd>
[[gnu::always_inline]] inline void multiply(const Product& p, std::size_t num_rows, std::size_t num_columns,
                                            std::size_t depth) {
  std::size_t column = 0;
  for (; column + kVectors * kLanes <= num_columns; column += kVectors * kLanes) {
    product_columns<kVectors, kAdd>(p, num_rows, column, depth);
  }
  if constexpr (kVectors > 1) {
    for (; column < num_columns; column += kLanes) product_columns<1, kAdd>(p, num_rows, column, depth);
  }
}

// exp(x) for x <= 0, to 2 ulp; 0 below -87, NaN for NaN. Cephes' polynomial after splitting off a power of two.
[[gnu::always_inline]] inline void exp_nonpositive(Vector& x) {
  constexpr float kRound = 0x1.8p23f;  // added, it leaves the nearest integer in the low bits
  Vector shifted = x * 1.44269504f + kRound;
  Ints power;
  std::memcpy(&power, &shifted, sizeof(Ints));
  const Vector whole = shifted - kRound;
  const Vector rest = x - whole * 0.693359375f + whole * 2.12194440e-4f;
  Vector sum = rest * 1.9875691500e-4f + 1.3981999507e-3f;
  sum = sum * rest + 8.3334519073e-3f;
  sum = sum * rest + 4.1665795894e-2f;
  sum = sum * rest + 1.6666665459e-1f;
  sum = sum * rest + 5.0000001201e-1f;
  sum = sum * (rest * rest) + rest + 1.0f;
  power = (power << 23) + (127 << 23);  // the bits of kRound above the integer are shifted out
  Vector scale;
  std::memcpy(&scale, &power, sizeof(Ints));
  sum *= scale;
  const Ints is_kept = ~(x < -87.0f);
  Ints bits;
  std::memcpy(&bits, &sum, sizeof(Ints));
  bits &= is_kept;
  std::memcpy(&x, &bits, sizeof(Ints));
}

}  // namespace omnisage
