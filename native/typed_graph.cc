#include "typed_graph.hpp"

#include <stdexcept>

#include "best.hpp"

namespace omnisage {
namespace {

constexpr std::size_t kEntitiesPerChunk = 1 << 16;

void check_adjacency(const Adjacency& adjacency, std::size_t num_from, std::size_t num_to, const Workers& workers) {
  const std::string where = adjacency.name + ": ";
  if (adjacency.lists.num_rows() != num_from) {
    throw std::invalid_argument(where + "there are " + std::to_string(adjacency.lists.num_rows()) + " lists for " +
                                std::to_string(num_from) + " entities");
  }
  try {
    check_csr(adjacency.lists, num_to, workers);
  } catch (const std::logic_error& error) {
    throw std::invalid_argument(where + error.what());
  }
}

}  // namespace

TypedGraph::TypedGraph(const std::vector<std::size_t>& num_entities, std::vector<Adjacency> adjacencies,
                       const Workers& workers) {
  offsets_.push_back(0);
  for (const std::size_t count : num_entities) offsets_.push_back(offsets_.back() + count);
  if (offsets_.back() >= kEmpty) {
    throw std::invalid_argument("a walk over " + std::to_string(offsets_.back()) +
                                " entities is too large; its entity types may hold 4294967294 together");
  }
  from_.resize(num_entities.size());
  degrees_.assign(offsets_.back(), 0);
  for (Adjacency& adjacency : adjacencies) {
    check_adjacency(adjacency, num_entities[adjacency.from_type], num_entities[adjacency.to_type], workers);
    std::uint32_t* const degrees = degrees_.data() + offsets_[adjacency.from_type];
    auto chunk = [&](std::size_t, std::size_t begin, std::size_t end) {
      for (std::size_t row = begin; row < end; ++row) {
        degrees[row] += static_cast<std::uint32_t>(adjacency.lists.degree(row));
      }
    };
    parallel_for(adjacency.lists.num_rows(), kEntitiesPerChunk, workers, chunk);
    from_[adjacency.from_type].push_back(std::move(adjacency));
  }
}

}  // namespace omnisage
