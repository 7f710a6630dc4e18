// The k best of a stream of scored indices, without sorting the stream; shared by topk and forward_push.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <vector>

namespace omnisage {

inline constexpr std::uint32_t kEmpty = 4294967295u;  // index or id in a slot that holds nothing

// Keeps the k largest scores offered, equal ones by smaller index. -inf never enters; scores must not be NaN.
//
// O(1) for a score below the k-th best, O(log k) otherwise.
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
    threshold_ = -std::numeric_limits<float>::infinity();
  }

  // No score below this can enter, and an equal one only with a smaller index than the worst entry's.
  float threshold() const { return threshold_; }

  void offer(float score, std::uint32_t index) {
    if (k_ == 0 || score == -std::numeric_limits<float>::infinity()) return;
    const std::uint64_t key = to_key(score, index);
    if (keys_.size() == k_) {
      if (key <= keys_.front()) return;
      std::pop_heap(keys_.begin(), keys_.end(), std::greater<>());
      keys_.back() = key;
    } else {
      keys_.push_back(key);
    }
    std::push_heap(keys_.begin(), keys_.end(), std::greater<>());
    if (keys_.size() == k_) threshold_ = from_key(keys_.front()).score;
  }

  std::size_t size() const { return keys_.size(); }

  // Sorts what is kept, best first; then entry(0) .. entry(size() - 1) may be read until the next reset.
  void sort() { std::sort_heap(keys_.begin(), keys_.end(), std::greater<>()); }
  Entry entry(std::size_t rank) const { return from_key(keys_[rank]); }

 private:
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
  std::vector<std::uint64_t> keys_;  // a heap with the worst key in front
  float threshold_ = 0;
};

}  // namespace omnisage
