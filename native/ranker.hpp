// Which of the entities that a push reached are the neighborhood; the rule is in forward_push.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "best.hpp"
#include "components.hpp"
#include "forward_push.hpp"
#include "leaders.hpp"
#include "pusher.hpp"
#include "typed_graph.hpp"

namespace omnisage {

// Ranks what a push reached; one per thread.
class Ranker {
 public:
  Ranker(const TypedGraph& graph, const PushRule& rule, std::span<const std::size_t> take)
      : graph_(graph),
        components_(rule.components),
        in_lists_(rule.exact_degree == 0 ? nullptr : rule.in_lists),
        exact_degree_(rule.exact_degree),
        restart_(static_cast<float>(rule.restart)),
        take_(take),
        best_(take.size()) {}

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
    const double left = components_ == nullptr || pusher.pushes().empty() ? 0 : pusher.residual_left();
    const bool is_completed = left >= kLeast;
    const bool is_exact = is_completed && in_lists_ != nullptr;
    if (is_exact) pusher.save_left(left_);
    pusher.add_pushed();
    const double at_source = restart_ * reached.get(source);
    reached.set(source, kPushed);  // never offered: it scores 0
    for (std::size_t type = 0; type < take_.size(); ++type) best_[type].reset((is_exact ? 2 : 1) * take_[type]);
    if (!is_completed) {
      rank_reached(reached);
    } else {
      const std::uint32_t component = components_->of(pusher.place_of(source));
      const double per_share = (1 - restart_) * left / components_->total_share(component);
      hidden_.clear();
      if (component == components_->heaviest()) offer_heaviest(reached, per_share);
      rank_completed(reached, per_share,
                     [&](auto&& visit) { is_exact ? reached.for_each(visit) : reached.drain(visit); });
      if (is_exact) step_exactly(pusher, per_share);
    }
    const double held = write(row);
    return at_source < 1 ? static_cast<float>(std::min(1.0, held / (1 - at_source))) : 0.0f;
  }

 private:
  // Most of what was reached is below the floors of all types, and its type is never looked up. Kept out of line, so
  // that the loop's state stays in registers.
  template <typename Residuals>
  [[gnu::noinline]] void rank_reached(Residuals& reached) {
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

  // The heaviest entities of each type, whether they were reached or not; no others that were not can be among the
  // best. They come first, for they raise the floors.
  template <typename Residuals>
  void offer_heaviest(Residuals& reached, double per_share) {
    for (std::size_t type = 0; type < take_.size(); ++type) {
      const std::span heaviest = components_->heaviest_entities(type);
      const std::size_t count = std::min(best_[type].capacity() + 1, heaviest.size());  // one of them may be the source
      for (const std::uint32_t entity : heaviest.first(count)) {
        const float visits = reached.get(entity);
        if (std::signbit(visits)) continue;
        best_[type].offer(completed(entity, visits, per_share), entity);
        if (visits == 0) continue;
        hidden_.push_back({visits, entity});
        reached.set(entity, kPushed);  // not offered again
      }
      best_[type].raise_floor();
    }
  }

  float completed(std::uint32_t entity, float visits, double per_share) const {
    return static_cast<float>(restart_ * visits + per_share * components_->share(entity));
  }

  template <typename Residuals, typename ForEach>
  [[gnu::noinline]] void rank_completed(Residuals&, double per_share, ForEach&& for_each_reached) {
    const bool are_degrees = components_->are_degrees();
    const std::uint32_t* const first_within = graph_.first_within();
    const auto degree_per_score = are_degrees ? static_cast<float>(1 / per_share) : 0.0f;
    float floor = lowest_floor();
    for_each_reached([&, restart = restart_](std::uint32_t entity, float visits) {
      // What it lacks, in degrees; an entity whose degree is below that needs no look-up.
      const float lacking = std::clamp((floor - restart * visits) * degree_per_score * 0.999f, 0.0f, kMaxLacking);
      if (std::signbit(visits) || (are_degrees && entity >= first_within[static_cast<std::int32_t>(lacking)])) return;
      const float score = completed(entity, visits, per_share);
      if (score >= floor && best_[graph_.type_of(entity)].offer(score, entity)) floor = lowest_floor();
    });
  }

  // Ranks the best candidates again, with the exact first step of what is left, and forgets what was reached.
  template <typename Residuals>
  void step_exactly(Pusher<Residuals>& pusher, double per_share) {
    Residuals& reached = pusher.residuals();
    for (const Leaders::Entry& entry : hidden_) reached.set(entry.entity, entry.score);
    candidates_.clear();
    for (Leaders& best : best_) {
      best.cut_to_best();
      for (std::size_t rank = 0; rank < best.size(); ++rank) {
        const std::uint32_t entity = best.entry(rank).entity;
        candidates_.push_back({reached.get(entity), entity});
      }
    }
    for (std::size_t type = 0; type < take_.size(); ++type) best_[type].reset(take_[type]);
    pusher.restore_left(left_);
    for (const auto& [visits, entity] : candidates_) {
      float score = completed(entity, visits, per_share);
      if (in_lists_->degree(entity) <= exact_degree_) {
        const double step = restart_ * (1 - restart_) * pusher.step_to(entity, *in_lists_);
        score = static_cast<float>(restart_ * visits + step + (1 - restart_) * per_share * components_->share(entity));
      }
      best_[graph_.type_of(entity)].offer(score, entity);
    }
    reached.drain([](std::uint32_t, float) {});
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

  static constexpr double kLeast = 1e-9;  // residual left that is worth counting; rounding alone leaves that much
  static constexpr float kMaxLacking = TypedGraph::kMaxTabled - 1;

  const TypedGraph& graph_;
  const Components* const components_;  // nullptr: what is left is not counted
  const InLists* const in_lists_;       // nullptr: no step of it is exact
  const std::uint32_t exact_degree_;
  const float restart_;
  const std::span<const std::size_t> take_;
  std::vector<Leaders> best_;
  std::vector<float> left_;                 // of Pusher::save_left
  std::vector<Leaders::Entry> hidden_;      // heaviest entities that were reached, with their visits
  std::vector<Leaders::Entry> candidates_;  // the same of all that may be among the best
};

}  // namespace omnisage
