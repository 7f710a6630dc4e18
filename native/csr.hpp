// Adjacency lists in compressed sparse rows, and how they are made from a list of edges.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "parallel.hpp"

namespace omnisage {

// The list of row u is indices[indptr[u] : indptr[u + 1]], rising; weights run beside it, or are empty.
struct Csr {
  std::vector<std::uint64_t> indptr;
  std::vector<std::uint32_t> indices;
  std::vector<float> weights;
};

// The same, of arrays that somebody else owns.
struct CsrView {
  std::span<const std::uint64_t> indptr;
  std::span<const std::uint32_t> indices;
  std::span<const float> weights;

  std::size_t num_rows() const { return indptr.size() - 1; }
  std::size_t degree(std::size_t row) const { return indptr[row + 1] - indptr[row]; }
};

struct Edges {
  std::span<const std::uint32_t> source;
  std::span<const std::uint32_t> target;
  std::span<const float> weights;  // empty: unweighted
  std::size_t num_sources;
  std::size_t num_targets;
  bool is_symmetric;  // source and target are of one type: every edge also enters its target's list
};

// Builds the lists of the sources. Repeated edges become one, their weights summed; a symmetric self-loop
// counts once.
//
// Two passes over the edges (count, then place), then each list is sorted; the result does not depend on the
// order of the edges. O(edges + sum of degree * log degree) time, one 4-byte (weighted: 8-byte) record per
// edge end beside the result. Throws std::out_of_range at an id that is too large and std::invalid_argument
// at a weight that is not finite or not above 0, naming them.
//
// Example: source {1, 0, 1}, target {2, 0, 2}, 2 sources, 3 targets: indptr {0, 1, 2}, indices {0, 2}.
Csr build_csr(const Edges& edges, const Workers& workers);

// Throws std::invalid_argument unless indptr rises from 0 to indices.size() and weights are finite and above
// 0, and std::out_of_range at an index that is not below num_columns. O(edges).
void check_csr(const CsrView& csr, std::size_t num_columns, const Workers& workers);

}  // namespace omnisage
