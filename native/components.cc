#include "components.hpp"

#include <algorithm>
#include <utility>

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

Components::Components(const TypedGraph& graph, const InLists& in_lists, const Workers& workers)
    : graph_(graph), by_type_(graph.num_types()) {
  join(graph);
  if (!in_lists.is_symmetric()) step_from_weights(in_lists, workers);
  sum_up();
}

void Components::join(const TypedGraph& graph) {
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
}

void Components::step_from_weights(const InLists& in_lists, const Workers& workers) {
  constexpr std::size_t kEntitiesPerChunk = 1 << 12;
  const std::size_t num_entities = graph_.num_entities();
  shares_.resize(num_entities);
  for (std::uint32_t entity = 0; entity < num_entities; ++entity) shares_[entity] = graph_.total_weight(entity);
  std::vector<double> leaving(num_entities), after(num_entities);  // per unit of weight
  for (int step = 0; step < kSteps; ++step) {
    for (std::uint32_t entity = 0; entity < num_entities; ++entity) {
      leaving[entity] = graph_.degree(entity) == 0 ? 0 : shares_[entity] / graph_.total_weight(entity) / 2;
    }
    parallel_for(num_entities, kEntitiesPerChunk, workers, [&](std::size_t, std::size_t first, std::size_t last) {
      for (auto entity = static_cast<std::uint32_t>(first); entity < last; ++entity) {
        const std::span<const std::uint32_t> from = in_lists.entities(entity);
        const std::span<const float> weights = in_lists.weights(entity);
        double sum = shares_[entity] / (graph_.degree(entity) == 0 ? 1 : 2);
        for (std::size_t i = 0; i < from.size(); ++i) sum += leaving[from[i]] * (weights.empty() ? 1.0 : weights[i]);
        after[entity] = sum;
      }
    });
    std::swap(shares_, after);
  }
}

void Components::sum_up() {
  const auto num_entities = static_cast<std::uint32_t>(graph_.num_entities());
  for (std::uint32_t entity = 0; entity < num_entities; ++entity) {  // parents come first and are numbers already
    const bool is_root = of_[entity] == entity;
    of_[entity] = is_root ? static_cast<std::uint32_t>(total_shares_.size()) : of_[of_[entity]];
    if (is_root) total_shares_.push_back(0);
    total_shares_[of_[entity]] += share(entity);
  }
  const auto heaviest = std::max_element(total_shares_.begin(), total_shares_.end());
  heaviest_ = static_cast<std::uint32_t>(heaviest - total_shares_.begin());
  for (std::uint32_t entity = 0; entity < num_entities; ++entity) {
    if (of_[entity] == heaviest_) by_type_[graph_.type_of(entity)].push_back(entity);
  }
  if (are_degrees()) return;  // they fall already
  for (std::vector<std::uint32_t>& entities : by_type_) {
    std::sort(entities.begin(), entities.end(), [&](std::uint32_t left, std::uint32_t right) {
      const double of_left = share(left), of_right = share(right);
      return of_left != of_right ? of_left > of_right : graph_.external(left) < graph_.external(right);
    });
  }
}

}  // namespace omnisage
