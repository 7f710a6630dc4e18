// Degree pruning (OmniSage, appendix, Algorithm 2).
#pragma once

#include <cstdint>

#include "csr.hpp"
#include "parallel.hpp"

namespace omnisage {

// Which end of an edge is hashed first, so that the lists of both ends see the same hash.
enum class PairOrder {
  kRowFirst,      // the rows are the relation's source type
  kRowLast,       // the rows are the relation's target type
  kSmallerFirst,  // a relation of a type with itself
};

struct PruneRule {
  double alpha;
  std::uint64_t min_degree;
  std::uint64_t max_degree;
  std::uint64_t seed;
  PairOrder order;
  std::size_t first_row = 0;  // the id of the first list: lists may be a range of all rows
};

// How many edges a list of `degree` keeps: max(min(floor(degree^alpha), max_degree), min_degree), at most
// all. Example: alpha 0.5, min 1, max 10: degree 50 keeps 7, degree 400 keeps 10.
std::uint64_t kept_degree(std::uint64_t degree, const PruneRule& rule);

// Keeps in each list the kept_degree edges with the smallest pair_hash (ties: the smaller index), in rising
// order.
//
// What stays depends on the seed and the pairs only: a rebuild, a shard or another engine chooses the same
// edges. O(edges) time. Example: a list of 4 with kept_degree 2 and hashes 9, 3, 5, 8 keeps its 2nd and 3rd
// entries.
Csr prune(const CsrView& csr, const PruneRule& rule, const Workers& workers);

}  // namespace omnisage
