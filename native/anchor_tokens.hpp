// The tokens of one anchor as attention reads them: gathered, gated and with positions, group by group.
//
// Inlined into kernels of instruction_sets.hpp.
#pragma once

#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include "attention.hpp"
#include "huge_pages.hpp"
#include "product.hpp"

namespace omnisage {

constexpr std::size_t kChannels = 64;  // of a block: the tokens of 150 neighbors then take 38 KB, about a core's L1
constexpr std::size_t kGroup = 12288;  // numbers of a group of tokens, 48 KB: a small part of a core's second cache

using Buffer = HugeVector<float>;

struct Slot {
  std::size_t slot, row;  // k, and the neighbor's u
  float log_weight;
};

// What one thread needs for one anchor.
struct Scratch {
  explicit Scratch(const AttentionInput& in)
      : heads(round_up(in.num_heads, kLanes)),
        group(std::max(in.num_own, std::max(kGroup / in.width, std::size_t{1}))),
        factored(in.num_heads * in.weights_row()),
        num_tokens(in.num_own + in.num_slots),
        tokens(round_up(in.width, kChannels) * num_tokens),
        products((in.num_own + in.num_slots) * heads),
        transposed(in.width * heads, 0.0f) {
    slots.reserve(in.num_slots);
    next.reserve(in.num_slots);
  }

  // The part of `tokens` that holds the 64 channels from `channel` on: [J + K, 64].
  float* block(std::size_t channel) { return tokens.data() + channel * num_tokens; }

  std::size_t heads, group;  // tokens that are filled and multiplied before the next ones are
  std::vector<Slot> slots;   // that are present
  std::vector<Slot> next;    // those of the next anchor, or none
  Buffer factored;           // [H, weights_row()]
  std::size_t num_tokens;
  Buffer tokens;      // [blocks of 64 channels, J + K, 64] all tokens of an anchor, or the gradient by them
  Buffer products;    // [J + K, heads]
  Buffer transposed;  // [D, heads]
};

inline void find_slots(const AttentionInput& in, std::size_t anchor, std::vector<Slot>& slots) {
  slots.clear();
  for (std::size_t k = 0; k < in.num_slots; ++k) {
    const std::size_t at = anchor * in.num_slots + k;
    if (in.present[at]) slots.push_back({k, static_cast<std::size_t>(in.neighbors[at]), in.log_weights[at]});
  }
}

// The slots of an anchor and of the one after it.
inline void find_slots_and_next(const AttentionInput& in, std::size_t anchor, Scratch& scratch) {
  find_slots(in, anchor, scratch.slots);
  scratch.next.clear();
  if (anchor + 1 < in.num_anchors) find_slots(in, anchor + 1, scratch.next);
}

template <typename Token>
constexpr std::size_t kPerLine = 64 / sizeof(Token);  // tokens' numbers in a cache line

// A bfloat16 is the upper half of a float.
[[gnu::always_inline]] inline void load(const std::uint16_t* from, Vector& to) {
  typedef std::uint16_t Halves __attribute__((vector_size(kLanes * sizeof(std::uint16_t))));
  typedef std::uint32_t Wholes __attribute__((vector_size(kLanes * sizeof(std::uint32_t))));
  Halves halves;
  std::memcpy(&halves, from, sizeof(Halves));
  const Wholes wholes = __builtin_convertvector(halves, Wholes) << 16;
  std::memcpy(&to, &wholes, sizeof(Vector));
}

// Fetches the tokens of some slots, a share at a time, each row from its beginning to its end.
template <typename Token>
class Ahead {
 public:
  Ahead(const Token* tokens, std::size_t width, std::span<const Slot> slots)
      : tokens_(tokens), width_(width), slots_(slots) {}

