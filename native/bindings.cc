// The Python module `omnisage._native`: checks every argument, releases the GIL, calls a kernel.
//
// Signatures and meaning for Python readers: src/omnisage/_native.pyi.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <mutex>
#include <numeric>
#include <tuple>
#include <utility>

#include "arrays.hpp"
#include "attention.hpp"
#include "best.hpp"
#include "components.hpp"
#include "csr.hpp"
#include "dropout.hpp"
#include "forward_push.hpp"
#include "gather.hpp"
#include "ids.hpp"
#include "ngrams.hpp"
#include "prune.hpp"
#include "random_walks.hpp"
#include "sketch.hpp"
#include "softmax.hpp"
#include "topk.hpp"

namespace omnisage {
namespace {

using namespace nb::literals;

// Strings one after the other; throws unless the offsets rise within the data.
StringKeys::Batch view_strings(const AnyArray& data, const AnyArray& offsets) {
  const auto bytes = view<std::uint8_t>(data, "data");
  const auto starts = view<std::int64_t>(offsets, "offsets");
  require(!starts.empty(), "offsets is empty; it must have one more entry than there are texts");
  for (std::size_t i = 0; i < starts.size(); ++i) {
    if (starts[i] >= (i == 0 ? 0 : starts[i - 1]) && starts[i] <= static_cast<std::int64_t>(bytes.size())) continue;
    require(false, "offsets[" + std::to_string(i) + "] is " + std::to_string(starts[i]) +
                       "; offsets must rise within 0 .. " + std::to_string(bytes.size()) +
                       ", the number of bytes in data");
  }
  return {bytes, starts};
}

std::tuple<Owned<std::uint64_t>, Owned<std::uint64_t>> bind_ngram_hashes(const AnyArray& data, const AnyArray& offsets,
                                                                         int num_threads) {
  const auto [bytes, starts] = view_strings(data, offsets);
  Ngrams ngrams =
      without_gil(num_threads, [&](const Workers& workers) { return ngram_hashes(bytes, starts, workers); });
  return {to_numpy(std::move(ngrams.indptr)), to_numpy(std::move(ngrams.tokens))};
}

std::tuple<Owned<float>, Owned<std::uint32_t>> bind_topk(const AnyArray& scores, std::int64_t k, int num_threads) {
  const auto values = view<float>(scores, "scores", 2);
  require(k >= 0, "k is " + std::to_string(k) + "; it must be >= 0");
  require(scores.shape(1) < kEmpty, "scores has too many columns; at most 4294967294 are allowed");
  Output<float> best(scores.shape(0), static_cast<std::size_t>(k));
  Output<std::uint32_t> indices(scores.shape(0), static_cast<std::size_t>(k));
  without_gil(num_threads, [&](const Workers& workers) {
    topk(values, scores.shape(1), static_cast<std::size_t>(k), best.span, indices.span, workers);
  });
  return {best.array, indices.array};
}

Owned<float> bind_gather(const AnyArray& rows, const AnyArray& ids, int num_threads) {
  const auto wanted = view<std::uint32_t>(ids, "ids");
  if (!holds<float>(rows) && !holds<Half>(rows)) throw nb::type_error("rows must be of dtype float32 or float16");
  require_layout(rows, "rows", 2);
  const std::size_t width = rows.shape(1);
  Output<float> out(wanted.size(), width);
  without_gil(num_threads, [&](const Workers& workers) {
    if (holds<float>(rows)) {
      gather(view<float>(rows, "rows", 2), width, wanted, out.span, workers);
    } else {
      gather(view<Half>(rows, "rows", 2), width, wanted, out.span, workers);
    }
  });
  return out.array;
}

std::tuple<Owned<float>, Owned<float>, Owned<float>> bind_softmax_loss(
    const AnyArray& queries, const AnyArray& candidates, const AnyArray& log_q, const AnyArray& columns,
    const std::optional<std::pair<AnyArray, AnyArray>>& seen, const std::optional<AnyArray>& others, int num_threads) {
  const SoftmaxInput input{
      .queries = view<float>(queries, "queries", 2),
      .candidates = view<float>(candidates, "candidates", 2),
      .log_q = view<float>(log_q, "log_q"),
      .columns = view<std::int64_t>(columns, "columns"),
      .seen_rows = seen ? view<std::int64_t>(seen->first, "seen rows") : std::span<const std::int64_t>{},
      .seen_columns = seen ? view<std::int64_t>(seen->second, "seen columns") : std::span<const std::int64_t>{},
      .others = view_or_none<float>(others, "others", columns.size())};
  require(queries.shape(1) == candidates.shape(1), "queries and candidates must have the same width");
  require(queries.shape(0) == input.columns.size(), "columns must have an entry for each query");
  require(candidates.shape(0) == input.log_q.size(), "log_q must have an entry for each candidate");
  require(input.seen_rows.size() == input.seen_columns.size(), "seen rows and columns must be as many");
  Output<float> losses(1, columns.size()), queries_gradient(queries.shape(0), queries.shape(1)),
      candidates_gradient(candidates.shape(0), candidates.shape(1));
  without_gil(num_threads, [&](const Workers& workers) {
    softmax_loss(input, {losses.span, queries_gradient.span, candidates_gradient.span}, workers);
  });
  return {losses.array, queries_gradient.array, candidates_gradient.array};
}

using Numbers = std::span<const float>;
using Bytes = std::span<const std::uint8_t>;

template <typename Kernel>
Owned<float> bind_dropout(const AnyArray& values, const AnyArray& bytes, unsigned num_dropped, int num_threads,
                          Kernel&& kernel) {
  const Numbers numbers = view<float>(values, "values");
  const Bytes draws = view<std::uint8_t>(bytes, "bytes");
  require(draws.size() == numbers.size(), "bytes must have an entry for each value");
  require(num_dropped < 256, "num_dropped is " + std::to_string(num_dropped) + "; it must be below 256");
  Output<float> out(1, numbers.size());
  without_gil(num_threads, [&](const Workers& workers) { kernel(numbers, draws, out.span, workers); });
  return out.array;
}

Owned<float> bind_plain_dropout(const AnyArray& values, const AnyArray& bytes, unsigned num_dropped, int num_threads) {
  return bind_dropout(values, bytes, num_dropped, num_threads, [&](Numbers v, Bytes b, auto out, const auto& workers) {
    dropout(v, b, num_dropped, out, workers);
  });
}

Owned<float> bind_gelu_dropout(const AnyArray& values, const AnyArray& bytes, unsigned num_dropped, int num_threads) {
  return bind_dropout(values, bytes, num_dropped, num_threads, [&](Numbers v, Bytes b, auto out, const auto& workers) {
    gelu_dropout(v, b, num_dropped, out, workers);
  });
}

Owned<float> bind_gelu_dropout_backward(const AnyArray& values, const AnyArray& bytes, unsigned num_dropped,
                                        const AnyArray& upstream, int num_threads) {
  const Numbers from = view<float>(upstream, "upstream");
  require(from.size() == values.size(), "upstream must have an entry for each value");
  return bind_dropout(values, bytes, num_dropped, num_threads, [&](Numbers v, Bytes b, auto out, const auto& workers) {
    gelu_dropout_backward(v, b, num_dropped, from, out, workers);
  });
}

// tokens, scores, neighbors, log_weights, present, own, own_scores, positions, position_scores, gates, factors
using AttentionArrays = std::tuple<AnyArray, AnyArray, AnyArray, AnyArray, AnyArray, AnyArray, AnyArray, AnyArray,
                                   AnyArray, AnyArray, std::optional<AnyArray>>;

AttentionInput view_attention(const AttentionArrays& arrays) {
  const auto& [tokens, scores, neighbors, log_weights, present, own, own_scores, positions, position_scores, gates,
               factors] = arrays;
  require_layout(own, "own", 3);
  require_layout(position_scores, "position_scores", 2);
  require_layout(neighbors, "neighbors", 2);
  const std::size_t anchors = own.shape(0), num_own = own.shape(1), width = own.shape(2);
  const std::size_t slots = neighbors.shape(1), heads = position_scores.shape(1);
  const auto sized = [](std::size_t size, std::size_t expected, const char* name) {
    require(size == expected,
            std::string(name) + " has " + std::to_string(size) + " entries; it must have " + std::to_string(expected));
  };
  require(width > 0 && width % 16 == 0,
          "the width of tokens is " + std::to_string(width) + "; it must be a multiple of 16");
  require(num_own > 0, "own has no token; each anchor must have one");
  require(tokens.ndim() == 2 && tokens.shape(1) == width, "tokens and own must have the same width");
  sized(scores.size(), tokens.shape(0) * 2 * heads, "scores");
  sized(neighbors.size(), anchors * slots, "neighbors");
  sized(log_weights.size(), anchors * slots, "log_weights");
  sized(present.size(), anchors * slots, "present");
  sized(own_scores.size(), anchors * num_own * heads, "own_scores");
  sized(positions.size(), slots * width, "positions");
  sized(position_scores.size(), slots * heads, "position_scores");
  sized(gates.size(), 2 * width, "gates");
  if (factors) sized(factors->size(), anchors * (num_own + slots) * heads, "factors");
  return {.num_anchors = anchors,
          .num_own = num_own,
          .num_slots = slots,
          .num_heads = heads,
          .width = width,
          .tokens = view<float>(tokens, "tokens", 2),
          .scores = view<float>(scores, "scores", 2),
          .neighbors = view<std::int64_t>(neighbors, "neighbors", 2),
          .log_weights = view<float>(log_weights, "log_weights", 2),
          .present = view<std::uint8_t>(present, "present", 2),
          .own = view<float>(own, "own", 3),
          .own_scores = view<float>(own_scores, "own_scores", 3),
          .positions = view<float>(positions, "positions", 2),
          .position_scores = view<float>(position_scores, "position_scores", 2),
          .gates = view<float>(gates, "gates", 2),
          .factors = factors ? view<float>(*factors, "factors", 3) : std::span<const float>{}};
}

std::tuple<Owned<float>, Owned<float>, Owned<float>> bind_attend(const AttentionArrays& arrays, int num_threads) {
  const AttentionInput input = view_attention(arrays);
  Output<float> reads(input.num_heads * input.num_anchors, input.width), totals(input.num_heads, input.num_anchors),
      weights(input.num_anchors, input.num_heads * input.weights_row());
  without_gil(num_threads,
              [&](const Workers& workers) { attend(input, {reads.span, totals.span, weights.span}, workers); });
  return {reads.array, totals.array, weights.array};
}

// Gradients by the float arrays of the input, in their order, each as a matrix.
std::vector<Owned<float>> bind_attend_backward(const AttentionArrays& arrays, const AnyArray& weights,
                                               const AnyArray& reads, const AnyArray& totals, int num_threads) {
  const AttentionInput input = view_attention(arrays);
  const auto of_weights = view<float>(weights, "weights", 2), of_reads = view<float>(reads, "reads", 3);
  const auto of_totals = view<float>(totals, "totals", 2);
  const std::size_t anchors = input.num_anchors, heads = input.num_heads, width = input.width;
  require(of_weights.size() == anchors * heads * input.weights_row(), "weights must be what attend gave");
  require(of_reads.size() == heads * anchors * width, "reads must have the shape that attend gave");
  require(of_totals.size() == heads * anchors, "totals must have the shape that attend gave");
  Output<float> tokens(input.tokens.size() / width, width), scores(input.tokens.size() / width, 2 * heads),
      own(anchors * input.num_own, width), own_scores(anchors * input.num_own, heads),
      positions(input.num_slots, width), position_scores(input.num_slots, heads), gates(2, width);
  without_gil(num_threads, [&](const Workers& workers) {
    attend_backward(
        input, of_weights, of_reads, of_totals,
        {tokens.span, scores.span, own.span, own_scores.span, positions.span, position_scores.span, gates.span},
        workers);
  });
  return {tokens.array, scores.array, own.array, own_scores.array, positions.array, position_scores.array, gates.array};
}

using Lists = std::tuple<Owned<std::uint64_t>, Owned<std::uint32_t>, std::optional<Owned<float>>>;

Lists to_lists(Csr&& csr, bool is_weighted) {
  std::optional<Owned<float>> weights;
  if (is_weighted) weights = to_numpy(std::move(csr.weights));
  return {to_numpy(std::move(csr.indptr)), to_numpy(std::move(csr.indices)), std::move(weights)};
}

CsrView view_lists(const AnyArray& indptr, const AnyArray& indices, const std::optional<AnyArray>& weights) {
  const CsrView csr{view<std::uint64_t>(indptr, "indptr"), view<std::uint32_t>(indices, "indices"),
                    view_or_none<float>(weights, "weights", indices.size())};
  require(!csr.indptr.empty(), "indptr is empty; it must have one more entry than there are lists");
  return csr;
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

// An IdTable that several Python threads may share: they take turns.
template <typename Keys>
class BoundIds {
 protected:
  Owned<std::uint32_t> add_batch(const typename Keys::Batch& batch, int num_threads) {
    std::vector<std::uint32_t> ids(Keys::size(batch));
    without_gil(num_threads, [&](const Workers& workers) {
      const std::lock_guard<std::mutex> lock(mutex_);
      table_.add(batch, ids, workers);
    });
    return to_numpy(std::move(ids));
  }

  Owned<std::uint32_t> find_batch(const typename Keys::Batch& batch, int num_threads) {
    std::vector<std::uint32_t> ids(Keys::size(batch));
    without_gil(num_threads, [&](const Workers& workers) {
      const std::lock_guard<std::mutex> lock(mutex_);
      table_.find(batch, ids, workers);
    });
    return to_numpy(std::move(ids));
  }

  Keys release_keys() {
    nb::gil_scoped_release released;
    const std::lock_guard<std::mutex> lock(mutex_);
    return table_.release();
  }

 private:
  std::mutex mutex_;
  IdTable<Keys> table_;
};

class BoundIntegerIds : public BoundIds<IntegerKeys> {
 public:
  Owned<std::uint32_t> add(const AnyArray& keys, int num_threads) {
    return add_batch(view<std::uint64_t>(keys, "keys"), num_threads);
  }
  Owned<std::uint32_t> find(const AnyArray& keys, int num_threads) {
    return find_batch(view<std::uint64_t>(keys, "keys"), num_threads);
  }
  Owned<std::uint64_t> release() { return to_numpy(std::move(release_keys().values)); }
};

class BoundStringIds : public BoundIds<StringKeys> {
 public:
  Owned<std::uint32_t> add(const AnyArray& data, const AnyArray& offsets, int num_threads) {
    return add_batch(view_strings(data, offsets), num_threads);
  }
  Owned<std::uint32_t> find(const AnyArray& data, const AnyArray& offsets, int num_threads) {
    return find_batch(view_strings(data, offsets), num_threads);
  }
  std::tuple<Owned<std::uint8_t>, Owned<std::int64_t>> release() {
    StringKeys keys = release_keys();
    return {to_numpy(std::move(keys.data)), to_numpy(std::move(keys.offsets))};
  }
};

SketchShape shape_of(const AnyArray& table, std::uint64_t seed) {
  const SketchShape shape{table.shape(0), table.shape(1), seed};
  require(shape.depth > 0 && shape.width > 0 && shape.width <= std::uint64_t{1} << 32,
          "table is [" + std::to_string(shape.depth) + ", " + std::to_string(shape.width) +
              "]; it needs at least one row, and 1 to 2^32 columns");
  return shape;
}

void bind_sketch_update(nb::ndarray<nb::device::cpu> table, const AnyArray& ids, const AnyArray& counts,
                        std::uint64_t seed) {
  const auto counters = view<std::uint64_t>(AnyArray(table), "table", 2);
  const auto keys = view<std::uint64_t>(ids, "ids");
  const auto amounts = view_or_none<std::uint64_t>(counts, "counts", keys.size());
  const std::span writable(static_cast<std::uint64_t*>(table.data()), counters.size());
  sketch_update(writable, shape_of(AnyArray(table), seed), keys, amounts);
}

Owned<std::uint64_t> bind_sketch_estimate(const AnyArray& table, const AnyArray& ids, std::uint64_t seed) {
  const auto counters = view<std::uint64_t>(table, "table", 2);
  const auto keys = view<std::uint64_t>(ids, "ids");
  std::vector<std::uint64_t> estimates(keys.size());
  sketch_estimate(counters, shape_of(table, seed), keys, estimates);
  return to_numpy(std::move(estimates));
}

using AdjacencyArrays =
    std::tuple<std::string, std::uint32_t, std::uint32_t, AnyArray, AnyArray, std::optional<AnyArray>>;

void require_type(std::size_t type, std::size_t num_types) {
  require(type < num_types, "type is " + std::to_string(type) + "; there are " + std::to_string(num_types) + " types");
}

// A TypedGraph as Python sees it.
class BoundGraph {
 public:
  BoundGraph(const std::vector<std::size_t>& num_entities, const std::vector<AdjacencyArrays>& arrays,
             int num_threads) {
    std::vector<Adjacency> adjacencies;
    for (const auto& [name, from_type, to_type, indptr, indices, weights] : arrays) {
      require(from_type < num_entities.size() && to_type < num_entities.size(),
              name + ": types are " + std::to_string(from_type) + " and " + std::to_string(to_type) + "; there are " +
                  std::to_string(num_entities.size()));
      adjacencies.push_back({name, from_type, to_type, view_lists(indptr, indices, weights)});
    }
    graph_.emplace(without_gil(num_threads,
                               [&](const Workers& workers) { return TypedGraph(num_entities, adjacencies, workers); }));
  }

  const TypedGraph& operator*() const { return *graph_; }

  // Throws unless `type` exists and the rule's numbers are in range.
  PushRule to_rule(std::size_t type, double restart, double eps) const {
    require_type(type, graph_->num_types());
    require(restart > 0 && restart < 1, "restart is " + std::to_string(restart) + "; it must be in (0, 1)");
    require(eps >= 1e-12 && eps < 1, "eps is " + std::to_string(eps) + "; it must be in [1e-12, 1)");
    return {restart, eps};
  }

  // Each is made when the first walk asks; a second thread that asks waits.
  const AliasTables& alias(const Workers& workers) const {
    std::call_once(alias_made_, [&] { alias_.emplace(*graph_, workers); });
    return *alias_;
  }
  const Components& components() const {
    std::call_once(components_made_, [&] { components_.emplace(*graph_); });
    return *components_;
  }

 private:
  std::optional<TypedGraph> graph_;
  mutable std::once_flag alias_made_;
  mutable std::optional<AliasTables> alias_;
  mutable std::once_flag components_made_;
  mutable std::optional<Components> components_;
};

template <typename T>
using Shown = nb::ndarray<nb::numpy, const T, nb::ndim<1>>;

template <typename T>
Shown<T> show(std::span<const T> values, nb::handle owner) {
  return Shown<T>(values.data(), {values.size()}, owner);
}

// The graph's merged lists, and the ids and types behind its internal numbers, without a copy.
std::tuple<Shown<std::uint64_t>, Shown<std::uint32_t>, std::optional<Shown<float>>, Shown<std::uint32_t>,
           Shown<std::uint8_t>>
bind_lists(nb::handle_t<BoundGraph> self) {
  const TypedGraph& graph = *nb::cast<const BoundGraph&>(self);
  std::optional<Shown<float>> weights;
  if (graph.is_weighted()) weights = show(graph.weights(), self);
  return {show(graph.indptr(), self), show(graph.indices(), self), weights, show(graph.externals(), self),
          show(graph.types(), self)};
}

// How many slots the quotas of all types need.
std::size_t num_slots(const TypedGraph& graph, const std::vector<std::size_t>& take) {
  constexpr std::size_t kMaxQuota = std::numeric_limits<std::uint32_t>::max();
  require(take.size() == graph.num_types(), "take has " + std::to_string(take.size()) +
                                                " entries; it must have one per entity type, " +
                                                std::to_string(graph.num_types()));
  for (const std::size_t quota : take) {
    require(quota <= kMaxQuota, "take has " + std::to_string(quota) + "; a quota is 4294967295 at most");
  }
  return std::accumulate(take.begin(), take.end(), std::size_t{0});
}

// ids, weights, counts, mass, pushes
using Pushed = std::tuple<Owned<std::uint32_t>, Owned<float>, Owned<std::uint32_t>, Owned<float>, Owned<std::uint32_t>>;

// The arrays that pushes from some sources fill.
struct PushArrays {
  PushArrays(std::size_t num_sources, std::size_t width, std::size_t num_types)
      : ids(num_sources, width),
        weights(num_sources, width),
        counts(num_sources, num_types),
        mass(num_sources),
        pushes(num_sources) {}

  PushOutput output() { return {ids.span, weights.span, counts.span, mass, pushes}; }
  Pushed release() {
    return {ids.array, weights.array, counts.array, to_numpy(std::move(mass)), to_numpy(std::move(pushes))};
  }

  Output<std::uint32_t> ids;
  Output<float> weights;
  Output<std::uint32_t> counts;
  std::vector<float> mass;
  std::vector<std::uint32_t> pushes;
};

Pushed bind_forward_push(const BoundGraph& graph, std::size_t source_type, const AnyArray& sources,
                         const std::vector<std::size_t>& take, double restart, double eps, bool complete,
                         int num_threads) {
  PushRule rule = graph.to_rule(source_type, restart, eps);
  const auto ids = view<std::uint32_t>(sources, "sources");
  PushArrays arrays(ids.size(), num_slots(*graph, take), take.size());
  without_gil(num_threads, [&](const Workers& workers) {
    if (complete) rule.components = &graph.components();
    forward_push(*graph, source_type, ids, rule, take, arrays.output(), workers);
  });
  return arrays.release();
}

using NewEdges = std::tuple<std::uint32_t, AnyArray, std::optional<AnyArray>>;  // type of the ids, ids, weights

Newcomer to_newcomer(const TypedGraph& graph, const std::vector<NewEdges>& edges) {
  std::map<std::uint32_t, Newcomer::Edge> merged;
  for (const auto& [type, array, weight_array] : edges) {
    require_type(type, graph.num_types());
    const auto ids = view<std::uint32_t>(array, "ids");
    const auto weights = view_or_none<float>(weight_array, "weights", ids.size());
    for (std::size_t i = 0; i < ids.size(); ++i) {
      require(ids[i] < graph.num_entities(type), "ids[" + std::to_string(i) + "] is " + std::to_string(ids[i]) +
                                                     ", but its type has " + std::to_string(graph.num_entities(type)) +
                                                     " entities");
      const float weight = weights.empty() ? 1.0f : weights[i];
      require(std::isfinite(weight) && weight > 0, "weights[" + std::to_string(i) + "] is " + std::to_string(weight) +
                                                       "; weights must be finite and above 0");
      const std::uint32_t entity = graph.internal(type, ids[i]);
      const auto [at, is_new] = merged.try_emplace(entity, Newcomer::Edge{entity, 0, 0});
      at->second.count += 1;
      at->second.weight += weight;
    }
  }
  Newcomer newcomer;
  for (const auto& [entity, edge] : merged) newcomer.edges.push_back(edge);
  return newcomer;
}

Pushed bind_push_newcomer(const BoundGraph& graph, const std::vector<NewEdges>& edges,
                          const std::vector<std::size_t>& take, double restart, double eps, bool complete) {
  PushRule rule = graph.to_rule(0, restart, eps);
  const std::size_t width = num_slots(*graph, take);
  const Newcomer newcomer = to_newcomer(*graph, edges);
  PushArrays arrays(1, width, take.size());
  without_gil(1, [&](const Workers&) {
    if (complete) rule.components = &graph.components();
    push_newcomer(*graph, newcomer, rule, take, arrays.output());
  });
  return arrays.release();
}

std::tuple<Owned<std::uint32_t>, Owned<float>, Owned<float>, Owned<float>> bind_push_state(const BoundGraph& graph,
                                                                                           std::size_t source_type,
                                                                                           std::uint32_t source,
                                                                                           double restart, double eps) {
  const PushRule rule = graph.to_rule(source_type, restart, eps);
  require(source < (*graph).num_entities(source_type), "source is " + std::to_string(source) + ", but its type has " +
                                                           std::to_string((*graph).num_entities(source_type)) +
                                                           " entities");
  PushState state = push_state(*graph, (*graph).internal(source_type, source), rule);
  return {to_numpy(std::move(state.entities)), to_numpy(std::move(state.estimates)),
          to_numpy(std::move(state.residuals)), to_numpy(std::move(state.scores))};
}

WalkRule to_walk_rule(const BoundGraph& graph, std::size_t type, const std::tuple<std::uint64_t, std::uint64_t>& shape,
                      double restart, std::uint64_t seed) {
  constexpr std::uint64_t kMaxSteps = 1 << 24;  // visits are counted exactly in a float
  const auto [num_walks, walk_length] = shape;
  require_type(type, (*graph).num_types());
  require(num_walks >= 1 && walk_length >= 1 && num_walks <= kMaxSteps && walk_length <= kMaxSteps / num_walks,
          "shape is (" + std::to_string(num_walks) + ", " + std::to_string(walk_length) +
              "); both numbers must be >= 1, and their product at most 16777216");
  require(restart >= 0 && restart <= 1, "restart is " + std::to_string(restart) + "; it must be in [0, 1]");
  return {restart, num_walks, walk_length, seed};
}

std::tuple<Owned<std::uint32_t>, Owned<std::uint8_t>> bind_random_walks(
    const BoundGraph& graph, std::size_t source_type, const AnyArray& sources,
    const std::tuple<std::uint64_t, std::uint64_t>& shape, double restart, std::uint64_t seed, int num_threads) {
  const WalkRule rule = to_walk_rule(graph, source_type, shape, restart, seed);
  const auto ids = view<std::uint32_t>(sources, "sources");
  Output<std::uint32_t> entities(ids.size() * rule.num_walks, rule.walk_length + 1);
  Output<std::uint8_t> types(ids.size() * rule.num_walks, rule.walk_length + 1);
  without_gil(num_threads, [&](const Workers& workers) {
    random_walks(*graph, graph.alias(workers), source_type, ids, rule, {entities.span, types.span}, workers);
  });
  return {entities.array, types.array};
}

std::tuple<Owned<std::uint32_t>, Owned<float>, Owned<std::uint32_t>, Owned<float>> bind_most_visited(
    const BoundGraph& graph, std::size_t source_type, const AnyArray& sources, const std::vector<std::size_t>& take,
    const std::tuple<std::uint64_t, std::uint64_t>& shape, double restart, std::uint64_t seed, int num_threads) {
  const WalkRule rule = to_walk_rule(graph, source_type, shape, restart, seed);
  const auto ids = view<std::uint32_t>(sources, "sources");
  const std::size_t width = num_slots(*graph, take);
  Output<std::uint32_t> neighbors(ids.size(), width);
  Output<float> weights(ids.size(), width);
  Output<std::uint32_t> counts(ids.size(), take.size());
  std::vector<float> mass(ids.size());
  without_gil(num_threads, [&](const Workers& workers) {
    most_visited(*graph, graph.alias(workers), source_type, ids, rule, take,
                 {neighbors.span, weights.span, counts.span, mass}, workers);
  });
  return {neighbors.array, weights.array, counts.array, to_numpy(std::move(mass))};
}

}  // namespace
}  // namespace omnisage

NB_MODULE(_native, module) {
  using namespace omnisage;
  module.def("ngram_hashes", &bind_ngram_hashes, "data"_a, "offsets"_a, nb::kw_only(), "num_threads"_a = 0);
  module.def("topk", &bind_topk, "scores"_a, "k"_a, nb::kw_only(), "num_threads"_a = 0);
  module.def("attend", &bind_attend, "arrays"_a, nb::kw_only(), "num_threads"_a = 0);
  module.def("attend_backward", &bind_attend_backward, "arrays"_a, "weights"_a, "reads"_a, "totals"_a, nb::kw_only(),
             "num_threads"_a = 0);
  module.def("dropout", &bind_plain_dropout, "values"_a, "bytes"_a, "num_dropped"_a, nb::kw_only(),
             "num_threads"_a = 0);
  module.def("gelu_dropout", &bind_gelu_dropout, "values"_a, "bytes"_a, "num_dropped"_a, nb::kw_only(),
             "num_threads"_a = 0);
  module.def("gelu_dropout_backward", &bind_gelu_dropout_backward, "values"_a, "bytes"_a, "num_dropped"_a, "upstream"_a,
             nb::kw_only(), "num_threads"_a = 0);
  module.def("softmax_loss", &bind_softmax_loss, "queries"_a, "candidates"_a, "log_q"_a, "columns"_a,
             "seen"_a.none() = nb::none(), "others"_a.none() = nb::none(), nb::kw_only(), "num_threads"_a = 0);
  module.def("gather", &bind_gather, "rows"_a, "ids"_a, nb::kw_only(), "num_threads"_a = 0);
  module.def("build_csr", &bind_build_csr, "chunks"_a, nb::kw_only(), "num_rows"_a, "num_columns"_a,
             "row_range"_a.none() = nb::none(), "is_symmetric"_a = false, "num_threads"_a = 0);
  module.def("partition", &bind_partition, "chunk"_a, nb::kw_only(), "bounds"_a, "num_columns"_a,
             "is_symmetric"_a = false, "num_threads"_a = 0);
  nb::class_<BoundIntegerIds>(module, "IntegerIds")
      .def(nb::init<>())
      .def("add", &BoundIntegerIds::add, "keys"_a, nb::kw_only(), "num_threads"_a = 0)
      .def("find", &BoundIntegerIds::find, "keys"_a, nb::kw_only(), "num_threads"_a = 0)
      .def("release", &BoundIntegerIds::release);
  nb::class_<BoundStringIds>(module, "StringIds")
      .def(nb::init<>())
      .def("add", &BoundStringIds::add, "data"_a, "offsets"_a, nb::kw_only(), "num_threads"_a = 0)
      .def("find", &BoundStringIds::find, "data"_a, "offsets"_a, nb::kw_only(), "num_threads"_a = 0)
      .def("release", &BoundStringIds::release);
  module.def("prune", &bind_prune, "indptr"_a, "indices"_a, "weights"_a.none(), nb::kw_only(), "degrees"_a, "seed"_a,
             "order"_a, "first_row"_a = 0, "num_threads"_a = 0);
  module.def("sketch_update", &bind_sketch_update, "table"_a, "ids"_a, "counts"_a, nb::kw_only(), "seed"_a);
  module.def("sketch_estimate", &bind_sketch_estimate, "table"_a, "ids"_a, nb::kw_only(), "seed"_a);
  nb::class_<BoundGraph>(module, "TypedGraph")
      .def(nb::init<const std::vector<std::size_t>&, const std::vector<AdjacencyArrays>&, int>(), "num_entities"_a,
           "adjacencies"_a, nb::kw_only(), "num_threads"_a = 0)
      .def("lists", &bind_lists)
      .def("forward_push", &bind_forward_push, "source_type"_a, "sources"_a, "take"_a, nb::kw_only(), "restart"_a,
           "eps"_a, "complete"_a = false, "num_threads"_a = 0)
      .def("push_newcomer", &bind_push_newcomer, "edges"_a, "take"_a, nb::kw_only(), "restart"_a, "eps"_a,
           "complete"_a = false)
      .def("random_walks", &bind_random_walks, "source_type"_a, "sources"_a, nb::kw_only(), "shape"_a, "restart"_a,
           "seed"_a, "num_threads"_a = 0)
      .def("most_visited", &bind_most_visited, "source_type"_a, "sources"_a, "take"_a, nb::kw_only(), "shape"_a,
           "restart"_a, "seed"_a, "num_threads"_a = 0)
      .def("push_state", &bind_push_state, "source_type"_a, "source"_a, nb::kw_only(), "restart"_a, "eps"_a);
}
