// Graphs prepared for walking: forward push and random walks.
#include <cmath>
#include <limits>
#include <map>
#include <mutex>
#include <numeric>
#include <tuple>
#include <utility>

#include "bindings.hpp"
#include "components.hpp"
#include "forward_push.hpp"
#include "in_lists.hpp"
#include "random_walks.hpp"

namespace omnisage {
namespace {

using namespace nb::literals;

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
  const InLists& in_lists(const Workers& workers) const {
    std::call_once(in_lists_made_, [&] { in_lists_.emplace(*graph_, workers); });
    return *in_lists_;
  }
  const Components& components(const Workers& workers) const {
    std::call_once(components_made_, [&] { components_.emplace(*graph_, in_lists(workers), workers); });
    return *components_;
  }

  // A rule that counts what is left, if asked to.
  PushRule completed(PushRule rule, bool complete, std::uint32_t exact_degree, const Workers& workers) const {
    if (!complete) return rule;
    return {rule.restart, rule.eps, &components(workers), &in_lists(workers), exact_degree};
  }

 private:
  std::optional<TypedGraph> graph_;
  mutable std::once_flag alias_made_;
  mutable std::optional<AliasTables> alias_;
  mutable std::once_flag in_lists_made_;
  mutable std::optional<InLists> in_lists_;
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
                         std::uint32_t exact_degree, int num_threads) {
  const PushRule rule = graph.to_rule(source_type, restart, eps);
  const auto ids = view<std::uint32_t>(sources, "sources");
  PushArrays arrays(ids.size(), num_slots(*graph, take), take.size());
  without_gil(num_threads, [&](const Workers& workers) {
    const PushRule completed = graph.completed(rule, complete, exact_degree, workers);
    forward_push(*graph, source_type, ids, completed, take, arrays.output(), workers);
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
                          const std::vector<std::size_t>& take, double restart, double eps, bool complete,
                          std::uint32_t exact_degree) {
  const PushRule rule = graph.to_rule(0, restart, eps);
  const std::size_t width = num_slots(*graph, take);
  const Newcomer newcomer = to_newcomer(*graph, edges);
  PushArrays arrays(1, width, take.size());
  without_gil(1, [&](const Workers& workers) {
    const PushRule completed = graph.completed(rule, complete, exact_degree, workers);
    push_newcomer(*graph, newcomer, completed, take, arrays.output());
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

void define_graph(nb::module_& module) {
  nb::class_<BoundGraph>(module, "TypedGraph")
      .def(nb::init<const std::vector<std::size_t>&, const std::vector<AdjacencyArrays>&, int>(), "num_entities"_a,
           "adjacencies"_a, nb::kw_only(), "num_threads"_a = 0)
      .def("lists", &bind_lists)
      .def("forward_push", &bind_forward_push, "source_type"_a, "sources"_a, "take"_a, nb::kw_only(), "restart"_a,
           "eps"_a, "complete"_a = false, "exact_degree"_a = 0, "num_threads"_a = 0)
      .def("push_newcomer", &bind_push_newcomer, "edges"_a, "take"_a, nb::kw_only(), "restart"_a, "eps"_a,
           "complete"_a = false, "exact_degree"_a = 0)
      .def("random_walks", &bind_random_walks, "source_type"_a, "sources"_a, nb::kw_only(), "shape"_a, "restart"_a,
           "seed"_a, "num_threads"_a = 0)
      .def("most_visited", &bind_most_visited, "source_type"_a, "sources"_a, "take"_a, nb::kw_only(), "shape"_a,
           "restart"_a, "seed"_a, "num_threads"_a = 0)
      .def("push_state", &bind_push_state, "source_type"_a, "source"_a, nb::kw_only(), "restart"_a, "eps"_a);
}

}  // namespace omnisage
