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

  // Adds what was pushed to what was left: a share `restart` of it is p + restart * r. Returns what was left in all.
  double add_pushed() {
    double left = 0;
    residuals_.for_each([&](std::uint32_t, float residual) { left += residual; });
    for (Push& push : pushes_) {
      const float before = residuals_.get(push.entity);
      residuals_.set(push.entity, before + push.residual);
      push.residual = before;
    }
    return left;
  }

  // Goes back to what was left.
  void take_pushed_away() {
    for (auto push = pushes_.rbegin(); push != pushes_.rend(); ++push) residuals_.set(push->entity, push->residual);
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
      : graph_(graph), rule_(rule), restart_(static_cast<float>(rule.restart)), take_(take), best_(take.size()) {}

  // Writes the neighborhood of one source, and forgets what the push reached; returns the mass that it holds.
  template <typename Residuals>
  float rank(std::uint32_t source, Pusher<Residuals>& pusher, std::span<std::uint32_t> ids, std::span<float> weights) {
    Residuals& reached = pusher.residuals();
    const double left = pusher.add_pushed();
    const double at_source = restart_ * reached.get(source);
    if (rule_.complete) {
      choose_candidates(source, reached, left);
      pusher.take_pushed_away();
      rank_candidates(reached);
    } else {
      rank_reached(source, reached);
    }
    reached.clear();
    const double held = write(ids, weights);
    return at_source < 1 ? static_cast<float>(std::min(1.0, held / (1 - at_source))) : 0.0f;
  }

 private:
  struct Candidate {
    std::uint32_t entity;
    float found;  // p + restart * r
  };

  template <typename Residuals>
  void rank_reached(std::uint32_t source, Residuals& reached) {
    for (std::size_t type = 0; type < take_.size(); ++type) best_[type].reset(take_[type]);
    reached.for_each([&](std::uint32_t entity, float visits) {
      Best& best = best_[graph_.type_of(entity)];
      const float score = restart_ * visits;
      if (score > 0 && score >= best.threshold() && entity != source) best.offer(score, graph_.external(entity));
    });
  }

  // The best of each type if what is left were to spread over all entities in proportion to their weight.
  template <typename Residuals>
  void choose_candidates(std::uint32_t source, Residuals& reached, double left) {
    everywhere_ = static_cast<float>(left / graph_.total_weight());
    const float spread = (1 - restart_) * everywhere_;
    for (std::size_t type = 0; type < take_.size(); ++type) best_[type].reset(kCandidatesPerSlot * take_[type]);
    const auto offer = [&](std::uint32_t entity, float found) {
      if (entity == source) return;
      best_[graph_.type_of(entity)].offer(found + spread * static_cast<float>(graph_.total_weight(entity)), entity);
    };
    for (std::size_t type = 0; type < take_.size(); ++type) {  // the hubs, reached or not
      const std::uint32_t end = graph_.offset(type) + num_hubs(type);
      for (std::uint32_t entity = graph_.offset(type); entity < end; ++entity) {
        offer(entity, restart_ * reached.get(entity));
      }
    }
    reached.for_each([&](std::uint32_t entity, float visits) {
      const std::size_t type = graph_.type_of(entity);
      if (entity >= graph_.offset(type) + num_hubs(type)) offer(entity, restart_ * visits);
    });
    candidates_.clear();
    for (Best& best : best_) {
      best.sort();
      for (std::size_t rank = 0; rank < best.size(); ++rank) {
        const std::uint32_t entity = best.entry(rank).index;
        candidates_.push_back({entity, restart_ * reached.get(entity)});
      }
    }
  }

  // `residuals` are those that were left.
  template <typename Residuals>
  void rank_candidates(const Residuals& residuals) {
    for (std::size_t type = 0; type < take_.size(); ++type) best_[type].reset(take_[type]);
    for (const Candidate& candidate : candidates_) {
      const float nearby = kPersistence * mean_near(residuals, candidate.entity) + (1 - kPersistence) * everywhere_;
      const float to_come = (1 - restart_) * nearby * static_cast<float>(graph_.total_weight(candidate.entity));
      const float score = candidate.found + to_come;
      if (score > 0) best_[graph_.type_of(candidate.entity)].offer(score, graph_.external(candidate.entity));
    }
  }

  // The mean, over some of an entity's neighbors, of the residual that is left per weight.
  template <typename Residuals>
  float mean_near(const Residuals& residuals, std::uint32_t entity) const {
    const std::uint64_t begin = graph_.indptr()[entity];
    const std::uint64_t degree = graph_.degree(entity);
    const std::uint64_t num_blocks = std::min<std::uint64_t>(kBlocks, (degree + kPerBlock - 1) / kPerBlock);
    double sum = 0;
    double total = 0;
    for (std::uint64_t block = 0; block < num_blocks; ++block) {
      const std::uint64_t first = begin + block * degree / num_blocks;
      const std::uint64_t last = std::min(first + kPerBlock, begin + (block + 1) * degree / num_blocks);
      for (std::uint64_t at = first; at < last; ++at) {
        const std::uint32_t neighbor = graph_.indices()[at];
        const double weight = graph_.is_weighted() ? graph_.weights()[at] : 1.0;
        const float residual = residuals.get(neighbor);
        total += weight;
        if (residual > 0 && graph_.degree(neighbor) > 0) sum += weight * residual / graph_.total_weight(neighbor);
      }
    }
    return total > 0 ? static_cast<float>(sum / total) : 0.0f;
  }

  std::uint32_t num_hubs(std::size_t type) const {
    return static_cast<std::uint32_t>(std::min(graph_.num_entities(type), kCandidatesPerSlot * take_[type]));
  }

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

  static constexpr std::size_t kCandidatesPerSlot = 2;
  static constexpr std::uint64_t kBlocks = 4;     // of neighbors looked at, spread over a list
  static constexpr std::uint64_t kPerBlock = 16;  // one cache line
  static constexpr float kPersistence = 0.3f;     //

  const TypedGraph& graph_;
  const PushRule rule_;
  const float restart_;
  const std::span<const std::size_t> take_;
  std::vector<Best> best_;
  std::vector<Candidate> candidates_;
  float everywhere_ = 0;  // residual left per weight, over the whole graph
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
      output.pushes[i] = static_cast<std::uint32_t>(pusher.pushes().size());
      output.mass[i] = rankers[thread].rank(source, pusher, output.ids.subspan(i * width, width),
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
