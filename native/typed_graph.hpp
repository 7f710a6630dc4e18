// The part of a typed graph that one walk may use: several adjacencies over entities of several types.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "csr.hpp"
#include "parallel.hpp"

namespace omnisage {

// The lists of one relation, seen from the entities of one type.
struct Adjacency {
  std::string name;  // for messages
  std::uint32_t from_type;
  std::uint32_t to_type;
  CsrView lists;
};

// Entities of all types under one number each: entity `id` of type t is offset(t) + id.
//
// Example: 3 movies and 2 people: movie 1 is entity 1, person 1 is entity 4. Arrays stay the caller's.
class TypedGraph {
 public:
  // Checks every list (see check_csr; O(edges), streaming). Throws std::invalid_argument if entities do not
  // fit into 32 bits, and what check_csr throws, with the adjacency's name in front.
  TypedGraph(const std::vector<std::size_t>& num_entities, std::vector<Adjacency> adjacencies, const Workers& workers);

  std::size_t num_types() const { return offsets_.size() - 1; }
  std::size_t num_entities(std::size_t type) const { return offsets_[type + 1] - offsets_[type]; }
  std::size_t num_entities() const { return offsets_.back(); }
  std::uint32_t offset(std::size_t type) const { return static_cast<std::uint32_t>(offsets_[type]); }

  // Types are few, so a scan beats a search.
  std::size_t type_of(std::uint32_t entity) const {
    std::size_t type = 0;
    while (entity >= offsets_[type + 1]) ++type;
    return type;
  }

  // The adjacencies that leave entities of a type.
  const std::vector<Adjacency>& from(std::size_t type) const { return from_[type]; }

  // The number of edges of an entity, over all adjacencies.
  std::uint32_t degree(std::uint32_t entity) const { return degrees_[entity]; }
  void prefetch_degree(std::uint32_t entity) const { __builtin_prefetch(&degrees_[entity]); }

  // Whether an adjacency that leaves this type has weights.
  bool is_weighted(std::size_t type) const {
    return std::any_of(from_[type].begin(), from_[type].end(),
                       [](const Adjacency& a) { return !a.lists.weights.empty(); });
  }

 private:
  std::vector<std::uint64_t> offsets_;
  std::vector<std::vector<Adjacency>> from_;
  std::vector<std::uint32_t> degrees_;
};

}  // namespace omnisage
