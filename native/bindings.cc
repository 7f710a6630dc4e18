// The Python module `omnisage._native`: checks every argument, releases the GIL, calls a kernel.
//
// Signatures and meaning for Python readers: src/omnisage/_native.pyi.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <tuple>

#include "arrays.hpp"
#include "best.hpp"
#include "csr.hpp"
#include "forward_push.hpp"
#include "gather.hpp"
#include "ngrams.hpp"
#include "prune.hpp"
#include "sketch.hpp"
#include "topk.hpp"

namespace omnisage {
namespace {

using namespace nb::literals;

std::tuple<Owned<std::uint64_t>, Owned<std::uint64_t>> bind_ngram_hashes(const AnyArray& data, const AnyArray& offsets,
                                                                         int num_threads) {
  const auto bytes = view<std::uint8_t>(data, "data");
  const auto starts = view<std::int64_t>(offsets, "offsets");
  require(!starts.empty(), "offsets is empty; it must have one more entry than there are texts");
  for (std::size_t i = 0; i < starts.size(); ++i) {
    const bool rises = starts[i] >= (i == 0 ? 0 : starts[i - 1]);
    require(rises && starts[i] <= static_cast<std::int64_t>(bytes.size()),
            "offsets[" + std::to_string(i) + "] is " + std::to_string(starts[i]) + "; offsets must rise within 0 .. " +
                std::to_string(bytes.size()) + ", the number of bytes in data");
  }
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

Lists bind_build_csr(const AnyArray& source, const AnyArray& target, const std::optional<AnyArray>& weights,
                     std::uint64_t num_sources, std::uint64_t num_targets, bool is_symmetric, int num_threads) {
  const Edges edges{view<std::uint32_t>(source, "source"),
                    view<std::uint32_t>(target, "target"),
                    view_or_none<float>(weights, "weights", source.size()),
                    num_sources,
                    num_targets,
                    is_symmetric};
  require(edges.target.size() == edges.source.size(), "target has " + std::to_string(edges.target.size()) +
                                                          " entries; it must have " +
                                                          std::to_string(edges.source.size()) + ", as many as source");
  require(!is_symmetric || num_sources == num_targets, "a symmetric relation needs num_sources == num_targets");
  Csr csr = without_gil(num_threads, [&](const Workers& workers) { return build_csr(edges, workers); });
  return to_lists(std::move(csr), weights.has_value());
}

PairOrder to_order(const std::string& order) {
  if (order == "row_first") return PairOrder::kRowFirst;
  if (order == "row_last") return PairOrder::kRowLast;
  require(order == "smaller_first", "order is '" + order + "'; it must be row_first, row_last or smaller_first");
  return PairOrder::kSmallerFirst;
}

Lists bind_prune(const AnyArray& indptr, const AnyArray& indices, const std::optional<AnyArray>& weights,
                 const std::tuple<double, std::uint64_t, std::uint64_t>& degrees, std::uint64_t seed,
                 const std::string& order, int num_threads) {
  const CsrView csr = view_lists(indptr, indices, weights);
  const auto [alpha, min_degree, max_degree] = degrees;
  require(alpha > 0 && alpha <= 1, "alpha is " + std::to_string(alpha) + "; it must be in (0, 1]");
  require(min_degree >= 1 && min_degree <= max_degree, "min_degree must be >= 1 and at most max_degree");
  const PruneRule rule{alpha, min_degree, max_degree, seed, to_order(order)};
  Csr pruned = without_gil(num_threads, [&](const Workers& workers) {
    check_csr(csr, std::numeric_limits<std::uint32_t>::max(), workers);
    return prune(csr, rule, workers);
  });
  return to_lists(std::move(pruned), weights.has_value());
}

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
  PushRule to_rule(std::size_t type, double restart, double eps, bool complete = false) const {
    require(type < graph_->num_types(),
            "type is " + std::to_string(type) + "; there are " + std::to_string(graph_->num_types()) + " types");
    require(restart > 0 && restart < 1, "restart is " + std::to_string(restart) + "; it must be in (0, 1)");
    require(eps > 0 && eps < 1, "eps is " + std::to_string(eps) + "; it must be in (0, 1)");
    return {restart, eps, complete};
  }

 private:
  std::optional<TypedGraph> graph_;
};

template <typename T>
using Shown = nb::ndarray<nb::numpy, const T, nb::ndim<1>>;

template <typename T>
Shown<T> show(std::span<const T> values, nb::handle owner) {
  return Shown<T>(values.data(), {values.size()}, owner);
}

// The graph's merged lists and the ids behind its internal numbers, without a copy.
std::tuple<Shown<std::uint64_t>, Shown<std::uint32_t>, std::optional<Shown<float>>, Shown<std::uint32_t>> bind_lists(
    nb::handle_t<BoundGraph> self) {
  const TypedGraph& graph = *nb::cast<const BoundGraph&>(self);
  std::optional<Shown<float>> weights;
  if (graph.is_weighted()) weights = show(graph.weights(), self);
  return {show(graph.indptr(), self), show(graph.indices(), self), weights, show(graph.externals(), self)};
}

void require_take(const TypedGraph& graph, const std::vector<std::size_t>& take) {
  require(take.size() == graph.num_types(), "take has " + std::to_string(take.size()) +
                                                " entries; it must have one per entity type, " +
                                                std::to_string(graph.num_types()));
}

std::tuple<Owned<std::uint32_t>, Owned<float>, Owned<float>, Owned<std::uint32_t>> bind_forward_push(
    const BoundGraph& graph, std::size_t source_type, const AnyArray& sources, const std::vector<std::size_t>& take,
    double restart, double eps, bool complete, int num_threads) {
  const PushRule rule = graph.to_rule(source_type, restart, eps, complete);
  const auto ids = view<std::uint32_t>(sources, "sources");
  require_take(*graph, take);
  const std::size_t width = std::accumulate(take.begin(), take.end(), std::size_t{0});
  Output<std::uint32_t> neighbors(ids.size(), width);
  Output<float> weights(ids.size(), width);
  std::vector<float> mass(ids.size());
  std::vector<std::uint32_t> pushes(ids.size());
  without_gil(num_threads, [&](const Workers& workers) {
    forward_push(*graph, source_type, ids, rule, take, {neighbors.span, weights.span, mass, pushes}, workers);
  });
  return {neighbors.array, weights.array, to_numpy(std::move(mass)), to_numpy(std::move(pushes))};
}

using NewEdges = std::tuple<std::uint32_t, AnyArray, std::optional<AnyArray>>;  // type of the ids, ids, weights

Newcomer to_newcomer(const TypedGraph& graph, const std::vector<NewEdges>& edges) {
  std::map<std::uint32_t, Newcomer::Edge> merged;
  for (const auto& [type, array, weight_array] : edges) {
    require(type < graph.num_types(),
            "type is " + std::to_string(type) + "; there are " + std::to_string(graph.num_types()) + " types");
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

std::tuple<Owned<std::uint32_t>, Owned<float>, Owned<float>, Owned<std::uint32_t>> bind_push_newcomer(
    const BoundGraph& graph, const std::vector<NewEdges>& edges, const std::vector<std::size_t>& take, double restart,
    double eps, bool complete) {
  const PushRule rule = graph.to_rule(0, restart, eps, complete);
  require_take(*graph, take);
  const Newcomer newcomer = to_newcomer(*graph, edges);
  const std::size_t width = std::accumulate(take.begin(), take.end(), std::size_t{0});
  Output<std::uint32_t> neighbors(1, width);
  Output<float> weights(1, width);
  std::vector<float> mass(1);
  std::vector<std::uint32_t> pushes(1);
  without_gil(1, [&](const Workers&) {
    push_newcomer(*graph, newcomer, rule, take, {neighbors.span, weights.span, mass, pushes});
  });
  return {neighbors.array, weights.array, to_numpy(std::move(mass)), to_numpy(std::move(pushes))};
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

}  // namespace
}  // namespace omnisage

NB_MODULE(_native, module) {
  using namespace omnisage;
  module.def("ngram_hashes", &bind_ngram_hashes, "data"_a, "offsets"_a, nb::kw_only(), "num_threads"_a = 0);
  module.def("topk", &bind_topk, "scores"_a, "k"_a, nb::kw_only(), "num_threads"_a = 0);
  module.def("gather", &bind_gather, "rows"_a, "ids"_a, nb::kw_only(), "num_threads"_a = 0);
  module.def("build_csr", &bind_build_csr, "source"_a, "target"_a, "weights"_a.none() = nb::none(), nb::kw_only(),
             "num_sources"_a, "num_targets"_a, "is_symmetric"_a = false, "num_threads"_a = 0);
  module.def("prune", &bind_prune, "indptr"_a, "indices"_a, "weights"_a.none(), nb::kw_only(), "degrees"_a, "seed"_a,
             "order"_a, "num_threads"_a = 0);
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
      .def("push_state", &bind_push_state, "source_type"_a, "source"_a, nb::kw_only(), "restart"_a, "eps"_a);
}
