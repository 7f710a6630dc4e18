// Attention of one query over an entity's own tokens and its neighbors, without a copy of the neighbors' tokens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "parallel.hpp"

namespace omnisage {

// B anchors of J own tokens and K neighbor slots, H heads, tokens of width D, U entities. The token in slot k of an
// anchor whose neighbor is u with log weight l is
//     gates[0] * tokens[u] + l * gates[1] * tokens[u] + positions[k]
// (products by channel) and its score scores[u, h] + l * scores[u, H + h] + position_scores[k, h].
struct AttentionInput {
  std::size_t num_anchors, num_own, num_slots, num_heads, width;  // B, J, K, H, D; D a multiple of 16
  std::span<const float> tokens;                                  // [U, D]; or empty, and in its place
  std::span<const std::uint16_t> brief_tokens;                    // [U, D] in bfloat16, which only attend reads
  std::span<const float> scores;                                  // [U, 2 H]
  std::span<const std::int64_t> neighbors;                        // [B, K]
  std::span<const float> log_weights;                             // [B, K]
  std::span<const std::uint8_t> present;                          // [B, K] 0 where the slot is empty
  std::span<const float> own;                                     // [B, J, D]
  std::span<const float> own_scores;                              // [B, J, H]
  std::span<const float> positions;                               // [K, D]
  std::span<const float> position_scores;                         // [K, H]
  std::span<const float> gates;                                   // [2, D]
  std::span<const float> factors;  // [B, J + K, H] what weights are multiplied with (dropout); or empty

  // Numbers per anchor and head in `weights`: J + K, up to a multiple of 16.
  std::size_t weights_row() const { return (num_own + num_slots + 15) / 16 * 16; }
};

struct AttentionOutput {
  std::span<float> reads;    // [H, B, D] what each head reads: the weighted sum of tokens
  std::span<float> totals;   // [H, B] the sums of the weights, after factors
  std::span<float> weights;  // [B, H, weights_row()] softmax of the scores, before factors: own tokens, then the
                             // slots that are present, in order; for `attend_backward`
};

struct AttentionGradient {
  std::span<float> tokens, scores, own, own_scores, positions, position_scores, gates;  // shaped as the input's
};

// The softmax of each head's scores over own tokens and present slots, and the sum of tokens weighted by it. Empty
// slots cost nothing. O(B K H D). Throws std::out_of_range at a neighbor that is not in 0 .. U - 1.
//
// Example: B = J = K = H = 1, D = 16, all scores 0, own {2, ...}, tokens {4, ...}, gates {1, ...}, {0, ...}, positions
// 0 gives weights {.5, .5} and reads {3, ...}.
void attend(const AttentionInput& input, const AttentionOutput& output, const Workers& workers);

// The gradient of a loss by the input, from `reads` and `totals`, its gradients by attend's output, and attend's
// weights. Sums are taken over anchors in order, each thread having its channels, so that the result is the same for
// any number of threads.
void attend_backward(const AttentionInput& input, std::span<const float> weights, std::span<const float> reads,
                     std::span<const float> totals, const AttentionGradient& gradient, const Workers& workers);

}  // namespace omnisage
