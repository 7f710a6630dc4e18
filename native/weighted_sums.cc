#include "weighted_sums.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "huge_pages.hpp"
#include "instruction_sets.hpp"
#include "product.hpp"

namespace omnisage {
namespace {

constexpr std::size_t kChannels = 64;  // of a block: of 150 rows it takes 38 KB, about a core's L1
constexpr std::size_t kRange = 256;    // channels at a time: of 150 rows 150 KB, which stay in a core's L2
constexpr std::size_t kRowsAhead = 4;  // that are fetched before they are needed
constexpr std::size_t kAnchorsPerChunk = 4;

using Buffer = HugeVector<float>;

// Channels `begin .. end - 1` of one part; its first channel stands at `place` of a whole row.
struct Range {
  const float* values;
  std::size_t width, begin, end, place;
  float* gradient;  // [U, width]; null where none is asked for
};

// Of all parts; or, where gradients are given, of those that have one.
std::vector<Range> make_ranges(const WeightedSumsInput& in, std::size_t length,
                               const std::vector<std::span<float>>* gradients = nullptr) {
  std::vector<Range> ranges;
  std::size_t place = 0;
  for (std::size_t p = 0; p < in.parts.size(); ++p) {
    const RowsPart& part = in.parts[p];
    float* const gradient = gradients == nullptr ? nullptr : (*gradients)[p].data();
    const bool is_asked = gradients == nullptr || !(*gradients)[p].empty();
    for (std::size_t begin = 0; is_asked && begin < part.width; begin += length) {
      ranges.push_back({part.values.data(), part.width, begin, std::min(begin + length, part.width), place, gradient});
    }
    place += part.width;
  }
  return ranges;
}

// What one thread needs for one anchor.
struct Scratch {
  explicit Scratch(const WeightedSumsInput& in)
      : padded(round_up(in.num_weights, kLanes)),
        weights(in.num_slots * in.num_weights),
        rows(in.num_slots * kRange),
        products(in.num_slots * padded),
        transposed(kChannels * padded, 0.0f) {
    slots.reserve(in.num_slots);
  }

  // The place in `rows` of channels `channel .. channel + 63` of a range: [S, 64].
  float* block(std::size_t channel) { return rows.data() + channel * slots.size(); }

