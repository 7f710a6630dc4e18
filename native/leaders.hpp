// The entities of one type that score best, out of many that are offered.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "select.hpp"
#include "typed_graph.hpp"

namespace omnisage {

// Keeps the k entities with the largest scores above 0.
//
// Unlike Best it breaks ties by a number that is dear to look up, the external id (a random access that misses the
// cache): entities are kept with all their ties until the end, and only what can be in the result is looked up. With
// look-ups at every offer, ranking was half of all time at eps 1e-4.
//
// O(1) per offer, O(k log k) to sort.
class Leaders {
 public:
  struct Entry {
    float score;
    std::uint32_t entity;
  };

  void reset(std::size_t k) {
    k_ = k;
    limit_ = std::max<std::size_t>(2 * k, 64);
    keys_.clear();
    floor_ = k == 0 ? std::numeric_limits<float>::infinity() : std::numeric_limits<float>::denorm_min();
  }

  std::size_t capacity() const { return k_; }

  // No score below this enters.
  float floor() const { return floor_; }

  // Returns whether the floor rose.
  bool offer(float score, std::uint32_t entity) {
    if (score < floor_) return false;
    keys_.push_back(to_key(score, entity));
    if (keys_.size() < limit_) return false;
    raise_floor();
    return true;
  }

  // Drops what k others beat; ties with the worst of these stay, so there is no bound but that of the offers.
  void raise_floor() {
    if (k_ == 0 || keys_.size() < k_) return;
    select_largest(keys_, k_);
    floor_ = from_key(keys_[k_ - 1]).score;
    const std::uint64_t lowest = to_key(floor_, 0);
    keys_.erase(std::remove_if(keys_.begin() + static_cast<std::ptrdiff_t>(k_), keys_.end(),
                               [&](std::uint64_t key) { return key < lowest; }),
                keys_.end());
    limit_ = std::max(limit_, 2 * keys_.size());
  }

  // The best as internal numbers, unsorted, ties by falling number.
  void cut_to_best() {
    if (keys_.size() <= k_) return;
    select_largest(keys_, k_);
    keys_.resize(k_);
  }

  // The best as external ids, best first, ties by id.
  void sort_by_external(const TypedGraph& graph) {
    raise_floor();
    for (std::uint64_t& key : keys_) key = to_key(from_key(key).score, ~graph.external(from_key(key).entity));
    cut_to_best();
    sort_falling(keys_);
    for (std::uint64_t& key : keys_) key ^= 0xFFFFFFFFu;
  }

  std::size_t size() const { return keys_.size(); }
  Entry entry(std::size_t rank) const { return from_key(keys_[rank]); }

 private:
  // The bits of floats above 0 order like the floats.
  static std::uint64_t to_key(float score, std::uint32_t entity) {
    return std::uint64_t{std::bit_cast<std::uint32_t>(score)} << 32 | entity;
  }
  static Entry from_key(std::uint64_t key) {
    return {std::bit_cast<float>(static_cast<std::uint32_t>(key >> 32)), static_cast<std::uint32_t>(key)};
  }

  std::size_t k_ = 0;
  std::size_t limit_ = 0;  // size at which the floor is raised
  std::vector<std::uint64_t> keys_;
  float floor_ = 0;
};

}  // namespace omnisage
