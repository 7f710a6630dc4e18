// Which entities of a graph hang together.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "huge_pages.hpp"
#include "typed_graph.hpp"

namespace omnisage {

// Components: entities are in the same one if edges link them, over others too, in whichever direction they are listed.
// In internal numbers, like all of TypedGraph.
class Components {
 public:
  // O(edges) time, on one thread; 8 bytes per entity.
  explicit Components(const TypedGraph& graph);

  std::uint32_t of(std::uint32_t entity) const { return of_[entity]; }
  double total_weight(std::uint32_t component) const { return total_weights_[component]; }  // of its entities

  // The component with the largest total weight, and its entities of one type by falling total weight, equal ones by
  // id.
  std::uint32_t heaviest() const { return heaviest_; }
  std::span<const std::uint32_t> heaviest_entities(std::size_t type) const { return by_type_[type]; }

 private:
  HugeVector<std::uint32_t> of_;
  std::vector<double> total_weights_;
  std::uint32_t heaviest_ = 0;
  std::vector<std::vector<std::uint32_t>> by_type_;
};

}  // namespace omnisage
