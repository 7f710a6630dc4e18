// Which of the entities that a push reached are the neighborhood; the rule is in forward_push.hpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "best.hpp"
#include "forward_push.hpp"
#include "leaders.hpp"
#include "pusher.hpp"
#include "typed_graph.hpp"

namespace omnisage {

// Ranks what a push reached; one per thread.
class Ranker {
 public:
  Ranker(const TypedGraph& graph, const PushRule& rule, std::span<const std::size_t> take)
      : graph_(graph), rule_(rule), restart_(static_cast<float>(rule.restart)), take_(take), best_(take.size()) {}

  // What PushOutput has of one source.
  struct Row {
    std::span<std::uint32_t> ids;
    std::span<float> weights;
    std::span<std::uint32_t> counts;
  };

  // Writes the neighborhood of one source, and forgets what the push reached; returns the mass that it holds.
  template <typename Residuals>
  float rank(std::uint32_t source, Pusher<Residuals>& pusher, const Row& row) {
    Residuals& reached = pusher.residuals();
    const bool completing = rule_.complete && !pusher.pushes().empty();
    double left = 0;
    if (completing) reached.for_each([&](std::uint32_t, float residual) { left += residual; });
    pusher.add_pushed();
    const double at_source = restart_ * reached.get(source);
    reached.set(source, kPushed);  // never offered: it scores 0
    if (completing) {
      choose_candidates(source, reached, left);
      pusher.take_pushed_away();
      rank_candidates(reached);
      reached.drain([](std::uint32_t, float) {});
    } else {
      rank_reached(reached);
    }
    const double held = write(row);
    return at_source < 1 ? static_cast<float>(std::min(1.0, held / (1 - at_source))) : 0.0f;
  }

 private:
  struct Candidate {
    std::uint32_t entity;
    float found;  // p + restart * r
  };

  // Most of what was reached is below the floors of all types, and its type is never looked up. Kept out of line, so
  // that the loop's state stays in registers.
  template <typename Residuals>
  [[gnu::noinline]] void rank_reached(Residuals& reached) {
    for (std::size_t type = 0; type < take_.size(); ++type) best_[type].reset(take_[type]);
    float floor = lowest_floor();
    reached.drain([&, restart = restart_](std::uint32_t entity, float visits) {
      const float score = restart * visits;
      if (score >= floor && best_[graph_.type_of(entity)].offer(score, entity)) floor = lowest_floor();
    });
  }

  float lowest_floor() const {
    float lowest = std::numeric_limits<float>::infinity();
    for (const Leaders& best : best_) lowest = std::min(lowest, best.floor());
    return lowest;
  }

  // The best of each type if what is left were to spread over all entities in proportion to their weight.
  template <typename Residuals>
  void choose_candidates(std::uint32_t source, const Residuals& reached, double left) {
    everywhere_ = static_cast<float>(left / graph_.total_weight());
    const float spread = (1 - restart_) * everywhere_;
    for (std::size_t type = 0; type < take_.size(); ++type) best_[type].reset(kCandidatesPerSlot * take_[type]);
    reached.for_each([&](std::uint32_t entity, float visits) {
      if (entity == source || entity >= graph_.num_entities()) return;
      Leaders& best = best_[graph_.type_of(entity)];
      const float found = restart_ * visits;
      const float limit = (best.floor() - found) / spread;  // the weight that it takes to enter
      if (!graph_.is_weighted() && limit > 1 && graph_.has_degree_within(entity, below_tabled(limit))) return;
      best.offer(found + spread * static_cast<float>(graph_.total_weight(entity)), entity);
    });
    candidates_.clear();
    for (Leaders& best : best_) {
      best.cut_to_best();
      for (std::size_t rank = 0; rank < best.size(); ++rank) {
        const std::uint32_t entity = best.entry(rank).entity;
        candidates_.push_back({entity, restart_ * reached.get(entity)});
      }
    }
  }

  // A degree that is surely below a limit, and for which has_degree_within needs no look-up.
  static std::uint32_t below_tabled(float limit) {
    return static_cast<std::uint32_t>(std::min(limit * 0.999f, static_cast<float>(TypedGraph::kMaxTabled - 1)));
  }

