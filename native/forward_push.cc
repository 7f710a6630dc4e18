#include "forward_push.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>
#include <numeric>
#include <stdexcept>
#include <string>

#include "best.hpp"
#include "residuals.hpp"

namespace omnisage {
namespace {

constexpr std::size_t kSourcesPerChunk = 16;
constexpr std::size_t kEdgesAhead = 12;    // residuals prefetched before their edge's turn
constexpr std::size_t kEntitiesAhead = 2;  // lists prefetched before their entity's turn

// Pushes one source after the other; one per thread, so that after the first sources nothing is allocated.
template <typename Residuals>
class Pusher {
 public:
  Pusher(const TypedGraph& graph, const PushRule& rule, Residuals residuals)
      : graph_(graph),
        per_eps_(static_cast<float>(1 / rule.eps)),
        spread_(1 - rule.restart),
        residuals_(std::move(residuals)) {}

  // Leaves in residuals() what a push leaves, and in pushes() what it pushed, in order.
  void push_from(std::uint32_t source) {
    pushes_.clear();
    residuals_.reserve(1);
    residuals_.add(source, 1);
    if (graph_.degree(source) > 0) pushes_.push_back({source, 0});
    for (std::size_t i = 0; i < pushes_.size(); ++i) {
      if (i + kEntitiesAhead < pushes_.size()) prefetch_list(pushes_[i + kEntitiesAhead].entity);
      Push& push = pushes_[i];
      push.residual = residuals_.get(push.entity);
      residuals_.set(push.entity, kPushed);
      spread(push.entity, spread_ * push.residual / graph_.total_weight(push.entity));
    }
  }

  // One push: how much residual an entity had then.
  struct Push {
    std::uint32_t entity;
    float residual;
  };
  const std::vector<Push>& pushes() const { return pushes_; }
  Residuals& residuals() { return residuals_; }

  // Adds what was pushed to what was left: a share `restart` of it is p + restart * r.
  void add_pushed() {
    for (const Push& push : pushes_) residuals_.set(push.entity, residuals_.get(push.entity) + push.residual);
  }

 private:
  // Gives every neighbor `share` per unit of edge weight.
  void spread(std::uint32_t entity, double share) {
    const std::uint64_t begin = graph_.indptr()[entity];
    const std::size_t degree = graph_.degree(entity);
    const std::uint32_t* const neighbors = graph_.indices().data() + begin;
    residuals_.reserve(degree);
    for (std::size_t i = 0; i < std::min(kEdgesAhead, degree); ++i) residuals_.prefetch(neighbors[i]);
    if (graph_.is_weighted()) {
      const float* const weights = graph_.weights().data() + begin;
      spread(neighbors, degree, [&](std::size_t i) { return kept_above_0(share * weights[i]); });
    } else {
      const float amount = kept_above_0(share);
      spread(neighbors, degree, [&](std::size_t) { return amount; });
    }
  }

  template <typename Amount>
  void spread(const std::uint32_t* neighbors, std::size_t degree, Amount&& amount) {
    const std::size_t num_ahead = degree - std::min(kEdgesAhead, degree);
    for (std::size_t i = 0; i < num_ahead; ++i) {
      residuals_.prefetch(neighbors[i + kEdgesAhead]);
      add(neighbors[i], amount(i));
    }
    for (std::size_t i = num_ahead; i < degree; ++i) add(neighbors[i], amount(i));
  }

  void add(std::uint32_t entity, float amount) {
    const float residual = residuals_.add(entity, amount);
    const float limit = residual * per_eps_;  // the degree below which it is pushed
    if (limit < 1 || !graph_.has_degree_within(entity, to_degree(limit))) return;
    if (graph_.has_degree_within(entity, to_degree((residual - amount) * per_eps_))) return;  // it waits already
    __builtin_prefetch(&graph_.indptr()[entity]);
    pushes_.push_back({entity, 0});
  }

  static std::uint32_t to_degree(float limit) { return static_cast<std::uint32_t>(std::min(limit, 4e9f)); }

  // An amount that vanished would let an entity be reached without a trace.
  static float kept_above_0(double amount) {
    return std::max(static_cast<float>(amount), std::numeric_limits<float>::min());
  }

  void prefetch_list(std::uint32_t entity) const {
    __builtin_prefetch(graph_.indices().data() + graph_.indptr()[entity]);
  }

