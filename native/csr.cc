#include "csr.hpp"

#include <array>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>

namespace omnisage {
namespace {

constexpr std::size_t kEdgesPerChunk = 1 << 16;
// A group's rows and entries should fit into a core's cache, and all groups' open ends into its TLB.
constexpr std::size_t kEntriesPerGroup = 1 << 15;
constexpr std::size_t kMaxGroups = 1 << 10;

constexpr int kDigitBits = 11;

// What one thread needs to make the lists of a group.
struct Scratch {
  std::vector<std::size_t> ends;  // of each row's list
  std::vector<std::uint64_t> entries;
  std::vector<float> entry_weights;
  std::vector<std::uint32_t> columns;  // by row
  std::vector<float> weights;
};

// The entries of one group, with room of the same size beside them.
struct Entries {
  std::span<std::uint64_t> entries;
  float* weights;  // null: unweighted
  std::uint64_t* other_entries;
  float* other_weights;
};

// One pass of a radix sort: moves the entries to the other place, ordered by kDigitBits bits from `shift` on, keeping
// the order of those that agree in them; then the other place is the place.
void sort_by_digit(Entries& group, int shift) {
  const auto digit_of = [&](std::uint64_t entry) { return entry >> shift & ((1u << kDigitBits) - 1); };
  std::array<std::size_t, (1 << kDigitBits) + 1> next{};
  for (const std::uint64_t entry : group.entries) ++next[digit_of(entry) + 1];
  std::partial_sum(next.begin(), next.end(), next.begin());
  for (std::size_t at = 0; at < group.entries.size(); ++at) {
    const std::size_t place = next[digit_of(group.entries[at])]++;
    group.other_entries[place] = group.entries[at];
    if (group.weights) group.other_weights[place] = group.weights[at];
  }
  std::uint64_t* before = group.entries.data();
  group.entries = {group.other_entries, group.entries.size()};
  group.other_entries = before;
  std::swap(group.weights, group.other_weights);
}

// Counting sort by row; the columns of row `first + i` stand at ends[i - 1] .. ends[i] afterwards.
void sort_by_row(const Entries& group, std::size_t first, std::size_t num_rows, Scratch& scratch) {
  scratch.ends.assign(num_rows + 1, 0);
  for (const std::uint64_t entry : group.entries) ++scratch.ends[(entry >> 32) - first + 1];
  std::partial_sum(scratch.ends.begin(), scratch.ends.end(), scratch.ends.begin());
  for (std::size_t at = 0; at < group.entries.size(); ++at) {
    const std::size_t place = scratch.ends[(group.entries[at] >> 32) - first]++;
    scratch.columns[place] = static_cast<std::uint32_t>(group.entries[at]);
    if (group.weights) scratch.weights[place] = group.weights[at];
  }
}

// Sorts the entries of a group by row, then column, into scratch.
void sort_group(Groups& groups, std::size_t group, const Edges& edges, std::size_t first, std::size_t num_rows,
                Scratch& scratch) {
  const std::size_t begin = groups.starts[group];
  const std::size_t size = groups.starts[group + 1] - begin;
  scratch.entries.resize(size);
  scratch.columns.resize(size);
  scratch.entry_weights.resize(groups.weights ? size : 0);
  scratch.weights.resize(groups.weights ? size : 0);
  Entries entries{{groups.entries.get() + begin, size},
                  groups.weights ? groups.weights.get() + begin : nullptr,
                  scratch.entries.data(),
                  scratch.entry_weights.data()};
  for (int shift = 0; shift < 32 && edges.num_columns >> shift != 0; shift += kDigitBits) {
    sort_by_digit(entries, shift);
  }
  sort_by_row(entries, first, num_rows, scratch);
}

// Writes a sorted list without its repetitions; returns how many entries stay.
std::size_t write_distinct(std::span<const std::uint32_t> list, std::uint32_t* out) {
  return static_cast<std::size_t>(std::unique_copy(list.begin(), list.end(), out) - out);
}

// The same with weights, summed from small to large, so that the sum does not depend on the order of the edges.
std::size_t write_distinct(std::span<const std::uint32_t> list, std::span<float> weights, std::uint32_t* out,
                           float* out_weights) {
  std::size_t kept = 0;
  for (std::size_t begin = 0, end = 0; begin < list.size(); begin = end) {
    while (end < list.size() && list[end] == list[begin]) ++end;
    const std::span same = weights.subspan(begin, end - begin);
    if (same.size() > 1) std::sort(same.begin(), same.end());
    out[kept] = list[begin];
    out_weights[kept++] = static_cast<float>(std::accumulate(same.begin(), same.end(), 0.0));
  }
  return kept;
}

// Writes the lists of a group from the group's start on, and their lengths; returns the entries kept.
std::size_t write_lists(std::size_t start, std::span<std::uint64_t> lengths, Csr& csr, Scratch& scratch) {
  std::size_t kept = 0;
  for (std::size_t row = 0; row < lengths.size(); ++row) {
    const std::size_t begin = row == 0 ? 0 : scratch.ends[row - 1];
    const std::size_t count = scratch.ends[row] - begin;
    const std::span<const std::uint32_t> list(scratch.columns.data() + begin, count);
    std::uint32_t* out = csr.indices.data() + start + kept;
    lengths[row] = csr.weights.empty() ? write_distinct(list, out)
                                       : write_distinct(list, {scratch.weights.data() + begin, count}, out,
                                                        csr.weights.data() + start + kept);
    kept += lengths[row];
  }
  return kept;
}

// Moves the groups together; group g is the first kept[g] entries of its old place.
void close_gaps(Csr& csr, const Groups& groups, std::span<const std::size_t> kept) {
  std::size_t end = 0;
  for (std::size_t group = 0; group < kept.size(); ++group) {
    const auto move = [&](auto* values) {
      if (groups.starts[group] != end) std::copy_n(values + groups.starts[group], kept[group], values + end);
    };
    move(csr.indices.data());
    if (!csr.weights.empty()) move(csr.weights.data());
    end += kept[group];
  }
  csr.indices.resize(end);
  if (!csr.weights.empty()) csr.weights.resize(end);
}

// Groups are runs of 2^shift rows.
int group_shift(const Edges& edges) {
  std::size_t num_entries = 0;
  for (const EdgeChunk& chunk : edges.chunks) num_entries += chunk.rows.size();
  const std::size_t num_groups = std::clamp<std::size_t>(num_entries / kEntriesPerGroup, 1, kMaxGroups);
  int shift = 0;
  while (((edges.last_row - edges.first_row) >> shift) >= num_groups) ++shift;
  return shift;
}

}  // namespace

Csr build_csr(const Edges& edges, const Workers& workers) {
  const int shift = group_shift(edges);
  const std::size_t num_rows = edges.last_row - edges.first_row;
  const auto group_of = [&](std::uint32_t row) { return (row - edges.first_row) >> shift; };
  Groups groups = group_edges(edges, (num_rows >> shift) + 1, group_of, workers);

  Csr csr;
  csr.indptr.assign(num_rows + 1, 0);
  csr.indices.resize(groups.starts.back());
  csr.weights.resize(groups.weights ? groups.starts.back() : 0);
  std::vector<std::size_t> kept(groups.size());
  std::vector<Scratch> scratch(workers.count());
  parallel_for(groups.size(), 1, workers, [&](std::size_t thread, std::size_t group, std::size_t) {
    const std::size_t first = group << shift;
    const std::size_t count = std::min(num_rows, (group + 1) << shift) - first;
    sort_group(groups, group, edges, edges.first_row + first, count, scratch[thread]);
    kept[group] = write_lists(groups.starts[group], {csr.indptr.data() + first + 1, count}, csr, scratch[thread]);
  });
  std::partial_sum(csr.indptr.begin(), csr.indptr.end(), csr.indptr.begin());
  groups.entries.reset();
  groups.weights.reset();
  close_gaps(csr, groups, kept);
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
      if (csr.indices[at] >= num_columns) {
        throw std::out_of_range("indices[" + std::to_string(at) + "] is " + std::to_string(csr.indices[at]) +
                                ", but that entity type has " + std::to_string(num_columns) +
                                " entities; ids must be below that");
      }
      if (csr.weights.empty() || (std::isfinite(csr.weights[at]) && csr.weights[at] > 0)) continue;
      throw std::invalid_argument("weights[" + std::to_string(at) + "] is " + std::to_string(csr.weights[at]) +
                                  "; weights must be finite and above 0");
    }
  };
  parallel_for(csr.indices.size(), kEdgesPerChunk, workers, chunk);
}

}  // namespace omnisage
