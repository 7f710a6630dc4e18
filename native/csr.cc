#include "csr.hpp"

#include <atomic>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>

namespace omnisage {
namespace {

constexpr std::size_t kEdgesPerChunk = 1 << 16;
constexpr std::size_t kRowsPerChunk = 1024;

void check_id(const char* name, std::size_t at, std::uint32_t id, std::size_t num_entities) {
  if (id < num_entities) return;
  throw std::out_of_range(std::string(name) + "[" + std::to_string(at) + "] is " + std::to_string(id) +
                          ", but that entity type has " + std::to_string(num_entities) +
                          " entities; ids must be below that");
}

void check_weight(std::size_t at, float weight) {
  if (std::isfinite(weight) && weight > 0) return;
  throw std::invalid_argument("weights[" + std::to_string(at) + "] is " + std::to_string(weight) +
                              "; weights must be finite and above 0");
}

void check_edge(const Edges& edges, std::size_t at) {
  check_id("source", at, edges.source[at], edges.num_sources);
  check_id("target", at, edges.target[at], edges.num_targets);
  if (!edges.weights.empty()) check_weight(at, edges.weights[at]);
}

// Calls visit(edge, row, index) for every list entry that the edges make, from several threads.
template <typename Visit>
void for_each_entry(const Edges& edges, const Workers& workers, Visit&& visit) {
  auto chunk = [&](std::size_t, std::size_t begin, std::size_t end) {
    for (std::size_t at = begin; at < end; ++at) {
      const std::uint32_t source = edges.source[at];
      const std::uint32_t target = edges.target[at];
      visit(at, source, target);
      if (edges.is_symmetric && source != target) visit(at, target, source);
    }
  };
  parallel_for(edges.source.size(), kEdgesPerChunk, workers, chunk);
}

std::uint64_t fetch_increment(std::uint64_t& counter) {
  return std::atomic_ref<std::uint64_t>(counter).fetch_add(1, std::memory_order_relaxed);
}

// Sorts a list and drops repetitions; returns how many entries stay.
std::size_t sort_distinct(std::span<std::uint32_t> list) {
  std::sort(list.begin(), list.end());
  return static_cast<std::size_t>(std::unique(list.begin(), list.end()) - list.begin());
}

// The same with weights, summed from small to large, so that the sum does not depend on the order of the
// edges.
std::size_t sort_distinct(std::span<std::uint32_t> list, std::span<float> weights,
                          std::vector<std::pair<std::uint32_t, float>>& scratch) {
  scratch.clear();
  for (std::size_t i = 0; i < list.size(); ++i) scratch.emplace_back(list[i], weights[i]);
  std::sort(scratch.begin(), scratch.end());
  std::size_t kept = 0;
  for (std::size_t i = 0; i < scratch.size();) {
    double sum = 0;
    const std::uint32_t index = scratch[i].first;
    for (; i < scratch.size() && scratch[i].first == index; ++i) sum += scratch[i].second;
    list[kept] = index;
    weights[kept++] = static_cast<float>(sum);
  }
  return kept;
}

// Moves the lists together; list u is the first kept[u] entries of its old place.
void close_gaps(Csr& csr, std::span<const std::size_t> kept) {
  std::uint64_t end = 0;
  for (std::size_t row = 0; row < kept.size(); ++row) {
    const auto from = static_cast<std::ptrdiff_t>(csr.indptr[row]);
    const auto count = static_cast<std::ptrdiff_t>(kept[row]);
    const auto to = static_cast<std::ptrdiff_t>(end);
    std::copy_n(csr.indices.begin() + from, count, csr.indices.begin() + to);
    if (!csr.weights.empty()) std::copy_n(csr.weights.begin() + from, count, csr.weights.begin() + to);
    csr.indptr[row] = end;
    end += kept[row];
  }
  csr.indptr.back() = end;
  csr.indices.resize(end);
  if (!csr.weights.empty()) csr.weights.resize(end);
}

}  // namespace

Csr build_csr(const Edges& edges, const Workers& workers) {
  parallel_for(edges.source.size(), kEdgesPerChunk, workers, [&](std::size_t, std::size_t begin, std::size_t end) {
    for (std::size_t at = begin; at < end; ++at) check_edge(edges, at);
  });
  Csr csr;
  csr.indptr.assign(edges.num_sources + 1, 0);
  for_each_entry(edges, workers,
                 [&](std::size_t, std::uint32_t row, std::uint32_t) { fetch_increment(csr.indptr[row + 1]); });
  std::partial_sum(csr.indptr.begin(), csr.indptr.end(), csr.indptr.begin());
  csr.indices.resize(csr.indptr.back());
  csr.weights.resize(edges.weights.empty() ? 0 : csr.indptr.back());

  std::vector<std::uint64_t> next(csr.indptr.begin(), csr.indptr.end() - 1);
  for_each_entry(edges, workers, [&](std::size_t at, std::uint32_t row, std::uint32_t index) {
    const std::uint64_t place = fetch_increment(next[row]);
    csr.indices[place] = index;
    if (!edges.weights.empty()) csr.weights[place] = edges.weights[at];
  });

  std::vector<std::size_t> kept(edges.num_sources);
  std::vector<std::vector<std::pair<std::uint32_t, float>>> scratch(workers.count());
  parallel_for(kept.size(), kRowsPerChunk, workers, [&](std::size_t thread, std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row) {
      const std::size_t count = csr.indptr[row + 1] - csr.indptr[row];
      const std::span list(csr.indices.data() + csr.indptr[row], count);
      kept[row] = edges.weights.empty()
                      ? sort_distinct(list)
                      : sort_distinct(list, {csr.weights.data() + csr.indptr[row], count}, scratch[thread]);
    }
  });
  close_gaps(csr, kept);
  return csr;
}

void check_csr(const CsrView& csr, std::size_t num_columns, const Workers& workers) {
  if (csr.indptr.front() != 0 || csr.indptr.back() != csr.indices.size()) {
    throw std::invalid_argument("indptr runs from " + std::to_string(csr.indptr.front()) + " to " +
                                std::to_string(csr.indptr.back()) + "; it must run from 0 to " +
                                std::to_string(csr.indices.size()) + ", the number of indices");
  }
  for (std::size_t row = 0; row < csr.num_rows(); ++row) {
    if (csr.indptr[row] > csr.indptr[row + 1]) {
      throw std::invalid_argument("indptr[" + std::to_string(row + 1) + "] is below indptr[" + std::to_string(row) +
                                  "]; indptr must not fall");
    }
  }
  auto chunk = [&](std::size_t, std::size_t begin, std::size_t end) {
    for (std::size_t at = begin; at < end; ++at) {
      check_id("indices", at, csr.indices[at], num_columns);
      if (!csr.weights.empty()) check_weight(at, csr.weights[at]);
    }
  };
  parallel_for(csr.indices.size(), kEdgesPerChunk, workers, chunk);
}

}  // namespace omnisage
