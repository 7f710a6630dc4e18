#include "attention.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "anchor_tokens.hpp"
#include "instruction_sets.hpp"
#include "product.hpp"

namespace omnisage {
namespace {

constexpr std::size_t kRowsAhead = 3;  // whose gradients are fetched before they are needed
constexpr std::size_t kAnchorsPerChunk = 8;

// Fetches channels `begin .. end - 1` of the row of a slot some places ahead.
[[gnu::always_inline]] inline void prefetch_row(const float* rows, const AttentionInput& in,
                                                const std::vector<Slot>& slots, std::size_t ahead, std::size_t begin,
                                                std::size_t end) {
  if (ahead >= slots.size()) return;
  const float* const row = rows + slots[ahead].row * in.width;
  for (std::size_t i = begin; i < end; i += kLanes) __builtin_prefetch(row + i);
}

// Scores of head h in row h of `weights`, ready for a softmax: what is absent is -inf.
void fill_scores(const AttentionInput& in, std::size_t anchor, const std::vector<Slot>& slots, float* weights) {
  const std::size_t num_heads = in.num_heads, row = in.weights_row();
  for (std::size_t j = 0; j < in.num_own; ++j) {
    const float* const own = in.own_scores.data() + (anchor * in.num_own + j) * num_heads;
    for (std::size_t h = 0; h < num_heads; ++h) weights[h * row + j] = own[h];
  }
  float* out = weights + in.num_own;
  for (const Slot& slot : slots) {
    const float* const scores = in.scores.data() + slot.row * 2 * num_heads;
    const float* const position = in.position_scores.data() + slot.slot * num_heads;
    for (std::size_t h = 0; h < num_heads; ++h) {
      out[h * row] = scores[h] + slot.log_weight * scores[num_heads + h] + position[h];
    }
    ++out;
  }
  for (std::size_t h = 0; h < num_heads; ++h) {
    std::fill(weights + h * row + in.num_own + slots.size(), weights + (h + 1) * row,
              -std::numeric_limits<float>::infinity());
  }
}

[[gnu::always_inline]] inline void softmax(float* row, std::size_t size) {
  Vector best, next, sum = {};
  load(row, best);
  for (std::size_t i = kLanes; i < size; i += kLanes) {
    load(row + i, next);
    best = next > best ? next : best;
  }
  const float shift = max_of(best);
  for (std::size_t i = 0; i < size; i += kLanes) {
    load(row + i, next);
    next -= shift;
    exp_nonpositive(next);
    sum += next;
    store(next, row + i);
  }
  const float factor = 1.0f / sum_of(sum);
  for (std::size_t i = 0; i < size; i += kLanes) {
    load(row + i, next);
    next *= factor;
    store(next, row + i);
  }
}

// The factor of the anchor's token `s` (an own one, or a present slot) for head 0; the other heads' follow.
const float* factors_of(const AttentionInput& in, std::size_t anchor, std::size_t s, const std::vector<Slot>& slots) {
  const std::size_t place = s < in.num_own ? s : in.num_own + slots[s - in.num_own].slot;
  return in.factors.data() + (anchor * (in.num_own + in.num_slots) + place) * in.num_heads;
}

// The anchor's weights after factors: the weights themselves where there are none.
const float* apply_factors(const AttentionInput& in, std::size_t anchor, const float* weights, Scratch& scratch) {
  if (in.factors.empty()) return weights;
  const std::size_t row = in.weights_row(), size = in.num_own + scratch.slots.size();
  for (std::size_t s = 0; s < size; ++s) {
    const float* const factors = factors_of(in, anchor, s, scratch.slots);
    for (std::size_t h = 0; h < in.num_heads; ++h) {
      scratch.factored[h * row + s] = weights[h * row + s] * factors[h];
    }
  }
  return scratch.factored.data();
}

struct Attend {
  template <int kVectors>
  [[gnu::always_inline]] static inline void run(const AttentionInput* input, const AttentionOutput* output,
                                                Scratch* scratch, std::size_t anchor) {
    const AttentionInput& in = *input;
    const std::size_t row = in.weights_row(), size = in.num_own + scratch->slots.size();
    float* const weights = output->weights.data() + anchor * in.num_heads * row;
    fill_scores(in, anchor, scratch->slots, weights);
    for (std::size_t h = 0; h < in.num_heads; ++h) softmax(weights + h * row, row);
    const float* const factored = apply_factors(in, anchor, weights, *scratch);
    for (std::size_t h = 0; h < in.num_heads; ++h) {
      float total = 0.0f;
      for (std::size_t s = 0; s < size; ++s) total += factored[h * row + s];
      output->totals[h * in.num_anchors + anchor] = total;
    }
    if (in.brief_tokens.empty()) {
      read<kVectors>(in, in.tokens.data(), factored, *scratch, anchor, output->reads);
    } else {
      read<kVectors>(in, in.brief_tokens.data(), factored, *scratch, anchor, output->reads);
    }
  }

