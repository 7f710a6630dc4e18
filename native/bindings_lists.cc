// Adjacency lists: building, splitting and pruning them.
#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

#include "bindings.hpp"
#include "prune.hpp"

namespace omnisage {
namespace {

using namespace nb::literals;

using Lists = std::tuple<Owned<std::uint64_t>, Owned<std::uint32_t>, std::optional<Owned<float>>>;

Lists to_lists(Csr&& csr, bool is_weighted) {
  std::optional<Owned<float>> weights;
  if (is_weighted) weights = to_numpy(std::move(csr.weights));
  return {to_numpy(std::move(csr.indptr)), to_numpy(std::move(csr.indices)), std::move(weights)};
}

using ChunkArrays = std::tuple<AnyArray, AnyArray, std::optional<AnyArray>>;

// Views of the chunks that have edges.
std::vector<EdgeChunk> view_chunks(const std::vector<ChunkArrays>& arrays) {
  std::vector<EdgeChunk> chunks;
  for (const auto& [rows, columns, weights] : arrays) {
    const EdgeChunk chunk{view<std::uint32_t>(rows, "rows"), view<std::uint32_t>(columns, "columns"),
                          view_or_none<float>(weights, "weights", rows.size())};
    require(chunk.columns.size() == chunk.rows.size(), "columns has " + std::to_string(chunk.columns.size()) +
                                                           " entries; it must have " +
                                                           std::to_string(chunk.rows.size()) + ", as many as rows");
    require(weights.has_value() == std::get<2>(arrays.front()).has_value(),
            "some chunks have weights and some have none; give them to all or to none");
    if (!chunk.rows.empty()) chunks.push_back(chunk);
  }
  return chunks;
}

constexpr std::uint64_t kMaxRows = std::uint64_t{1} << 32;

Lists bind_build_csr(const std::vector<ChunkArrays>& arrays, std::uint64_t num_rows, std::uint64_t num_columns,
                     const std::optional<std::pair<std::uint64_t, std::uint64_t>>& row_range, bool is_symmetric,
                     int num_threads) {
  const std::vector<EdgeChunk> chunks = view_chunks(arrays);
  const auto [first, last] = row_range.value_or(std::pair{std::uint64_t{0}, num_rows});
  require(num_rows <= kMaxRows, "num_rows is " + std::to_string(num_rows) + "; it must be at most 2^32");
  require(first <= last && last <= num_rows, "row_range is (" + std::to_string(first) + ", " + std::to_string(last) +
                                                 "); it must rise within 0 .. " + std::to_string(num_rows));
  require(!is_symmetric || num_rows == num_columns, "a symmetric relation needs num_rows == num_columns");
  const Edges edges{chunks, num_rows, num_columns, is_symmetric, first, last};
  Csr csr = without_gil(num_threads, [&](const Workers& workers) { return build_csr(edges, workers); });
  return to_lists(std::move(csr), !arrays.empty() && std::get<2>(arrays.front()).has_value());
}

std::tuple<Owned<std::uint64_t>, Owned<std::uint32_t>, Owned<std::uint32_t>, std::optional<Owned<float>>>
bind_partition(const ChunkArrays& arrays, const AnyArray& bounds, std::uint64_t num_columns, bool is_symmetric,
               int num_threads) {
  const std::vector<EdgeChunk> chunks = view_chunks({arrays});
  const auto ends = view<std::uint64_t>(bounds, "bounds");
  require(ends.size() >= 2 && std::is_sorted(ends.begin(), ends.end()) && ends.back() <= kMaxRows,
          "bounds must hold at least two numbers that rise to at most 2^32");
  const Edges edges{chunks, ends.back(), num_columns, is_symmetric, ends.front(), ends.back()};
  require(!is_symmetric || ends.back() == num_columns, "a symmetric relation needs bounds up to num_columns");
  Partition parts = without_gil(num_threads, [&](const Workers& workers) { return partition(edges, ends, workers); });
  std::optional<Owned<float>> weights;
  if (std::get<2>(arrays)) weights = to_numpy(std::move(parts.weights));
  return {to_numpy(std::move(parts.starts)), to_numpy(std::move(parts.rows)), to_numpy(std::move(parts.columns)),
          std::move(weights)};
}

PairOrder to_order(const std::string& order) {
  if (order == "row_first") return PairOrder::kRowFirst;
  if (order == "row_last") return PairOrder::kRowLast;
  require(order == "smaller_first", "order is '" + order + "'; it must be row_first, row_last or smaller_first");
  return PairOrder::kSmallerFirst;
}

Lists bind_prune(const AnyArray& indptr, const AnyArray& indices, const std::optional<AnyArray>& weights,
                 const std::tuple<double, std::uint64_t, std::uint64_t>& degrees, std::uint64_t seed,
                 const std::string& order, std::uint64_t first_row, int num_threads) {
  const CsrView csr = view_lists(indptr, indices, weights);
  const auto [alpha, min_degree, max_degree] = degrees;
  require(alpha > 0 && alpha <= 1, "alpha is " + std::to_string(alpha) + "; it must be in (0, 1]");
  require(min_degree >= 1 && min_degree <= max_degree, "min_degree must be >= 1 and at most max_degree");
  const PruneRule rule{alpha, min_degree, max_degree, seed, to_order(order), first_row};
  Csr pruned = without_gil(num_threads, [&](const Workers& workers) {
    check_csr(csr, std::numeric_limits<std::uint32_t>::max(), workers);
    return prune(csr, rule, workers);
  });
  return to_lists(std::move(pruned), weights.has_value());
}

}  // namespace

void define_lists(nb::module_& module) {
  module.def("build_csr", &bind_build_csr, "chunks"_a, nb::kw_only(), "num_rows"_a, "num_columns"_a,
             "row_range"_a.none() = nb::none(), "is_symmetric"_a = false, "num_threads"_a = 0);
  module.def("partition", &bind_partition, "chunk"_a, nb::kw_only(), "bounds"_a, "num_columns"_a,
             "is_symmetric"_a = false, "num_threads"_a = 0);
  module.def("prune", &bind_prune, "indptr"_a, "indices"_a, "weights"_a.none(), nb::kw_only(), "degrees"_a, "seed"_a,
             "order"_a, "first_row"_a = 0, "num_threads"_a = 0);
}

}  // namespace omnisage