  // Fetches the next `count` cache lines, into the second cache: the first is full of the tokens that are multiplied.
  [[gnu::always_inline]] void fetch(std::size_t count) {
    for (; count > 0 && slot_ < slots_.size(); --count) {
      __builtin_prefetch(tokens_ + slots_[slot_].row * width_ + channel_, 0, 2);
      channel_ += kPerLine<Token>;
      if (channel_ < width_) continue;
      channel_ = 0;
      ++slot_;
    }
  }

 private:
  const Token* tokens_;
  std::size_t width_;
  std::span<const Slot> slots_;
  std::size_t slot_ = 0, channel_ = 0;
};

// Calls body(i, place) for every vector of channels `begin .. end - 1` of a token, which begins at `i` and has its
// place in the block of token `s`. `begin` is a multiple of 64.
template <typename Body>
[[gnu::always_inline]] inline void for_vectors(Scratch& scratch, std::size_t s, std::size_t begin, std::size_t end,
                                               Body&& body) {
  for (std::size_t channel = begin; channel < end; channel += kChannels) {
    float* const places = scratch.block(channel) + s * kChannels;
    const std::size_t last = std::min(kChannels, end - channel);
    for (std::size_t i = 0; i < last; i += kLanes) body(channel + i, places + i);
  }
}

// The tokens `begin .. end - 1` of an anchor, own ones, then those of present slots: row by row, since most come from
// far away.
template <typename Token>
[[gnu::always_inline]] inline void fill_tokens(const AttentionInput& in, const Token* tokens, std::size_t anchor,
                                               Scratch& scratch, std::size_t begin, std::size_t end,
                                               Ahead<Token>& ahead) {
  const std::size_t share = in.width / kPerLine<Token> / 3;
  std::size_t s = begin;
  for (; s < std::min(end, in.num_own); ++s) {
    const float* const own = in.own.data() + (anchor * in.num_own + s) * in.width;
    for_vectors(scratch, s, 0, in.width, [&](std::size_t i, float* place) __attribute__((always_inline)) {
      std::memcpy(place, own + i, sizeof(Vector));
    });
  }
  const float* const offset = in.gates.data();
  const float* const slope = offset + in.width;
  for (; s < end; ++s) {
    ahead.fetch(share);
    const Slot slot = scratch.slots[s - in.num_own];
    const Token* const token = tokens + slot.row * in.width;
    const float* const position = in.positions.data() + slot.slot * in.width;
    for_vectors(scratch, s, 0, in.width, [&](std::size_t i, float* place) __attribute__((always_inline)) {
      Vector value, gate, by_weight, added;
      load(token + i, value);
      load(offset + i, gate);
      load(slope + i, by_weight);
      load(position + i, added);
      value = value * (gate + slot.log_weight * by_weight) + added;
      store(value, place);
    });
  }
}

// Calls body(begin, end, channel, num_channels) for groups of an anchor's tokens, filled, and blocks of their channels.
// While a group is multiplied, the rows of the next one are on their way.
template <typename Token, typename Body>
[[gnu::always_inline]] inline void for_groups(const AttentionInput& in, const Token* tokens, std::size_t anchor,
                                              Scratch& scratch, Body&& body) {
  const std::size_t size = in.num_own + scratch.slots.size(), num_blocks = (in.width + kChannels - 1) / kChannels;
  for (std::size_t begin = 0; begin < size; begin += scratch.group) {
    const std::size_t end = std::min(begin + scratch.group, size);
    const std::vector<Slot>& from = end < size ? scratch.slots : scratch.next;
    const std::size_t first = end < size ? end - in.num_own : 0;
    Ahead<Token> ahead(tokens, in.width, std::span(from).subspan(first, std::min(scratch.group, from.size() - first)));
    fill_tokens(in, tokens, anchor, scratch, begin, end, ahead);
    const std::size_t share = (scratch.group * in.width / kPerLine<Token> + num_blocks - 1) / num_blocks;
    for (std::size_t channel = 0; channel < in.width; channel += kChannels) {
      ahead.fetch(share);
      body(begin, end, channel, std::min(kChannels, in.width - channel));
    }
  }
}

}  // namespace omnisage