  const TypedGraph& graph_;
  const float per_eps_;
  const double spread_;  // the share of a residual that is spread
  Residuals residuals_;
  std::vector<Push> pushes_;
};

// Ranks what a push reached; one per thread.
class Ranker {
 public:
  Ranker(const TypedGraph& graph, const PushRule& rule, std::span<const std::size_t> take)
      : graph_(graph), restart_(static_cast<float>(rule.restart)), take_(take), best_(take.size()) {}

  // Writes the neighborhood of one source; returns the mass that it holds.
  template <typename Residuals>
  float rank(std::uint32_t source, Residuals& reached, std::span<std::uint32_t> ids, std::span<float> weights) {
    for (std::size_t type = 0; type < take_.size(); ++type) best_[type].reset(take_[type]);
    const double at_source = restart_ * reached.get(source);
    reached.set(source, 0.0f);
    reached.for_each([&](std::uint32_t entity, float visits) {
      const std::size_t type = graph_.type_of(entity);
      const float score = restart_ * visits;
      if (score > 0 && score >= best_[type].threshold()) best_[type].offer(score, graph_.external(entity));
    });
    reached.clear();
    const double held = write(ids, weights);
    return at_source < 1 ? static_cast<float>(std::min(1.0, held / (1 - at_source))) : 0.0f;
  }

 private:
  double write(std::span<std::uint32_t> ids, std::span<float> weights) {
    std::fill(ids.begin(), ids.end(), kEmpty);
    std::fill(weights.begin(), weights.end(), 0.0f);
    double held = 0;
    std::size_t first = 0;
    for (std::size_t type = 0; type < take_.size(); ++type) {
      best_[type].sort();
      for (std::size_t rank = 0; rank < best_[type].size(); ++rank) {
        const Best::Entry entry = best_[type].entry(rank);
        ids[first + rank] = entry.index;
        weights[first + rank] = entry.score;
        held += entry.score;
      }
      first += take_[type];
    }
    return held;
  }

  const TypedGraph& graph_;
  const float restart_;
  const std::span<const std::size_t> take_;
  std::vector<Best> best_;
};

void check_source(std::size_t at, std::uint32_t source, std::size_t num_entities) {
  if (source < num_entities) return;
  throw std::out_of_range("sources[" + std::to_string(at) + "] is " + std::to_string(source) +
                          ", but that entity type has " + std::to_string(num_entities) +
                          " entities; ids must be below that");
}

// Entities up to which an array of residuals is used: 32 MB.
constexpr std::size_t kMaxDense = std::size_t{8} << 20;

template <typename Residuals>
void push_all(const TypedGraph& graph, std::size_t source_type, std::span<const std::uint32_t> sources,
              const PushRule& rule, std::span<const std::size_t> take, const PushOutput& output, const Workers& workers,
              const Residuals& empty) {
  const std::size_t width = std::accumulate(take.begin(), take.end(), std::size_t{0});
  std::vector<Pusher<Residuals>> pushers(workers.count(), Pusher<Residuals>(graph, rule, empty));
  std::vector<Ranker> rankers(workers.count(), Ranker(graph, rule, take));
  auto chunk = [&](std::size_t thread, std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const std::uint32_t source = graph.internal(source_type, sources[i]);
      Pusher<Residuals>& pusher = pushers[thread];
      pusher.push_from(source);
      pusher.add_pushed();
      output.mass[i] = rankers[thread].rank(source, pusher.residuals(), output.ids.subspan(i * width, width),
                                            output.weights.subspan(i * width, width));
    }
  };
  parallel_for(sources.size(), kSourcesPerChunk, workers, chunk);
}

}  // namespace

void forward_push(const TypedGraph& graph, std::size_t source_type, std::span<const std::uint32_t> sources,
                  const PushRule& rule, std::span<const std::size_t> take, const PushOutput& output,
                  const Workers& workers) {
  for (std::size_t i = 0; i < sources.size(); ++i) check_source(i, sources[i], graph.num_entities(source_type));
  const bool hash = getenv("HASH") != nullptr;
  if (!hash && graph.num_entities() <= kMaxDense) {
    push_all(graph, source_type, sources, rule, take, output, workers, DenseResiduals(graph.num_entities()));
  } else {
    const std::size_t num_slots = std::min(2.0 * graph.num_entities(), 2 / rule.eps);
    push_all(graph, source_type, sources, rule, take, output, workers, HashedResiduals(num_slots));
  }
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
