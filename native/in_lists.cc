#include "in_lists.hpp"

#include <atomic>
#include <bit>

#include "hash.hpp"

namespace omnisage {
namespace {

constexpr std::size_t kEntitiesPerChunk = 1 << 12;

}  // namespace

bool is_symmetric(const TypedGraph& graph, const Workers& workers) {
  std::atomic<std::uint64_t> difference{0};
  parallel_for(graph.num_entities(), kEntitiesPerChunk, workers, [&](std::size_t, std::size_t first, std::size_t last) {
    std::uint64_t sum = 0;
    for (std::uint64_t from = first; from < last; ++from) {
      for (std::uint64_t at = graph.indptr()[from]; at < graph.indptr()[from + 1]; ++at) {
        const std::uint64_t to = graph.indices()[at];
        const std::uint64_t weight = graph.is_weighted() ? std::bit_cast<std::uint32_t>(graph.weights()[at]) : 0;
        sum += splitmix64((from << 32 | to) ^ splitmix64(weight)) - splitmix64((to << 32 | from) ^ splitmix64(weight));
      }
    }
    difference.fetch_add(sum, std::memory_order_relaxed);
  });
  return difference == 0;
}

InLists::InLists(const TypedGraph& graph, const Workers& workers)
    : is_symmetric_(omnisage::is_symmetric(graph, workers)),
      indptr_(graph.indptr()),
      entities_(graph.indices()),
      weights_(graph.weights()) {
  if (!is_symmetric_) transpose(graph);
}

void InLists::transpose(const TypedGraph& graph) {
  const auto num_entities = static_cast<std::uint32_t>(graph.num_entities());
  own_indptr_.resize(num_entities + std::size_t{1});
  std::fill(own_indptr_.begin(), own_indptr_.end(), 0);
  for (const std::uint32_t entity : graph.indices()) ++own_indptr_[entity + std::size_t{1}];
  for (std::size_t entity = 0; entity < num_entities; ++entity) own_indptr_[entity + 1] += own_indptr_[entity];
  own_entities_.resize(graph.indices().size());
  own_weights_.resize(graph.weights().size());
  std::vector<std::uint64_t> next(own_indptr_.begin(), own_indptr_.end() - 1);
  for (std::uint32_t from = 0; from < num_entities; ++from) {
    for (std::uint64_t at = graph.indptr()[from]; at < graph.indptr()[from + 1]; ++at) {
      const std::uint64_t place = next[graph.indices()[at]]++;
      own_entities_[place] = from;
      if (graph.is_weighted()) own_weights_[place] = graph.weights()[at];
    }
  }
  indptr_ = own_indptr_;
  entities_ = own_entities_;
  weights_ = own_weights_;
}

}  // namespace omnisage
