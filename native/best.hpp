// The k best of a stream of scored indices, without sorting the stream; shared by topk and random_walks.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "select.hpp"

namespace omnisage {

inline constexpr std::uint32_t kEmpty = 4294967295u;  // index or id in a slot that holds nothing

// Keeps the k largest scores offered, equal ones by smaller index. -inf never enters; scores must not be NaN.
//
// Up to 2k candidates are collected, then cut back to the k best: O(1) per offer, O(k log k) to sort.
// Example: k = 2, offers (1.0, 7), (3.0, 9), (3.0, 4): after sort(), the entries are (3.0, 4), (3.0, 9).
class Best {
 public:
  struct Entry {
    float score;
    std::uint32_t index;
  };

  void reset(std::size_t k) {
    k_ = k;
    keys_.clear();
    worst_key_ = to_key(-std::numeric_limits<float>::infinity(), 0);
    threshold_ = -std::numeric_limits<float>::infinity();
  }

  // No score below this can enter, nor an equal one with a larger index than all before.
  float threshold() const { return threshold_; }

  void offer(float score, std::uint32_t index) {
    const std::uint64_t key = to_key(score, index);
    if (key <= worst_key_ || k_ == 0) return;
    keys_.push_back(key);
    if (keys_.size() == 2 * k_) cut();
  }

  // Sorts what is kept, best first; then size() and entry(0) .. entry(size() - 1) may be read until the next reset.
  void sort() {
    if (keys_.size() > k_) cut();
    sort_falling(keys_);
  }
  std::size_t size() const { return keys_.size(); }
  Entry entry(std::size_t rank) const { return from_key(keys_[rank]); }

 private:
  void cut() {
    select_largest(keys_, k_);
    worst_key_ = keys_[k_ - 1];
    threshold_ = from_key(worst_key_).score;
    keys_.resize(k_);
  }

  // One integer that orders by score, then by falling index: a float's bits order like a signed magnitude.
  static std::uint64_t to_key(float score, std::uint32_t index) {
    const auto bits = std::bit_cast<std::uint32_t>(score + 0.0f);  // + 0 makes -0 equal to 0
    const std::uint32_t ordered = (bits & kSign) != 0 ? ~bits : bits | kSign;
    return static_cast<std::uint64_t>(ordered) << 32 | static_cast<std::uint32_t>(~index);
  }

  static Entry from_key(std::uint64_t key) {
    const auto ordered = static_cast<std::uint32_t>(key >> 32);
    const std::uint32_t bits = (ordered & kSign) != 0 ? ordered & ~kSign : ~ordered;
    return {std::bit_cast<float>(bits), ~static_cast<std::uint32_t>(key)};
  }

  static constexpr std::uint32_t kSign = 0x80000000u;

  std::size_t k_ = 0;
  std::vector<std::uint64_t> keys_;
  std::uint64_t worst_key_ = 0;  // of the k best at the last cut
  float threshold_ = 0;          // its score
};

}  // namespace omnisage
