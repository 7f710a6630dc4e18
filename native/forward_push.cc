#include "forward_push.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>
#include <type_traits>

#include "pusher.hpp"
#include "ranker.hpp"
#include "residuals.hpp"

namespace omnisage {
namespace {

constexpr std::size_t kSourcesPerChunk = 8;

// An array of residuals is used up to this many entities, 32 MB, and up to this many per slot of a hash table: smaller
// tables stay in the processor's nearest caches, where an array would not.
constexpr std::size_t kMaxDense = std::size_t{8} << 20;
constexpr std::size_t kMaxDensePerSlot = 16;

// Slots that are enough for most sources: growing in between costs more than a push.
std::size_t num_slots(const TypedGraph& graph, const PushRule& rule) {
  return static_cast<std::size_t>(std::min(4.0 * static_cast<double>(graph.num_entities()), 2 / rule.eps));
}

bool is_dense(const TypedGraph& graph, const PushRule& rule) {
  return graph.num_entities() <= std::min(kMaxDense, kMaxDensePerSlot * num_slots(graph, rule));
}

template <typename Residuals>
Residuals make_residuals(const TypedGraph& graph, const PushRule& rule) {
  return Residuals(std::is_same_v<Residuals, DenseResiduals> ? graph.num_entities() : num_slots(graph, rule));
}

// What one thread works with; made by itself, so that threads do not wait for each other's memory.
template <typename Residuals>
struct Scratch {
  Scratch(const TypedGraph& graph, const PushRule& rule, std::span<const std::size_t> take)
      : pusher(graph, rule, make_residuals<Residuals>(graph, rule)), ranker(graph, rule, take) {}

  Pusher<Residuals> pusher;
  Ranker ranker;
};

template <typename Residuals>
void push_all(const TypedGraph& graph, std::size_t source_type, std::span<const std::uint32_t> sources,
              const PushRule& rule, std::span<const std::size_t> take, const PushOutput& output,
              const Workers& workers) {
  const std::size_t width = std::accumulate(take.begin(), take.end(), std::size_t{0});
  std::vector<std::optional<Scratch<Residuals>>> scratch(workers.count());
  auto chunk = [&](std::size_t thread, std::size_t begin, std::size_t end) {
    std::array<std::uint32_t, kSourcesPerChunk> internal;
    for (std::size_t i = begin; i < end; ++i) {
      internal[i - begin] = graph.internal(source_type, sources[i]);
      __builtin_prefetch(&graph.indptr()[internal[i - begin]]);
    }
    if (!scratch[thread]) scratch[thread].emplace(graph, rule, take);
    auto& [pusher, ranker] = *scratch[thread];
    for (std::size_t i = begin; i < end; ++i) {
      const std::uint32_t source = internal[i - begin];
      if (i + 1 < end) pusher.prefetch_list(internal[i + 1 - begin]);
      pusher.push_from(source);
      output.pushes[i] = static_cast<std::uint32_t>(pusher.pushes().size());
      const Ranker::Row row{output.ids.subspan(i * width, width), output.weights.subspan(i * width, width),
                            output.counts.subspan(i * take.size(), take.size())};
      output.mass[i] = ranker.rank(source, pusher, row);
    }
  };
  parallel_for(sources.size(), kSourcesPerChunk, workers, chunk);
}

}  // namespace

void forward_push(const TypedGraph& graph, std::size_t source_type, std::span<const std::uint32_t> sources,
                  const PushRule& rule, std::span<const std::size_t> take, const PushOutput& output,
                  const Workers& workers) {
  graph.check_sources(source_type, sources);
  if (is_dense(graph, rule)) {
    push_all<DenseResiduals>(graph, source_type, sources, rule, take, output, workers);
  } else {
    push_all<HashedResiduals>(graph, source_type, sources, rule, take, output, workers);
  }
}

const Newcomer::Edge* Newcomer::find(std::uint32_t entity) const {
  const auto at = std::lower_bound(edges.begin(), edges.end(), entity,
                                   [](const Edge& edge, std::uint32_t wanted) { return edge.entity < wanted; });
  return at != edges.end() && at->entity == entity ? &*at : nullptr;
}

std::uint32_t Newcomer::degree() const {
  return std::accumulate(edges.begin(), edges.end(), 0u,
                         [](std::uint32_t sum, const Edge& edge) { return sum + edge.count; });
}

double Newcomer::total_weight() const {
  return std::accumulate(edges.begin(), edges.end(), 0.0,
                         [](double sum, const Edge& edge) { return sum + edge.weight; });
}

void push_newcomer(const TypedGraph& graph, const Newcomer& newcomer, const PushRule& rule,
                   std::span<const std::size_t> take, const PushOutput& output) {
  Pusher<HashedResiduals> pusher(graph, rule, HashedResiduals(num_slots(graph, rule)), &newcomer);
  Ranker ranker(graph, rule, take);
  const auto number = static_cast<std::uint32_t>(graph.num_entities());
  pusher.push_from(number);
  output.pushes[0] = static_cast<std::uint32_t>(pusher.pushes().size());
  output.mass[0] = ranker.rank(number, pusher, {output.ids, output.weights, output.counts});
}

PushState push_state(const TypedGraph& graph, std::uint32_t source, const PushRule& rule) {
  Pusher<HashedResiduals> pusher(graph, rule, HashedResiduals(64));
  pusher.push_from(source);
  struct Reached {
    float estimate = 0;
    float residual = 0;
    float score = 0;
  };
  std::map<std::uint32_t, Reached> reached;  // by offset(type) + id
  const auto of = [&](std::uint32_t internal) -> Reached& {
    return reached[graph.offset(graph.type_of(internal)) + graph.external(internal)];
  };
  const auto restart = static_cast<float>(rule.restart);
  for (const auto& push : pusher.pushes()) of(push.entity).estimate += restart * push.residual;
  pusher.residuals().for_each([&](std::uint32_t entity, float residual) { of(entity).residual = std::abs(residual); });
  pusher.add_pushed();
  pusher.residuals().for_each([&](std::uint32_t entity, float visits) { of(entity).score = restart * visits; });
  PushState state;
  for (const auto& [entity, known] : reached) {
    state.entities.push_back(entity);
    state.estimates.push_back(known.estimate);
    state.residuals.push_back(known.residual);
    state.scores.push_back(known.score);
  }
  return state;
}

}  // namespace omnisage