  // `residuals` are those that were left.
  template <typename Residuals>
  void rank_candidates(const Residuals& residuals) {
    for (std::size_t type = 0; type < take_.size(); ++type) best_[type].reset(take_[type]);
    for (std::size_t i = 0; i < candidates_.size(); ++i) {
      if (i + kCandidatesAhead < candidates_.size()) prefetch_near(candidates_[i + kCandidatesAhead].entity);
      const Candidate& candidate = candidates_[i];
      const float per_weight = restart_ * mean_near(residuals, candidate.entity) + (1 - restart_) * everywhere_;
      const float to_come = (1 - restart_) * per_weight * static_cast<float>(graph_.total_weight(candidate.entity));
      best_[graph_.type_of(candidate.entity)].offer(candidate.found + to_come, candidate.entity);
    }
  }

  // The mean, over some of an entity's neighbors, of the residual that is left per weight.
  template <typename Residuals>
  float mean_near(const Residuals& residuals, std::uint32_t entity) const {
    double sum = 0;
    double total = 0;
    for_each_block(entity, [&](std::uint64_t first, std::uint64_t last) {
      for (std::uint64_t at = first; at < last; ++at) {
        const std::uint32_t neighbor = graph_.indices()[at];
        const double weight = graph_.is_weighted() ? graph_.weights()[at] : 1.0;
        const float residual = residuals.get(neighbor);
        total += weight;
        if (residual > 0 && graph_.degree(neighbor) > 0) sum += weight * residual / graph_.total_weight(neighbor);
      }
    });
    return total > 0 ? static_cast<float>(sum / total) : 0.0f;
  }

  [[gnu::always_inline]] void prefetch_near(std::uint32_t entity) const {
    for_each_block(entity, [&](std::uint64_t first, std::uint64_t last) {
      __builtin_prefetch(&graph_.indices()[first]);
      __builtin_prefetch(&graph_.indices()[last - 1]);
    });
  }

  // Calls visit(first, last) for up to kBlocks parts of an entity's list, spread over it; all of it if it is short.
  template <typename Visit>
  void for_each_block(std::uint32_t entity, Visit&& visit) const {
    const std::uint64_t begin = graph_.indptr()[entity];
    const std::uint64_t degree = graph_.degree(entity);
    const std::uint64_t num_blocks = std::min<std::uint64_t>(kBlocks, (degree + kPerBlock - 1) / kPerBlock);
    for (std::uint64_t block = 0; block < num_blocks; ++block) {
      const std::uint64_t first = begin + block * degree / num_blocks;
      visit(first, std::min(first + kPerBlock, begin + (block + 1) * degree / num_blocks));
    }
  }

  double write(const Row& row) {
    double held = 0;
    std::size_t first = 0;
    for (std::size_t type = 0; type < take_.size(); ++type) {
      best_[type].sort_by_external(graph_);
      const std::size_t count = best_[type].size();
      const std::span ids = row.ids.subspan(first, take_[type]);
      const std::span weights = row.weights.subspan(first, take_[type]);
      for (std::size_t rank = 0; rank < count; ++rank) {
        const Leaders::Entry entry = best_[type].entry(rank);
        ids[rank] = entry.entity;
        weights[rank] = entry.score;
        held += entry.score;
      }
      std::fill(ids.begin() + static_cast<std::ptrdiff_t>(count), ids.end(), kEmpty);
      std::fill(weights.begin() + static_cast<std::ptrdiff_t>(count), weights.end(), 0.0f);
      row.counts[type] = static_cast<std::uint32_t>(count);
      first += take_[type];
    }
    return held;
  }

  static constexpr std::size_t kCandidatesPerSlot = 2;
  static constexpr std::size_t kCandidatesAhead = 4;  // lists fetched before their candidate's turn
  static constexpr std::uint64_t kBlocks = 4;         // of neighbors looked at, spread over a list
  static constexpr std::uint64_t kPerBlock = 16;      // one cache line

  const TypedGraph& graph_;
  const PushRule rule_;
  const float restart_;
  const std::span<const std::size_t> take_;
  std::vector<Leaders> best_;
  std::vector<Candidate> candidates_;
  float everywhere_ = 0;  // residual left per weight, over the whole graph
};

}  // namespace omnisage
