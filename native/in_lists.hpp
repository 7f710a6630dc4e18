// Where the edges of a graph come from: the lists that an entity stands in.
#pragma once

#include <cstdint>
#include <span>

#include "huge_pages.hpp"
#include "parallel.hpp"
#include "typed_graph.hpp"

namespace omnisage {

// Whether every entry of a list has its like in the other direction, of the same weight: false once lists are pruned,
// each end by itself. O(edges), in parallel. By sums of 64-bit hashes, so that lists which differ are taken for
// symmetric about once in 2^64.
bool is_symmetric(const TypedGraph& graph, const Workers& workers);

// For every entity v the entities whose lists v is in, rising, and its weight there; in internal numbers.
//
// Of symmetric lists these are the lists themselves, and nothing is copied: the graph must outlive it. Else it takes 4
// bytes per list entry (8 if weighted) and 8 per entity. O(edges) time; the same for any number of threads.
//
// Example: lists {1}, {0, 2}, {} give {1}, {0}, {1}.
class InLists {
 public:
  InLists(const TypedGraph& graph, const Workers& workers);

  bool is_symmetric() const { return is_symmetric_; }
  std::uint64_t degree(std::uint32_t entity) const { return indptr_[entity + 1] - indptr_[entity]; }
  std::span<const std::uint32_t> entities(std::uint32_t entity) const {
    return entities_.subspan(indptr_[entity], degree(entity));
  }
  std::span<const float> weights(std::uint32_t entity) const {  // empty if the graph has none
    return weights_.empty() ? weights_ : weights_.subspan(indptr_[entity], degree(entity));
  }

 private:
  void transpose(const TypedGraph& graph);

  bool is_symmetric_;
  HugeVector<std::uint64_t> own_indptr_;  // these three are empty if the lists are symmetric
  HugeVector<std::uint32_t> own_entities_;
  HugeVector<float> own_weights_;
  std::span<const std::uint64_t> indptr_;
  std::span<const std::uint32_t> entities_;
  std::span<const float> weights_;
};

}  // namespace omnisage
