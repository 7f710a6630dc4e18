// The push itself, one source after the other; the rule is in forward_push.hpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "forward_push.hpp"
#include "residuals.hpp"
#include "typed_graph.hpp"

namespace omnisage {

// One per thread, so that after the first sources nothing is allocated.
template <typename Residuals>
class Pusher {
 public:
  // How much residual an entity had when it was pushed.
  struct Push {
    std::uint32_t entity;
    float residual;
  };

  // With a newcomer: as if the graph had it and its edges, under the internal number graph.num_entities().
  Pusher(const TypedGraph& graph, const PushRule& rule, Residuals residuals, const Newcomer* newcomer = nullptr)
      : graph_(graph),
        newcomer_(newcomer),
        per_eps_(static_cast<float>(1 / rule.eps)),
        spread_(1 - rule.restart),
        residuals_(std::move(residuals)) {}

  // Leaves in residuals() what a push leaves, and in pushes() what it pushed, first come first served.
  void push_from(std::uint32_t source) {
    pushes_.clear();
    typename Residuals::Adder(residuals_, 1).add(source, 1);
    if (has_degree_within(source, kEmpty)) pushes_.push_back({source, 0});
    std::size_t num_fetched = 0;
    for (std::size_t i = 0; i < pushes_.size(); ++i) {
      const std::size_t num_wanted = std::min(i + 1 + kListsAhead, pushes_.size());
      for (; num_fetched < num_wanted; ++num_fetched) prefetch_list(pushes_[num_fetched].entity);
      const std::uint32_t entity = pushes_[i].entity;
      const float residual = residuals_.get(entity);
      pushes_[i].residual = residual;
      residuals_.set(entity, kPushed);
      if (newcomer_ == nullptr) {
        spread(entity, spread_ * residual / graph_.total_weight(entity));
      } else {
        spread_with_newcomer(entity, spread_ * residual);
      }
    }
  }

  // To be called in order: adds what was pushed to what was left. A share `restart` of the sum is p + restart * r.
  void add_pushed() {
    for (Push& push : pushes_) {
      const float left = residuals_.get(push.entity);
      residuals_.set(push.entity, left + push.residual);
      push.residual = left;
    }
  }

  // Goes back to what was left.
  void take_pushed_away() {
    for (auto push = pushes_.rbegin(); push != pushes_.rend(); ++push) residuals_.set(push->entity, push->residual);
  }

  const std::vector<Push>& pushes() const { return pushes_; }
  Residuals& residuals() { return residuals_; }

  // Loads what a push of this entity reads first.
  void prefetch_list(std::uint32_t entity) const {
    if (entity >= graph_.num_entities()) return;  // the newcomer
    const std::uint64_t begin = graph_.indptr()[entity];
    const std::uint64_t count = std::min<std::uint64_t>(graph_.indptr()[entity + 1] - begin, kEdgesFetched);
    for (std::uint64_t i = 0; i < count; i += kEdgesPerLine) __builtin_prefetch(graph_.indices().data() + begin + i);
  }

 private:
  // Tuned on a graph of 55 million list entries; half or double costs 1 to 5%.
  static constexpr std::size_t kEdgesAhead = 32;  // residuals fetched before their edge's turn
  static constexpr std::size_t kListsAhead = 6;   // lists fetched before their entity's turn
  static constexpr std::uint64_t kEdgesPerLine = 16;
  static constexpr std::uint64_t kEdgesFetched = 64;  // the processor's own prefetching does the rest of a list

  // Gives every neighbor `share` per unit of edge weight.
  void spread(std::uint32_t entity, double share) {
    const std::uint64_t begin = graph_.indptr()[entity];
    const std::size_t degree = graph_.degree(entity);
    if (graph_.is_weighted()) {
      const float* const weights = graph_.weights().data() + begin;
      spread(begin, degree, [&](std::size_t i) { return kept_above_0(share * weights[i]); });
    } else {
      const float amount = kept_above_0(share);
      spread(begin, degree, [&](std::size_t) { return amount; });
    }
  }

  void spread_with_newcomer(std::uint32_t entity, double amount) {
    const auto number = static_cast<std::uint32_t>(graph_.num_entities());
    if (entity == number) {
      const double share = amount / newcomer_->total_weight();
      for (const Newcomer::Edge& edge : newcomer_->edges) add(edge.entity, kept_above_0(share * edge.weight));
    } else if (const Newcomer::Edge* const edge = newcomer_->find(entity)) {
      const double share = amount / (graph_.total_weight(entity) + edge->weight);
      spread(entity, share);
      add(number, kept_above_0(share * edge->weight));
    } else {
      spread(entity, amount / graph_.total_weight(entity));
    }
  }

  void add(std::uint32_t entity, float amount) {
    const float residual = typename Residuals::Adder(residuals_, 1).add(entity, amount);
    if (residual * per_eps_ >= 1) push_later(entity, residual * per_eps_, (residual - amount) * per_eps_);
  }

  template <typename Amount>
  void spread(std::uint64_t begin, std::size_t degree, Amount&& amount) {
    const std::uint32_t* const neighbors = graph_.indices().data() + begin;
    const float per_eps = per_eps_;
    typename Residuals::Adder residuals(residuals_, degree);
    const auto add = [&](std::size_t i) {
      const float given = amount(i);
      const float residual = residuals.add(neighbors[i], given);
      // limit: the largest degree at which it is pushed. No entity is pushed below 1, and few are above.
      if (const float limit = residual * per_eps; limit >= 1)
        push_later(neighbors[i], limit, (residual - given) * per_eps);
    };
    const std::size_t num_early = std::min(kEdgesAhead, degree);
    for (std::size_t i = 0; i < num_early; ++i) residuals.prefetch(neighbors[i]);
    for (std::size_t i = 0; i + num_early < degree; ++i) {
      residuals.prefetch(neighbors[i + num_early]);
      add(i);
    }
    for (std::size_t i = degree - num_early; i < degree; ++i) add(i);
  }

  void push_later(std::uint32_t entity, float limit, float limit_before) {
    if (!has_degree_within(entity, to_degree(limit))) return;
    if (has_degree_within(entity, to_degree(limit_before))) return;  // it waits already
    __builtin_prefetch(&graph_.indptr()[entity]);
    pushes_.push_back({entity, 0});
  }

  bool has_degree_within(std::uint32_t entity, std::uint32_t limit) const {
    if (newcomer_ != nullptr) {
      if (entity == graph_.num_entities()) return newcomer_->degree() - 1u < limit;
      if (const Newcomer::Edge* const edge = newcomer_->find(entity))
        return graph_.degree(entity) + edge->count <= limit;
    }
    return graph_.has_degree_within(entity, limit);
  }

  static std::uint32_t to_degree(float limit) { return static_cast<std::uint32_t>(std::min(limit, 4e9f)); }

  // An amount that vanished would let an entity be reached without a trace.
  static float kept_above_0(double amount) {
    return std::max(static_cast<float>(amount), std::numeric_limits<float>::min());
  }

  const TypedGraph& graph_;
  const Newcomer* const newcomer_;
  const float per_eps_;
  const double spread_;  // the share of a residual that is spread
  Residuals residuals_;
  std::vector<Push> pushes_;
};

}  // namespace omnisage
