// Splits edges into groups of rows: the first step of building lists, in memory or on disk.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "parallel.hpp"

namespace omnisage {

// Some edges of a relation; weights run beside them, or are empty.
struct EdgeChunk {
  std::span<const std::uint32_t> rows;
  std::span<const std::uint32_t> columns;
  std::span<const float> weights;
};

struct Edges {
  std::span<const EdgeChunk> chunks;
  std::size_t num_rows;
  std::size_t num_columns;
  bool is_symmetric;  // rows and columns are of one type: every edge also enters its column's list
  std::size_t first_row;
  std::size_t last_row;  // entries of rows outside first_row .. last_row - 1 are left out

  bool wants(std::uint32_t row) const { return row >= first_row && row < last_row; }
  bool is_weighted() const { return !chunks.empty() && !chunks.front().weights.empty(); }
};

// List entries in groups: those of group g stand at starts[g] .. starts[g + 1].
struct Groups {
  std::vector<std::size_t> starts;
  std::unique_ptr<std::uint64_t[]> entries;  // row * 2^32 + column
  std::unique_ptr<float[]> weights;          // null: unweighted

  std::size_t size() const { return starts.size() - 1; }
};

// Throws what is wrong with an edge.
[[noreturn]] void refuse_edge(const Edges& edges, const EdgeChunk& chunk, std::size_t at);

// Throws std::out_of_range at an id that is too large and std::invalid_argument at a weight that is not finite or
// not above 0, naming the place in the chunk.
inline void check_edge(const Edges& edges, const EdgeChunk& chunk, std::size_t at) {
  const bool is_good = chunk.rows[at] < edges.num_rows && chunk.columns[at] < edges.num_columns &&
                       (chunk.weights.empty() || (std::isfinite(chunk.weights[at]) && chunk.weights[at] > 0));
  if (!is_good) refuse_edge(edges, chunk, at);
}

// Calls visit(place in the chunk, row, column) for every wanted list entry that edges begin .. end - 1 make.
template <typename Visit>
void for_each_entry(const Edges& edges, const EdgeChunk& chunk, std::size_t begin, std::size_t end, Visit&& visit) {
  for (std::size_t at = begin; at < end; ++at) {
    const std::uint32_t row = chunk.rows[at];
    const std::uint32_t column = chunk.columns[at];
    if (edges.wants(row)) visit(at, row, column);
    if (edges.is_symmetric && row != column && edges.wants(column)) visit(at, column, row);
  }
}

// Groups the entries by group_of(row), which is below num_groups, keeping their order within a group.
//
// Every block of edges counts its entries per group, then writes them to places of its own: no atomics, and the
// same bytes for any number of threads. O(edges) time, 8 bytes (weighted: 12) per entry. Throws as check_edge does.
//
// Example: rows {1, 0, 1}, columns {2, 0, 5}, group_of(row) = row: starts {0, 1, 3}, entries (0,0), (1,2), (1,5).
template <typename GroupOf>
Groups group_edges(const Edges& edges, std::size_t num_groups, GroupOf&& group_of, const Workers& workers) {
  constexpr std::size_t kEdgesPerBlock = 1 << 18;
  struct Block {
    const EdgeChunk* chunk;
    std::size_t begin, end;
  };
  std::vector<Block> blocks;
  for (const EdgeChunk& chunk : edges.chunks) {
    for (std::size_t begin = 0; begin < chunk.rows.size(); begin += kEdgesPerBlock) {
      blocks.push_back({&chunk, begin, std::min(chunk.rows.size(), begin + kEdgesPerBlock)});
    }
  }
  std::vector<std::size_t> places(blocks.size() * num_groups, 0);  // counts first, then where to write next
  parallel_for(blocks.size(), 1, workers, [&](std::size_t, std::size_t index, std::size_t) {
    const auto [chunk, begin, end] = blocks[index];
    std::size_t* counts = &places[index * num_groups];
    for (std::size_t at = begin; at < end; ++at) check_edge(edges, *chunk, at);
    for_each_entry(edges, *chunk, begin, end,
                   [&](std::size_t, std::uint32_t row, std::uint32_t) { ++counts[group_of(row)]; });
  });

  Groups groups;
  groups.starts.reserve(num_groups + 1);
  std::size_t total = 0;
  for (std::size_t group = 0; group < num_groups; ++group) {
    groups.starts.push_back(total);
    for (std::size_t index = 0; index < blocks.size(); ++index) {
      total += std::exchange(places[index * num_groups + group], total);
    }
  }
  groups.starts.push_back(total);
  groups.entries = std::make_unique_for_overwrite<std::uint64_t[]>(total);
  if (edges.is_weighted()) groups.weights = std::make_unique_for_overwrite<float[]>(total);

  parallel_for(blocks.size(), 1, workers, [&](std::size_t, std::size_t index, std::size_t) {
    const auto [chunk, begin, end] = blocks[index];
    std::size_t* next = &places[index * num_groups];
    for_each_entry(edges, *chunk, begin, end, [&](std::size_t at, std::uint32_t row, std::uint32_t column) {
      const std::size_t place = next[group_of(row)]++;
      groups.entries[place] = static_cast<std::uint64_t>(row) << 32 | column;
      if (groups.weights) groups.weights[place] = chunk->weights[at];
    });
  });
  return groups;
}

// The entries of edges by row range, unpacked: range r has the rows bounds[r] .. bounds[r + 1] - 1.
struct Partition {
  std::vector<std::uint64_t> starts;  // [ranges + 1]
  std::vector<std::uint32_t> rows;
  std::vector<std::uint32_t> columns;
  std::vector<float> weights;
};

// Splits edges whose lists do not fit into memory, so that each range of rows can be built by itself.
//
// `bounds` rises from edges.first_row to the end of the rows. O(edges * log ranges) time, 16 bytes (weighted: 24) per
// entry. Throws as check_edge does.
//
// Example: rows {4, 0}, columns {2, 3}, bounds {0, 3, 5}: starts {0, 1, 2}, rows {0, 4}, columns {3, 2}.
Partition partition(const Edges& edges, std::span<const std::uint64_t> bounds, const Workers& workers);

}  // namespace omnisage
