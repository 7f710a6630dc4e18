#include "bags.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "instruction_sets.hpp"
#include "product.hpp"

namespace omnisage {
namespace {

constexpr std::size_t kValuesAhead = 8;  // whose rows are fetched before they are needed
constexpr std::size_t kBagsPerChunk = 256;
constexpr std::size_t kValuesPerChunk = 1 << 16;

void check(const BagsInput& in, const Workers& workers) {
  parallel_for(in.rows.size(), kValuesPerChunk, workers, [&](std::size_t, std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      if (in.rows[i] < in.num_rows) continue;
      throw std::out_of_range("rows[" + std::to_string(i / in.columns()) + ", " + std::to_string(i % in.columns()) +
                              "] is " + std::to_string(in.rows[i]) + ", but the table has " +
                              std::to_string(in.num_rows) + " rows; rows must be below that");
    }
  });
}

[[gnu::always_inline]] inline float importance_of(const BagsInput& in, const std::uint32_t* rows, std::size_t hash) {
  return in.importance.empty() ? 1.0f : in.importance[rows[in.num_hashes] * in.num_hashes + hash];
}

// Channels `channel` to `channel + 16 kVectors - 1` of a bag's sum, in registers for all its values.
template <std::size_t kVectors>
[[gnu::always_inline]] inline void sum_channels(const BagsInput& in, std::size_t bag, std::size_t channel, float* out) {
  Vector sums[kVectors] = {};
  const auto begin = static_cast<std::size_t>(in.offsets[bag]), end = static_cast<std::size_t>(in.offsets[bag + 1]);
  const std::size_t last = in.rows.size() / in.columns();
  for (std::size_t i = begin; i < end; ++i) {
    if (i + kValuesAhead < last) {
      const std::uint32_t* const ahead = in.rows.data() + (i + kValuesAhead) * in.columns();
      for (std::size_t h = 0; h < in.num_hashes; ++h) {
        const float* const row = in.table.data() + ahead[h] * in.width + channel;
        for (std::size_t j = 0; j < kVectors; ++j) __builtin_prefetch(row + j * kLanes);
      }
    }
    const std::uint32_t* const rows = in.rows.data() + i * in.columns();
    for (std::size_t h = 0; h < in.num_hashes; ++h) {
      const float factor = importance_of(in, rows, h);
      const float* const row = in.table.data() + rows[h] * in.width + channel;
      repeat<kVectors>([&](auto j) __attribute__((always_inline)) {
        Vector value;
        load(row + j * kLanes, value);
        sums[j] += factor * value;
      });
    }
  }
  repeat<kVectors>([&](auto j) __attribute__((always_inline)) { store(sums[j], out + channel + j * kLanes); });
}

struct SumBag {
  template <int kVectors>
  [[gnu::always_inline]] static inline void run(const BagsInput* input, std::size_t bag, float* out) {
    const BagsInput& in = *input;
    std::size_t channel = 0;
    for (; channel + 4 * kLanes <= in.width; channel += 4 * kLanes) sum_channels<4>(in, bag, channel, out);
    for (; channel + kLanes <= in.width; channel += kLanes) sum_channels<1>(in, bag, channel, out);
    for (; channel < in.width; ++channel) {
      float sum = 0.0f;
      for (auto i = static_cast<std::size_t>(in.offsets[bag]); i < static_cast<std::size_t>(in.offsets[bag + 1]); ++i) {
        const std::uint32_t* const rows = in.rows.data() + i * in.columns();
        for (std::size_t h = 0; h < in.num_hashes; ++h) {
          sum += importance_of(in, rows, h) * in.table[rows[h] * in.width + channel];
        }
      }
      out[channel] = sum;
    }
  }
};

// to += factor * from
[[gnu::always_inline]] inline void add_row(const float* from, float factor, std::size_t width, float* to) {
  std::size_t i = 0;
  for (; i + kLanes <= width; i += kLanes) {
    Vector value, sum;
    load(from + i, value);
    load(to + i, sum);
    sum += factor * value;
    store(sum, to + i);
  }
  for (; i < width; ++i) to[i] += factor * from[i];
}

[[gnu::always_inline]] inline float dot(const float* left, const float* right, std::size_t width) {
  Vector sums = {};
  std::size_t i = 0;
  for (; i + kLanes <= width; i += kLanes) {
    Vector x, y;
    load(left + i, x);
    load(right + i, y);
    sums += x * y;
  }
  float sum = sum_of(sums);
  for (; i < width; ++i) sum += left[i] * right[i];
  return sum;
}

// What a bag adds to the gradients of rows `begin .. end - 1`.
struct AddBag {
  template <int kVectors>
  [[gnu::always_inline]] static inline void run(const BagsInput* input, std::size_t bag, const float* by_sum,
                                                std::uint32_t begin, std::uint32_t end, float* by_table,
                                                float* by_importance) {
    const BagsInput& in = *input;
    for (auto i = static_cast<std::size_t>(in.offsets[bag]); i < static_cast<std::size_t>(in.offsets[bag + 1]); ++i) {
      const std::uint32_t* const rows = in.rows.data() + i * in.columns();
      const bool has_importance = !in.importance.empty() && rows[in.num_hashes] >= begin && rows[in.num_hashes] < end;
      for (std::size_t h = 0; h < in.num_hashes; ++h) {
        const std::size_t at = rows[h] * in.width;
        if (rows[h] >= begin && rows[h] < end) add_row(by_sum, importance_of(in, rows, h), in.width, by_table + at);
        if (has_importance) {
          by_importance[rows[in.num_hashes] * in.num_hashes + h] += dot(in.table.data() + at, by_sum, in.width);
        }
      }
    }
  }
};

}  // namespace

