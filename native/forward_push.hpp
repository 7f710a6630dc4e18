// Importance neighborhoods by forward push (OmniSage §3.1.1; Andersen, Chung, Lang, FOCS 2006).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "components.hpp"
#include "parallel.hpp"
#include "typed_graph.hpp"

namespace omnisage {

// A walk goes back to its source with probability `restart`, else along a random edge, in proportion to its
// weight (1 where the relation has none). `estimate` p and `residual` r start as p = 0, r = 1 at the source.
// A push at x moves restart * r[x] to p[x] and spreads the rest over the list of x. The source is pushed
// once in any case; then x is pushed while r[x] >= eps * degree(x), first come first served, degree(x) being
// x's number of edges. (Compared as floor(r[x] * (1 / eps)) >= degree(x), in float.)
//
// So p + r sums to 1, and the exact proximity to v is p[v] + the sum over x of r[x] * proximity(x, v). At
// most degree(source) + 1 / (restart * eps) edges are seen per source, whatever the weights.
struct PushRule {
  double restart;
  double eps;

  // If given, the ranking counts where the residual that is left would go. Without it hubs are missed most, for they
  // may be short of eps * degree; and at usual eps most of all probability is left. Walks from where it lies soon are
  // anywhere in the component, in proportion to the shares of entities in it, so that v is due about
  //
  //     (1 - restart) * residual left * share of v / share of all the component
  //
  // more. That is an estimate, better the less clustered a graph is. In the heaviest component it counts for entities
  // that the push did not reach, too.
  const Components* components = nullptr;

  // If given as well, the first step of the residual is exact for those of the 2 * take best candidates of a type that
  // are in at most exact_degree lists: they get restart * (1 - restart) * sum over x of r[x] * weight(x, v) / total
  // weight of x, and the rest of their due, a share 1 - restart of it, as an estimate. O(the lists they are in).
  const InLists* in_lists = nullptr;
  std::uint32_t exact_degree = 0;
};

// Neighborhoods of many sources of one type, in fixed slots [sources, sum of take].
struct PushOutput {
  std::span<std::uint32_t> ids;     // kEmpty where a slot holds nothing
  std::span<float> weights;         // 0 there
  std::span<std::uint32_t> counts;  // [sources, types] slots that hold something
  std::span<float> mass;            // [sources] share of the probability outside the source that the slots hold
  std::span<std::uint32_t> pushes;  // [sources] how many pushes it took
};

// For each source: push, then for each type t the take[t] entities with the largest p + restart * r (the next
// push's share is evidence too), never the source, ties by id. Types have their slots in order.
//
// The same bytes for any number of threads. Throws std::out_of_range at a source that does not exist.
// Scratch per thread: 4 bytes per entity of the graph and 4 per entity that a push reaches; in graphs of more than 8
// million entities, or 32 / eps, 36 to 130 bytes per entity that a push reaches instead. Reused from source to source.
//
// Example: the path 0 - 1 - 2 (one type), source 0, restart 0.5, small eps, take 2: ids {1, 2}, weights near
// {1/3, 1/12}; the source keeps 7/12.
void forward_push(const TypedGraph& graph, std::size_t source_type, std::span<const std::uint32_t> sources,
                  const PushRule& rule, std::span<const std::size_t> take, const PushOutput& output,
                  const Workers& workers);

// An entity that the graph does not have, by its edges.
struct Newcomer {
  struct Edge {
    std::uint32_t entity;  // internal number
    std::uint32_t count;   // edges between the two, in several relations
    float weight;          // of all of them
  };
  std::vector<Edge> edges;  // rising, each entity once

  const Edge* find(std::uint32_t entity) const;  // nullptr: no edge; O(log edges)
  std::uint32_t degree() const;
  double total_weight() const;
};

// The neighborhood of a newcomer, as if the graph had it and its edges (both ways), last in every list: O(the push),
// nothing is rebuilt. output has one row.
//
// Example: the path above without 0, newcomer with an edge to 1: the row of source 0.
void push_newcomer(const TypedGraph& graph, const Newcomer& newcomer, const PushRule& rule,
                   std::span<const std::size_t> take, const PushOutput& output);

// What a push leaves: every entity it reached (numbered as in TypedGraph), rising, with estimate and
// residual.
struct PushState {
  std::vector<std::uint32_t> entities;
  std::vector<float> estimates;
  std::vector<float> residuals;
  std::vector<float> scores;  // p + restart * r, as ranked
};

PushState push_state(const TypedGraph& graph, std::uint32_t source, const PushRule& rule);

}  // namespace omnisage
