#include "components.hpp"

#include <algorithm>

namespace omnisage {
namespace {

// The least entity that is known to be in the same component; shortens the way there.
std::uint32_t find_root(std::span<std::uint32_t> parents, std::uint32_t entity) {
  while (parents[entity] != entity) {
    parents[entity] = parents[parents[entity]];
    entity = parents[entity];
  }
  return entity;
}

}  // namespace

Components::Components(const TypedGraph& graph) : by_type_(graph.num_types()) {
  const auto num_entities = static_cast<std::uint32_t>(graph.num_entities());
  of_.resize(num_entities);
  for (std::uint32_t entity = 0; entity < num_entities; ++entity) of_[entity] = entity;
  for (std::uint32_t entity = 0; entity < num_entities; ++entity) {
    std::uint32_t root = find_root(of_, entity);
    for (std::uint64_t at = graph.indptr()[entity]; at < graph.indptr()[entity + 1]; ++at) {
      const std::uint32_t other = find_root(of_, graph.indices()[at]);
      if (other == root) continue;
      of_[std::max(root, other)] = std::min(root, other);
      root = std::min(root, other);
    }
  }
  for (std::uint32_t entity = 0; entity < num_entities; ++entity) {  // parents come first and are numbers already
    const bool is_root = of_[entity] == entity;
    of_[entity] = is_root ? static_cast<std::uint32_t>(total_weights_.size()) : of_[of_[entity]];
    if (is_root) total_weights_.push_back(0);
    total_weights_[of_[entity]] += graph.total_weight(entity);
  }
  const auto heaviest = std::max_element(total_weights_.begin(), total_weights_.end());
  heaviest_ = static_cast<std::uint32_t>(heaviest - total_weights_.begin());
  for (std::uint32_t entity = 0; entity < num_entities; ++entity) {
    if (of_[entity] == heaviest_) by_type_[graph.type_of(entity)].push_back(entity);
  }
  if (!graph.is_weighted()) return;  // they fall by degree already
  for (std::vector<std::uint32_t>& entities : by_type_) {
    std::sort(entities.begin(), entities.end(), [&](std::uint32_t left, std::uint32_t right) {
      const double of_left = graph.total_weight(left), of_right = graph.total_weight(right);
      return of_left != of_right ? of_left > of_right : graph.external(left) < graph.external(right);
    });
  }
}

}  // namespace omnisage