void hash_buckets(std::span<const std::int64_t> values, std::span<const std::int64_t> multipliers,
                  std::uint32_t num_buckets, std::span<std::uint32_t> buckets, const Workers& workers) {
  const std::size_t num_hashes = multipliers.size();
  parallel_for(values.size(), kValuesPerChunk, workers, [&](std::size_t, std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      for (std::size_t h = 0; h < num_hashes; ++h) {
        const auto product = static_cast<std::uint64_t>(values[i]) * static_cast<std::uint64_t>(multipliers[h]);
        buckets[i * num_hashes + h] = static_cast<std::uint32_t>((product << 1 >> 21) % num_buckets);
      }
    }
  });
}

void sum_bags(const BagsInput& input, std::span<float> sums, const Workers& workers) {
  check(input, workers);
  parallel_for(input.offsets.size() - 1, kBagsPerChunk, workers, [&](std::size_t, std::size_t begin, std::size_t end) {
    for (std::size_t bag = begin; bag < end; ++bag) {
      run_best<SumBag, const BagsInput*>(&input, bag, sums.data() + bag * input.width);
    }
  });
}

void sum_bags_backward(const BagsInput& input, std::span<const float> by_sums, std::span<float> by_table,
                       std::span<float> by_importance, const Workers& workers) {
  check(input, workers);
  const std::size_t rows_per_thread = (input.num_rows + workers.count() - 1) / workers.count();
  parallel_for(input.num_rows, std::max<std::size_t>(rows_per_thread, 1), workers,
               [&](std::size_t, std::size_t begin, std::size_t end) {
                 std::fill(by_table.begin() + static_cast<std::ptrdiff_t>(begin * input.width),
                           by_table.begin() + static_cast<std::ptrdiff_t>(end * input.width), 0.0f);
                 if (!by_importance.empty()) {
                   std::fill(by_importance.begin() + static_cast<std::ptrdiff_t>(begin * input.num_hashes),
                             by_importance.begin() + static_cast<std::ptrdiff_t>(end * input.num_hashes), 0.0f);
                 }
                 for (std::size_t bag = 0; bag + 1 < input.offsets.size(); ++bag) {
                   run_best<AddBag, const BagsInput*>(
                       &input, bag, by_sums.data() + bag * input.width, static_cast<std::uint32_t>(begin),
                       static_cast<std::uint32_t>(end), by_table.data(), by_importance.data());
                 }
               });
}

}  // namespace omnisage
