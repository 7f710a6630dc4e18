#include "prune.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "hash.hpp"

namespace omnisage {
namespace {

constexpr std::size_t kRowsPerChunk = 1024;

std::uint64_t edge_hash(const PruneRule& rule, std::uint32_t row, std::uint32_t index) {
  const bool is_row_first =
      rule.order == PairOrder::kRowFirst || (rule.order == PairOrder::kSmallerFirst && row < index);
  return is_row_first ? pair_hash(rule.seed, row, index) : pair_hash(rule.seed, index, row);
}

using Choice = std::pair<std::uint64_t, std::uint64_t>;  // hash of an edge, its place in the list

// Leaves in `choices` the places of the entries that row keeps, rising.
void choose(std::span<const std::uint32_t> list, std::uint32_t row, std::size_t num_kept, const PruneRule& rule,
            std::vector<Choice>& choices) {
  choices.clear();
  for (std::size_t i = 0; i < list.size(); ++i) choices.emplace_back(edge_hash(rule, row, list[i]), i);
  std::nth_element(choices.begin(), choices.begin() + static_cast<std::ptrdiff_t>(num_kept), choices.end());
  choices.resize(num_kept);
  std::sort(choices.begin(), choices.end(), [](const Choice& a, const Choice& b) { return a.second < b.second; });
}

}  // namespace

std::uint64_t kept_degree(std::uint64_t degree, const PruneRule& rule) {
  const auto target = static_cast<std::uint64_t>(std::floor(std::pow(static_cast<double>(degree), rule.alpha)));
  return std::min(degree, std::max(std::min(target, rule.max_degree), rule.min_degree));
}

Csr prune(const CsrView& csr, const PruneRule& rule, const Workers& workers) {
  const std::size_t num_rows = csr.num_rows();
  Csr pruned;
  pruned.indptr.assign(num_rows + 1, 0);
  for (std::size_t row = 0; row < num_rows; ++row) {
    pruned.indptr[row + 1] = pruned.indptr[row] + kept_degree(csr.degree(row), rule);
  }
  pruned.indices.resize(pruned.indptr.back());
  pruned.weights.resize(csr.weights.empty() ? 0 : pruned.indptr.back());

  std::vector<std::vector<Choice>> scratch(workers.count());
  parallel_for(num_rows, kRowsPerChunk, workers, [&](std::size_t thread, std::size_t begin, std::size_t end) {
    std::vector<Choice>& choices = scratch[thread];
    for (std::size_t row = begin; row < end; ++row) {
      const std::uint64_t first = csr.indptr[row];
      const std::uint64_t num_kept = pruned.indptr[row + 1] - pruned.indptr[row];
      const bool keeps_all = num_kept == csr.degree(row);
      if (!keeps_all) {
        choose(csr.indices.subspan(first, csr.degree(row)), static_cast<std::uint32_t>(rule.first_row + row), num_kept,
               rule, choices);
      }
      for (std::uint64_t i = 0; i < num_kept; ++i) {
        const std::uint64_t from = first + (keeps_all ? i : choices[i].second);
        pruned.indices[pruned.indptr[row] + i] = csr.indices[from];
        if (!csr.weights.empty()) pruned.weights[pruned.indptr[row] + i] = csr.weights[from];
      }
    }
  });
  return pruned;
}

}  // namespace omnisage
