// Adjacency lists in compressed sparse rows, and how they are made from a list of edges.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "parallel.hpp"
#include "partition.hpp"

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

// Builds the lists of rows first_row .. last_row - 1. Repeated edges become one, their weights summed; a
// symmetric self-loop counts once.
//
// Entries are grouped by runs of rows that fit into the cache (partition.hpp), then each group is radix-sorted by
// itself, by column and then by row. The result does not depend on the order of the edges, on how they are cut into
// chunks, or on the threads. O(edges) time; beside the edges 12 bytes (weighted: 20) per entry and 8 per row. Throws as
// check_edge does.
//
// Example: rows {1, 0, 1}, columns {2, 0, 2}, 2 rows, all of them wanted, 3 columns: indptr {0, 1, 2}, indices {0, 2}.
Csr build_csr(const Edges& edges, const Workers& workers);

// Throws std::invalid_argument unless indptr rises from 0 to indices.size() and weights are finite and above
// 0, and std::out_of_range at an index that is not below num_columns. O(edges).
void check_csr(const CsrView& csr, std::size_t num_columns, const Workers& workers);

}  // namespace omnisage
