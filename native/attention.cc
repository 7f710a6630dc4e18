#include "attention.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "huge_pages.hpp"
#include "instruction_sets.hpp"
#include "product.hpp"

namespace omnisage {
namespace {

constexpr std::size_t kChannels = 64;  // at a time: the tokens of 150 neighbors then take 38 KB, about a core's L1
constexpr std::size_t kAnchorsPerChunk = 8;

using Buffer = HugeVector<float>;

struct Slot {
  std::size_t slot, row;  // k, and the neighbor's u
  float log_weight;
};

// What one thread needs for one anchor.
struct Scratch {
  explicit Scratch(const AttentionInput& in)
      : heads(round_up(in.num_heads, kLanes)),
        factored(in.num_heads * in.weights_row()),
        block((in.num_own + in.num_slots) * kChannels),
        products((in.num_own + in.num_slots) * heads),
        transposed(kChannels * heads, 0.0f) {
    slots.reserve(in.num_slots);
  }

  std::size_t heads;
  std::vector<Slot> slots;
  Buffer factored;    // [H, weights_row()]
  Buffer block;       // [J + K, 64] some channels of all tokens of an anchor
  Buffer products;    // [J + K, heads]
  Buffer transposed;  // [64, heads]
};

void find_slots(const AttentionInput& in, std::size_t anchor, std::vector<Slot>& slots) {
  slots.clear();
  for (std::size_t k = 0; k < in.num_slots; ++k) {
    const std::size_t at = anchor * in.num_slots + k;
    if (in.present[at]) slots.push_back({k, static_cast<std::size_t>(in.neighbors[at]), in.log_weights[at]});
  }
}

// The lines that the next anchor will need, while this one is worked on.
[[gnu::always_inline]] inline void prefetch_next(const AttentionInput& in, const float* rows, std::size_t anchor,
                                                 std::size_t k, std::size_t channel) {
  const std::size_t at = (anchor + 1) * in.num_slots + k;
  if (at >= in.neighbors.size() || !in.present[at]) return;
  const float* const row = rows + static_cast<std::size_t>(in.neighbors[at]) * in.width + channel;
  for (std::size_t i = 0; i < kChannels; i += kLanes) __builtin_prefetch(row + i, 0, 2);
}

// Channels `channel ..` of the anchor's tokens: own ones, then those of present slots.
[[gnu::always_inline]] inline void fill_block(const AttentionInput& in, std::size_t anchor, std::size_t channel,
                                              std::size_t num_channels, Scratch& scratch) {
  float* out = scratch.block.data();
  for (std::size_t j = 0; j < in.num_own; ++j, out += kChannels) {
    std::copy_n(in.own.data() + (anchor * in.num_own + j) * in.width + channel, num_channels, out);
  }
  const float* const offset = in.gates.data() + channel;
  const float* const slope = offset + in.width;
  for (const Slot& slot : scratch.slots) {
    const float* const token = in.tokens.data() + slot.row * in.width + channel;
    const float* const position = in.positions.data() + slot.slot * in.width + channel;
    prefetch_next(in, in.tokens.data(), anchor, slot.slot, channel);
    for (std::size_t i = 0; i < num_channels; i += kLanes) {
      Vector value, gate, by_weight, place;
      load(token + i, value);
      load(offset + i, gate);
      load(slope + i, by_weight);
      load(position + i, place);
      value = value * (gate + slot.log_weight * by_weight) + place;
      store(value, out + i);
    }
    out += kChannels;
  }
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
    for (std::size_t channel = 0; channel < in.width; channel += kChannels) {
      const std::size_t num_channels = std::min(kChannels, in.width - channel);
      fill_block(in, anchor, channel, num_channels, *scratch);
      multiply<kVectors, false>({factored, row, 1, scratch->block.data(), kChannels,
                                 output->reads.data() + anchor * in.width + channel, in.num_anchors * in.width},
                                in.num_heads, num_channels, size);
    }
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
    for (std::size_t channel = 0; channel < in.width; channel += kChannels) {
      const std::size_t num_channels = std::min(kChannels, in.width - channel);
      fill_block(in, anchor, channel, num_channels, *scratch);
      for (std::size_t h = 0; h < in.num_heads; ++h) {
        const float* const from = b.reads + (h * in.num_anchors + anchor) * in.width + channel;
        for (std::size_t i = 0; i < num_channels; ++i) scratch->transposed[i * heads + h] = from[i];
      }
      multiply<kVectors, true>(
          {scratch->block.data(), kChannels, 1, scratch->transposed.data(), heads, scratch->products.data(), heads},
          size, heads, num_channels);
    }
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

// What one anchor adds to the gradients of tokens, positions and gates, for 64 channels.
struct TokenGradients {
  template <int kVectors>
  [[gnu::always_inline]] static inline void run(const Backward* backward, Scratch* scratch, std::size_t anchor,
                                                std::size_t channel) {
    const Backward& b = *backward;
    const AttentionInput& in = *b.input;
    const std::size_t row = in.weights_row(), num_own = in.num_own, size = num_own + scratch->slots.size();
    const std::size_t num_channels = std::min(kChannels, in.width - channel);
    const float* const factored = apply_factors(in, anchor, b.weights + anchor * in.num_heads * row, *scratch);
    multiply<kVectors, false>({factored, 1, row, b.reads + anchor * in.width + channel, in.num_anchors * in.width,
                               scratch->block.data(), kChannels},
                              size, num_channels, in.num_heads);
    const float* by_token = scratch->block.data();
    for (std::size_t j = 0; j < num_own; ++j, by_token += kChannels) {
      std::copy_n(by_token, num_channels, b.gradient->own.data() + (anchor * num_own + j) * in.width + channel);
    }
    for (const Slot& slot : scratch->slots) {
      prefetch_next(in, in.tokens.data(), anchor, slot.slot, channel);
      prefetch_next(in, b.gradient->tokens.data(), anchor, slot.slot, channel);
    }
    for (std::size_t i = channel; i < channel + num_channels; i += kLanes, by_token += kLanes) {
      Vector offset, slope, offset_sum, slope_sum;
      load(in.gates.data() + i, offset);
      load(in.gates.data() + in.width + i, slope);
      load(b.gradient->gates.data() + i, offset_sum);
      load(b.gradient->gates.data() + in.width + i, slope_sum);
      const float* from = by_token;
      for (const Slot& slot : scratch->slots) {
        float* const token_sum = b.gradient->tokens.data() + slot.row * in.width + i;
        float* const position_sum = b.gradient->positions.data() + slot.slot * in.width + i;
        Vector by_value, token, sum;
        load(from, by_value);
        load(in.tokens.data() + slot.row * in.width + i, token);
        load(token_sum, sum);
        sum += by_value * (offset + slot.log_weight * slope);
        store(sum, token_sum);
        load(position_sum, sum);
        sum += by_value;
        store(sum, position_sum);
        token *= by_value;
        offset_sum += token;
        slope_sum += slot.log_weight * token;
        from += kChannels;
      }
      store(offset_sum, b.gradient->gates.data() + i);
      store(slope_sum, b.gradient->gates.data() + in.width + i);
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
  const std::size_t num_entities = in.width == 0 ? 0 : in.tokens.size() / in.width;
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
                   find_slots(input, anchor, scratch[thread].slots);
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
  const std::size_t num_blocks = (input.width + kChannels - 1) / kChannels;
  const auto find_scores = [&](Scratch& of_thread, std::size_t anchor) {
    find_slots(input, anchor, of_thread.slots);
    run_best<ScoreGradients, const Backward*, Scratch*>(&backward, &of_thread, anchor);
  };
  const auto add = [&](Scratch& of_thread, std::size_t anchor, std::size_t block) {
    if (block == num_blocks) {
      add_scores(backward, of_thread.slots, anchor);
    } else {
      run_best<TokenGradients, const Backward*, Scratch*>(&backward, &of_thread, anchor, block * kChannels);
    }
  };
  if (workers.count() == 1) {  // anchor by anchor, while its neighbors' tokens are in the cache
    parallel_for(input.num_anchors, kAnchorsPerChunk, workers, [&](std::size_t, std::size_t begin, std::size_t end) {
      for (std::size_t anchor = begin; anchor < end; ++anchor) {
        find_scores(scratch[0], anchor);
        for (std::size_t block = 0; block <= num_blocks; ++block) add(scratch[0], anchor, block);
      }
    });
    return;
  }
  parallel_for(input.num_anchors, kAnchorsPerChunk, workers,
               [&](std::size_t thread, std::size_t begin, std::size_t end) {
                 for (std::size_t anchor = begin; anchor < end; ++anchor) find_scores(scratch[thread], anchor);
               });
  parallel_for(num_blocks + 1, 1, workers, [&](std::size_t thread, std::size_t block, std::size_t) {
    for (std::size_t anchor = 0; anchor < input.num_anchors; ++anchor) {
      find_slots(input, anchor, scratch[thread].slots);
      add(scratch[thread], anchor, block);
    }
  });
}

}  // namespace omnisage