  std::size_t padded;
  std::vector<std::size_t> slots;     // the S present ones
  std::vector<std::size_t> of_slots;  // their rows
  Buffer weights;                     // [S, G]
  Buffer rows;                        // [blocks of 64 channels, S, 64]
  Buffer products;                    // [S, padded]
  Buffer transposed;                  // [64, padded]
};

void find_slots(const WeightedSumsInput& in, std::size_t anchor, Scratch& scratch) {
  scratch.slots.clear();
  scratch.of_slots.clear();
  for (std::size_t k = 0; k < in.num_slots; ++k) {
    const std::size_t at = anchor * in.num_slots + k;
    if (!in.present[at]) continue;
    std::copy_n(in.weights.data() + at * in.num_weights, in.num_weights,
                scratch.weights.data() + scratch.slots.size() * in.num_weights);
    scratch.slots.push_back(k);
    scratch.of_slots.push_back(static_cast<std::size_t>(in.rows[at]));
  }
}

// Calls body(channel, place) for every vector of a range of row s; `place` is in the block of that row.
template <typename Body>
[[gnu::always_inline]] inline void for_vectors(const Range& range, Scratch& scratch, std::size_t s, Body&& body) {
  const std::size_t size = range.end - range.begin;
  for (std::size_t channel = 0; channel < size; channel += kChannels) {
    float* const places = scratch.block(channel) + s * kChannels;
    const std::size_t last = std::min(kChannels, size - channel);
    for (std::size_t i = 0; i < last; i += kLanes) body(channel + i, places + i);
  }
}

[[gnu::always_inline]] inline void prefetch(const float* rows, const Range& range, const Scratch& scratch,
                                            std::size_t s) {
  if (s >= scratch.slots.size()) return;
  const float* const row = rows + scratch.of_slots[s] * range.width;
  for (std::size_t i = range.begin; i < range.end; i += kLanes) __builtin_prefetch(row + i);
}

[[gnu::always_inline]] inline void copy_rows(const Range& range, Scratch& scratch) {
  for (std::size_t s = 0; s < kRowsAhead; ++s) prefetch(range.values, range, scratch, s);
  for (std::size_t s = 0; s < scratch.slots.size(); ++s) {
    prefetch(range.values, range, scratch, s + kRowsAhead);
    const float* const row = range.values + scratch.of_slots[s] * range.width + range.begin;
    for_vectors(range, scratch, s, [&](std::size_t i, float* place) __attribute__((always_inline)) {
      std::memcpy(place, row + i, sizeof(Vector));
    });
  }
}

struct SumAnchor {
  template <int kVectors>
  [[gnu::always_inline]] static inline void run(const WeightedSumsInput* input, const std::vector<Range>* ranges,
                                                float* sums, Scratch* scratch, std::size_t anchor) {
    const WeightedSumsInput& in = *input;
    const std::size_t width = in.width();
    for (const Range& range : *ranges) {
      copy_rows(range, *scratch);
      const std::size_t size = range.end - range.begin;
      for (std::size_t channel = 0; channel < size; channel += kChannels) {
        multiply<kVectors, false>({scratch->weights.data(), 1, in.num_weights, scratch->block(channel), kChannels,
                                   sums + anchor * width + range.place + range.begin + channel, in.num_anchors * width},
                                  in.num_weights, std::min(kChannels, size - channel), scratch->slots.size());
      }
    }
  }
};

// The gradient by the weights of one anchor.
struct WeightsOfAnchor {
  template <int kVectors>
  [[gnu::always_inline]] static inline void run(const WeightedSumsInput* input, const std::vector<Range>* ranges,
                                                const float* by_sums, float* by_weights, Scratch* scratch,
                                                std::size_t anchor) {
    const WeightedSumsInput& in = *input;
    const std::size_t width = in.width(), padded = scratch->padded, num_slots = scratch->slots.size();
    std::fill_n(scratch->products.data(), num_slots * padded, 0.0f);
    for (const Range& range : *ranges) {
      copy_rows(range, *scratch);
      const std::size_t size = range.end - range.begin;
      for (std::size_t channel = 0; channel < size; channel += kChannels) {
        const std::size_t num_channels = std::min(kChannels, size - channel);
        for (std::size_t g = 0; g < in.num_weights; ++g) {
          const float* const from =
              by_sums + (g * in.num_anchors + anchor) * width + range.place + range.begin + channel;
          for (std::size_t i = 0; i < num_channels; ++i) scratch->transposed[i * padded + g] = from[i];
        }
        multiply<kVectors, true>({scratch->block(channel), kChannels, 1, scratch->transposed.data(), padded,
                                  scratch->products.data(), padded},
                                 num_slots, padded, num_channels);
      }
    }
    for (std::size_t s = 0; s < num_slots; ++s) {
      std::copy_n(scratch->products.data() + s * padded, in.num_weights,
                  by_weights + (anchor * in.num_slots + scratch->slots[s]) * in.num_weights);
    }
  }
};

// What one anchor adds to the gradient of the rows in a range.
struct RowsOfAnchor {
  template <int kVectors>
  [[gnu::always_inline]] static inline void run(const WeightedSumsInput* input, const Range* of, const float* by_sums,
                                                Scratch* scratch, std::size_t anchor) {
    const WeightedSumsInput& in = *input;
    const Range& range = *of;
    const std::size_t width = in.width(), size = range.end - range.begin;
    for (std::size_t channel = 0; channel < size; channel += kChannels) {
      multiply<kVectors, false>(
          {scratch->weights.data(), in.num_weights, 1, by_sums + anchor * width + range.place + range.begin + channel,
           in.num_anchors * width, scratch->block(channel), kChannels},
          scratch->slots.size(), std::min(kChannels, size - channel), in.num_weights);
    }
    for (std::size_t s = 0; s < kRowsAhead; ++s) prefetch(range.gradient, range, *scratch, s);
    for (std::size_t s = 0; s < scratch->slots.size(); ++s) {
      prefetch(range.gradient, range, *scratch, s + kRowsAhead);
      float* const row = range.gradient + scratch->of_slots[s] * range.width + range.begin;
      for_vectors(range, *scratch, s, [&](std::size_t i, const float* place) __attribute__((always_inline)) {
        Vector added, sum;
        load(place, added);
        load(row + i, sum);
        sum += added;
        store(sum, row + i);
      });
    }
  }
};

void check(const WeightedSumsInput& in) {
  for (std::size_t i = 0; i < in.rows.size(); ++i) {
    if (!in.present[i] || static_cast<std::uint64_t>(in.rows[i]) < in.num_rows) continue;
    throw std::out_of_range("rows[" + std::to_string(i / in.num_slots) + ", " + std::to_string(i % in.num_slots) +
                            "] is " + std::to_string(in.rows[i]) + ", but there are " + std::to_string(in.num_rows) +
                            " rows; rows must be below that");
  }
}

}  // namespace

void sum_weighted(const WeightedSumsInput& input, std::span<float> sums, const Workers& workers) {
  check(input);
  const std::vector<Range> ranges = make_ranges(input, kRange);
  std::vector<Scratch> scratch(workers.count(), Scratch(input));
  parallel_for(input.num_anchors, kAnchorsPerChunk, workers,
               [&](std::size_t thread, std::size_t begin, std::size_t end) {
                 for (std::size_t anchor = begin; anchor < end; ++anchor) {
                   find_slots(input, anchor, scratch[thread]);
                   run_best<SumAnchor, const WeightedSumsInput*, const std::vector<Range>*, float*, Scratch*>(
                       &input, &ranges, sums.data(), &scratch[thread], anchor);
                 }
               });
}

void sum_weighted_backward(const WeightedSumsInput& input, std::span<const float> by_sums, std::span<float> by_weights,
                           const std::vector<std::span<float>>& by_parts, const Workers& workers) {
  check(input);
  std::fill(by_weights.begin(), by_weights.end(), 0.0f);
  const std::vector<Range> ranges = make_ranges(input, kRange);
  // As many as keep every thread busy; where they end makes no difference to a channel.
  const std::size_t share = round_up((input.width() + workers.count() - 1) / workers.count(), kChannels);
  const std::vector<Range> asked = make_ranges(input, std::min(kRange, share), &by_parts);
  std::vector<Scratch> scratch(workers.count(), Scratch(input));
  parallel_for(input.num_anchors, kAnchorsPerChunk, workers,
               [&](std::size_t thread, std::size_t begin, std::size_t end) {
                 for (std::size_t anchor = begin; anchor < end; ++anchor) {
                   find_slots(input, anchor, scratch[thread]);
                   run_best<WeightsOfAnchor, const WeightedSumsInput*, const std::vector<Range>*, const float*, float*,
                            Scratch*>(&input, &ranges, by_sums.data(), by_weights.data(), &scratch[thread], anchor);
                 }
               });
  parallel_for(asked.size(), 1, workers, [&](std::size_t thread, std::size_t begin, std::size_t end) {
    for (std::size_t r = begin; r < end; ++r) {
      for (std::size_t row = 0; row < input.num_rows; ++row) {
        float* const first = asked[r].gradient + row * asked[r].width;
        std::fill(first + asked[r].begin, first + asked[r].end, 0.0f);
      }
      for (std::size_t anchor = 0; anchor < input.num_anchors; ++anchor) {
        find_slots(input, anchor, scratch[thread]);
        run_best<RowsOfAnchor, const WeightedSumsInput*, const Range*, const float*, Scratch*>(
            &input, &asked[r], by_sums.data(), &scratch[thread], anchor);
      }
    }
  });
}

}  // namespace omnisage