  // The sums of an anchor's tokens by the weights of each head.
  template <int kVectors, typename Token>
  [[gnu::always_inline]] static inline void read(const AttentionInput& in, const Token* tokens, const float* weights,
                                                 Scratch& scratch, std::size_t anchor, std::span<float> reads) {
    for_groups(in, tokens, anchor, scratch,
               [&](std::size_t begin, std::size_t end, std::size_t channel, std::size_t num_channels)
                   __attribute__((always_inline)) {
                     const Product product{weights + begin,
                                           in.weights_row(),
                                           1,
                                           scratch.block(channel) + begin * kChannels,
                                           kChannels,
                                           reads.data() + anchor * in.width + channel,
                                           in.num_anchors * in.width};
                     if (begin == 0) {
                       multiply<kVectors, false>(product, in.num_heads, num_channels, end);
                     } else {
                       multiply<kVectors, true>(product, in.num_heads, num_channels, end - begin);
                     }
                   });
  }
};

struct Backward {
  const AttentionInput* input;
  const float* weights;    // [B, H, weights_row()]
  const float* reads;      // [H, B, D] gradient by what was read
  const float* totals;     // [H, B]
  float* score_gradients;  // [B, H, weights_row()]
  const AttentionGradient* gradient;
};

// The gradient by the scores of one anchor.
struct ScoreGradients {
  template <int kVectors>
  [[gnu::always_inline]] static inline void run(const Backward* backward, Scratch* scratch, std::size_t anchor) {
    const Backward& b = *backward;
    const AttentionInput& in = *b.input;
    const std::size_t row = in.weights_row(), size = in.num_own + scratch->slots.size(), heads = scratch->heads;
    std::fill_n(scratch->products.data(), size * heads, 0.0f);
    for (std::size_t h = 0; h < in.num_heads; ++h) {
      const float* const from = b.reads + (h * in.num_anchors + anchor) * in.width;
      for (std::size_t i = 0; i < in.width; ++i) scratch->transposed[i * heads + h] = from[i];
    }
    for_groups(in, in.tokens.data(), anchor, *scratch,
               [&](std::size_t begin, std::size_t end, std::size_t channel, std::size_t num_channels)
                   __attribute__((always_inline)) {
                     multiply<kVectors, true>({scratch->block(channel) + begin * kChannels, kChannels, 1,
                                               scratch->transposed.data() + channel * heads, heads,
                                               scratch->products.data() + begin * heads, heads},
                                              end - begin, heads, num_channels);
                   });
    for (std::size_t h = 0; h < in.num_heads; ++h) {
      const float* const weights = b.weights + (anchor * in.num_heads + h) * row;
      float* const out = b.score_gradients + (anchor * in.num_heads + h) * row;
      const float of_total = b.totals[h * in.num_anchors + anchor];
      float mean = 0.0f;
      for (std::size_t s = 0; s < size; ++s) {
        float by_weight = scratch->products[s * heads + h] + of_total;
        if (!in.factors.empty()) by_weight *= factors_of(in, anchor, s, scratch->slots)[h];
        out[s] = by_weight;
        mean += weights[s] * by_weight;
      }
      for (std::size_t s = 0; s < size; ++s) out[s] = weights[s] * (out[s] - mean);
    }
  }
};

// What one anchor adds to the gradients of tokens, positions and gates, for channels `begin .. end - 1`.
struct TokenGradients {
  template <int kVectors>
  [[gnu::always_inline]] static inline void run(const Backward* backward, Scratch* scratch, std::size_t anchor,
                                                std::size_t begin, std::size_t end) {
    const Backward& b = *backward;
    const AttentionInput& in = *b.input;
    const AttentionGradient& gradient = *b.gradient;
    const std::size_t row = in.weights_row(), num_own = in.num_own, size = num_own + scratch->slots.size();
    const float* const factored = apply_factors(in, anchor, b.weights + anchor * in.num_heads * row, *scratch);
    for (std::size_t channel = begin; channel < end; channel += kChannels) {
      multiply<kVectors, false>({factored, 1, row, b.reads + anchor * in.width + channel, in.num_anchors * in.width,
                                 scratch->block(channel), kChannels},
                                size, std::min(kChannels, end - channel), in.num_heads);
    }
    for (std::size_t j = 0; j < num_own; ++j) {
      float* const own = gradient.own.data() + (anchor * num_own + j) * in.width;
      for_vectors(*scratch, j, begin, end, [&](std::size_t i, const float* place) __attribute__((always_inline)) {
        std::memcpy(own + i, place, sizeof(Vector));
      });
    }
    const float* const offset = in.gates.data();
    const float* const slope = offset + in.width;
    float* const offset_sum = gradient.gates.data();
    float* const slope_sum = offset_sum + in.width;
    for (std::size_t s = 0; s < scratch->slots.size(); ++s) {
      prefetch_row(in.tokens.data(), in, scratch->slots, s + kRowsAhead, begin, end);
      prefetch_row(gradient.tokens.data(), in, scratch->slots, s + kRowsAhead, begin, end);
      const Slot slot = scratch->slots[s];
      const float* const token = in.tokens.data() + slot.row * in.width;
      float* const token_sum = gradient.tokens.data() + slot.row * in.width;
      float* const position_sum = gradient.positions.data() + slot.slot * in.width;
      for_vectors(*scratch, num_own + s, begin, end,
                  [&](std::size_t i, const float* place) __attribute__((always_inline)) {
                    Vector by_value, value, gate, by_weight, sum;
                    load(place, by_value);
                    load(offset + i, gate);
                    load(slope + i, by_weight);
                    load(token_sum + i, sum);
                    sum += by_value * (gate + slot.log_weight * by_weight);
                    store(sum, token_sum + i);
                    load(position_sum + i, sum);
                    sum += by_value;
                    store(sum, position_sum + i);
                    load(token + i, value);
                    value *= by_value;
                    load(offset_sum + i, sum);
                    sum += value;
                    store(sum, offset_sum + i);
                    load(slope_sum + i, sum);
                    sum += slot.log_weight * value;
                    store(sum, slope_sum + i);
                  });
    }
  }
};

// What one anchor adds to the gradients of scores.
void add_scores(const Backward& b, const std::vector<Slot>& slots, std::size_t anchor) {
  const AttentionInput& in = *b.input;
  const std::size_t row = in.weights_row(), num_heads = in.num_heads;
  const float* const from = b.score_gradients + anchor * num_heads * row;
  for (std::size_t j = 0; j < in.num_own; ++j) {
    float* const own = b.gradient->own_scores.data() + (anchor * in.num_own + j) * num_heads;
    for (std::size_t h = 0; h < num_heads; ++h) own[h] = from[h * row + j];
  }
  for (std::size_t s = 0; s < slots.size(); ++s) {
    const Slot& slot = slots[s];
    float* const scores = b.gradient->scores.data() + slot.row * 2 * num_heads;
    float* const position = b.gradient->position_scores.data() + slot.slot * num_heads;
    for (std::size_t h = 0; h < num_heads; ++h) {
      const float value = from[h * row + in.num_own + s];
      scores[h] += value;
      scores[num_heads + h] += slot.log_weight * value;
      position[h] += value;
    }
  }
}

void check(const AttentionInput& in) {
  const std::size_t num_entities = in.width == 0 ? 0 : (in.tokens.size() + in.brief_tokens.size()) / in.width;
  for (std::size_t i = 0; i < in.neighbors.size(); ++i) {
    if (!in.present[i] || static_cast<std::uint64_t>(in.neighbors[i]) < num_entities) continue;
    throw std::out_of_range("neighbors[" + std::to_string(i / in.num_slots) + ", " + std::to_string(i % in.num_slots) +
                            "] is " + std::to_string(in.neighbors[i]) + ", but tokens has " +
                            std::to_string(num_entities) + " rows; neighbors must be in 0 .. that - 1");
  }
}

}  // namespace

void attend(const AttentionInput& input, const AttentionOutput& output, const Workers& workers) {
  check(input);
  std::vector<Scratch> scratch(workers.count(), Scratch(input));
  parallel_for(input.num_anchors, kAnchorsPerChunk, workers,
               [&](std::size_t thread, std::size_t begin, std::size_t end) {
                 for (std::size_t anchor = begin; anchor < end; ++anchor) {
                   find_slots_and_next(input, anchor, scratch[thread]);
                   run_best<Attend, const AttentionInput*, const AttentionOutput*, Scratch*>(&input, &output,
                                                                                             &scratch[thread], anchor);
                 }
               });
}

void attend_backward(const AttentionInput& input, std::span<const float> weights, std::span<const float> reads,
                     std::span<const float> totals, const AttentionGradient& gradient, const Workers& workers) {
  check(input);
  for (const auto sums :
       {gradient.tokens, gradient.scores, gradient.positions, gradient.position_scores, gradient.gates}) {
    std::fill(sums.begin(), sums.end(), 0.0f);
  }
  Buffer score_gradients(weights.size());
  const Backward backward{&input, weights.data(), reads.data(), totals.data(), score_gradients.data(), &gradient};
  std::vector<Scratch> scratch(workers.count(), Scratch(input));
  const auto find_scores = [&](Scratch& of_thread, std::size_t anchor) {
    find_slots_and_next(input, anchor, of_thread);
    run_best<ScoreGradients, const Backward*, Scratch*>(&backward, &of_thread, anchor);
  };
  const auto add_tokens = [&](Scratch& of_thread, std::size_t anchor, std::size_t begin, std::size_t end) {
    run_best<TokenGradients, const Backward*, Scratch*>(&backward, &of_thread, anchor, begin, end);
  };
  if (workers.count() == 1) {  // anchor by anchor, while its neighbors' tokens are in the cache
    parallel_for(input.num_anchors, kAnchorsPerChunk, workers, [&](std::size_t, std::size_t begin, std::size_t end) {
      for (std::size_t anchor = begin; anchor < end; ++anchor) {
        find_scores(scratch[0], anchor);
        add_tokens(scratch[0], anchor, 0, input.width);
        add_scores(backward, scratch[0].slots, anchor);
      }
    });
    return;
  }
  parallel_for(input.num_anchors, kAnchorsPerChunk, workers,
               [&](std::size_t thread, std::size_t begin, std::size_t end) {
                 for (std::size_t anchor = begin; anchor < end; ++anchor) find_scores(scratch[thread], anchor);
               });
  // Each thread has its channels, and goes through the anchors in order; one also adds up the scores.
  const std::size_t channels = round_up((input.width + workers.count() - 1) / workers.count(), kChannels);
  parallel_for(input.width, channels, workers, [&](std::size_t thread, std::size_t begin, std::size_t end) {
    for (std::size_t anchor = 0; anchor < input.num_anchors; ++anchor) {
      find_slots(input, anchor, scratch[thread].slots);
      add_tokens(scratch[thread], anchor, begin, end);
      if (end == input.width) add_scores(backward, scratch[thread].slots, anchor);
    }
  });
}

}  // namespace omnisage
