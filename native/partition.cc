#include "partition.hpp"

#include <stdexcept>
#include <string>

namespace omnisage {
namespace {

void require_below(const char* name, std::size_t at, std::uint32_t id, std::size_t count) {
  if (id < count) return;
  throw std::out_of_range(std::string(name) + "[" + std::to_string(at) + "] is " + std::to_string(id) +
                          "; it must be below " + std::to_string(count));
}

}  // namespace

void refuse_edge(const Edges& edges, const EdgeChunk& chunk, std::size_t at) {
  require_below("rows", at, chunk.rows[at], edges.num_rows);
  require_below("columns", at, chunk.columns[at], edges.num_columns);
  throw std::invalid_argument("weights[" + std::to_string(at) + "] is " + std::to_string(chunk.weights[at]) +
                              "; weights must be finite and above 0");
}

Partition partition(const Edges& edges, std::span<const std::uint64_t> bounds, const Workers& workers) {
  const auto range_of = [&](std::uint32_t row) {
    return static_cast<std::size_t>(std::upper_bound(bounds.begin() + 1, bounds.end() - 1, row) - bounds.begin() - 1);
  };
  const Groups groups = group_edges(edges, bounds.size() - 1, range_of, workers);
  Partition parts;
  const std::size_t total = groups.starts.back();
  parts.starts.assign(groups.starts.begin(), groups.starts.end());
  parts.rows.resize(total);
  parts.columns.resize(total);
  for (std::size_t at = 0; at < total; ++at) {
    parts.rows[at] = static_cast<std::uint32_t>(groups.entries[at] >> 32);
    parts.columns[at] = static_cast<std::uint32_t>(groups.entries[at]);
  }
  if (groups.weights) parts.weights.assign(groups.weights.get(), groups.weights.get() + total);
  return parts;
}

}  // namespace omnisage
