#include "typed_graph.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "best.hpp"

namespace omnisage {
namespace {

constexpr std::size_t kEntitiesPerChunk = 1 << 12;

void check_adjacency(const Adjacency& adjacency, std::size_t num_from, std::size_t num_to, const Workers& workers) {
  const std::string where = adjacency.name + ": ";
  if (adjacency.lists.num_rows() > num_from) {
    throw std::invalid_argument(where + "there are " + std::to_string(adjacency.lists.num_rows()) + " lists for " +
                                std::to_string(num_from) + " entities; there may be at most one per entity");
  }
  try {
    check_csr(adjacency.lists, num_to, workers);
  } catch (const std::logic_error& error) {
    throw std::invalid_argument(where + error.what());
  }
}

std::uint64_t degree_of(const Adjacency& adjacency, std::size_t id) {
  return id < adjacency.lists.num_rows() ? adjacency.lists.degree(id) : 0;
}

// The adjacencies that leave entities of a type, in their order.
std::vector<Adjacency> leaving(const std::vector<Adjacency>& adjacencies, std::size_t type) {
  std::vector<Adjacency> found;
  for (const Adjacency& adjacency : adjacencies) {
    if (adjacency.from_type == type) found.push_back(adjacency);
  }
  return found;
}

// The places 0 .. n - 1 of some degrees, by falling degree, then rising: a counting sort, O(n + largest degree).
std::vector<std::uint32_t> order_by_degree(std::span<const std::uint32_t> degrees) {
  const std::uint32_t largest = degrees.empty() ? 0 : *std::max_element(degrees.begin(), degrees.end());
  std::vector<std::uint32_t> next(std::size_t{largest} + 2, 0);  // where the next entity of degree d goes, at d
  for (const std::uint32_t degree : degrees) ++next[degree];
  std::uint32_t begin = 0;
  for (std::size_t degree = std::size_t{largest} + 1; degree-- > 0;) {
    begin += std::exchange(next[degree], begin);
  }
  std::vector<std::uint32_t> order(degrees.size());
  for (std::size_t id = 0; id < degrees.size(); ++id) order[next[degrees[id]]++] = static_cast<std::uint32_t>(id);
  return order;
}

}  // namespace

TypedGraph::TypedGraph(const std::vector<std::size_t>& num_entities, const std::vector<Adjacency>& adjacencies,
                       const Workers& workers) {
  if (num_entities.size() > kMaxTypes) {
    throw std::invalid_argument("a walk over " + std::to_string(num_entities.size()) + " entity types; 254 at most");
  }
  offsets_.push_back(0);
  for (const std::size_t count : num_entities) {
    if (count >= kEmpty - offsets_.back()) {
      throw std::invalid_argument("a walk over " + std::to_string(count) + " and " + std::to_string(offsets_.back()) +
                                  " entities is too large; its entity types may hold 4294967294 together");
    }
    offsets_.push_back(offsets_.back() + count);
  }
  for (const Adjacency& adjacency : adjacencies) {
    check_adjacency(adjacency, num_entities[adjacency.from_type], num_entities[adjacency.to_type], workers);
  }
  number_entities(adjacencies, workers);
  table_degrees();
  copy_lists(adjacencies, workers);
}

void TypedGraph::check_sources(std::size_t type, std::span<const std::uint32_t> sources) const {
  for (std::size_t i = 0; i < sources.size(); ++i) {
    if (sources[i] < num_entities(type)) continue;
    throw std::out_of_range("sources[" + std::to_string(i) + "] is " + std::to_string(sources[i]) +
                            ", but that entity type has " + std::to_string(num_entities(type)) +
                            " entities; ids must be below that");
  }
}

void TypedGraph::number_entities(const std::vector<Adjacency>& adjacencies, const Workers& workers) {
  std::vector<std::uint32_t> degrees(num_entities());  // by offset(type) + id
  for (std::size_t type = 0; type < num_types(); ++type) {
    const std::span of_type(degrees.data() + offsets_[type], num_entities(type));
    for (const Adjacency& adjacency : leaving(adjacencies, type)) {
      parallel_for(of_type.size(), kEntitiesPerChunk, workers, [&](std::size_t, std::size_t begin, std::size_t end) {
        for (std::size_t id = begin; id < end; ++id) {
          const std::uint64_t sum = of_type[id] + degree_of(adjacency, id);
          if (sum >= kEmpty) throw std::invalid_argument(adjacency.name + ": an entity has 2^32 edges or more");
          of_type[id] = static_cast<std::uint32_t>(sum);
        }
      });
    }
  }
  const std::vector<std::uint32_t> order = order_by_degree(degrees);
  internal_.resize(num_entities());
  external_.resize(num_entities());
  types_.assign(num_entities(), 0);
  indptr_.resize(num_entities() + 1);
  indptr_[0] = 0;
  for (std::size_t number = 0; number < order.size(); ++number) {
    const std::uint32_t place = order[number];
    while (types_[number] + 1u < num_types() && place >= offsets_[types_[number] + 1]) ++types_[number];
    external_[number] = place - offset(types_[number]);
    internal_[place] = static_cast<std::uint32_t>(number);
    indptr_[number + 1] = indptr_[number] + degrees[place];
  }
}

void TypedGraph::table_degrees() {
  auto first = static_cast<std::uint32_t>(num_entities());
  first_within_.resize(kMaxTabled);
  for (std::uint32_t limit = 0; limit < kMaxTabled; ++limit) {
    while (first > 0 && degree(first - 1) <= limit) --first;
    first_within_[limit] = first;
  }
  num_linked_ = std::exchange(first_within_[0], kEmpty);
}

void TypedGraph::copy_lists(const std::vector<Adjacency>& adjacencies, const Workers& workers) {
  const bool has_weights = std::any_of(adjacencies.begin(), adjacencies.end(),
                                       [](const Adjacency& adjacency) { return !adjacency.lists.weights.empty(); });
  indices_.resize(indptr_.back());
  weights_.resize(has_weights ? indptr_.back() : 0);
  total_weights_.resize(has_weights ? num_entities() : 0);
  std::vector<std::vector<Adjacency>> by_type;
  for (std::size_t type = 0; type < num_types(); ++type) by_type.push_back(leaving(adjacencies, type));
  parallel_for(num_entities(), kEntitiesPerChunk, workers, [&](std::size_t, std::size_t first, std::size_t last) {
    for (std::size_t number = first; number < last; ++number) {
      const std::uint32_t id = external_[number];
      std::uint64_t place = indptr_[number];
      for (const auto& [name, from_type, to_type, lists] : by_type[types_[number]]) {
        if (id >= lists.num_rows()) continue;
        for (std::uint64_t at = lists.indptr[id]; at < lists.indptr[id + 1]; ++at, ++place) {
          indices_[place] = internal(to_type, lists.indices[at]);
          if (has_weights) weights_[place] = lists.weights.empty() ? 1.0f : lists.weights[at];
        }
      }
      if (!has_weights) continue;
      const auto begin = weights_.begin() + static_cast<std::ptrdiff_t>(indptr_[number]);
      const auto end = weights_.begin() + static_cast<std::ptrdiff_t>(place);
      total_weights_[number] = std::accumulate(begin, end, 0.0);
    }
  });
  total_weight_ = has_weights ? std::accumulate(total_weights_.begin(), total_weights_.end(), 0.0)
                              : static_cast<double>(indices_.size());
}

}  // namespace omnisage
