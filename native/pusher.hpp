// The push itself, one source after the other; the rule is in forward_push.hpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
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
    num_pushes_ = 0;
    typename Residuals::Adder(residuals_, 1).add(source, 1);
    if (has_degree_within(source, kEmpty)) push_later(source);
    std::size_t num_known = 0;    // pushes whose place in indptr is fetched
    std::size_t num_fetched = 0;  // pushes whose list is
    for (std::size_t i = 0; i < num_pushes_; ++i) {
      for (const std::size_t end = std::min(i + 1 + 2 * kListsAhead, num_pushes_); num_known < end; ++num_known) {
        __builtin_prefetch(&graph_.indptr()[pushes_[num_known].entity]);
      }
      for (const std::size_t end = std::min(i + 1 + kListsAhead, num_pushes_); num_fetched < end; ++num_fetched) {
        prefetch_list(pushes_[num_fetched].entity);
      }
      if (i + 1 < num_pushes_) prefetch_residuals(pushes_[i + 1].entity);
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

  // What the push did not give to any estimate.
  double residual_left() const {
    double pushed = 0;
    for (const Push& push : pushes()) pushed += push.residual;
    return 1 - (1 - spread_) * pushed;
  }

  // Adds what was pushed to what was left. A share `restart` of the sum is p + restart * r.
  void add_pushed() {
    for (const Push& push : pushes()) residuals_.set(push.entity, residuals_.get(push.entity) + push.residual);
  }

  // What is left at the pushed entities, push by push, and putting it back there after add_pushed.
  void save_left(std::vector<float>& left) const {
    left.clear();
    for (const Push& push : pushes()) left.push_back(residuals_.get(push.entity));
  }
  void restore_left(const std::vector<float>& left) {
    for (std::size_t i = 0; i < num_pushes_; ++i) residuals_.set(pushes_[i].entity, left[i]);
  }

  // What an entity would get if all that is left took one step: the sum over x of r[x] * weight(x, entity) / total
  // weight of x.
  double step_to(std::uint32_t entity, const InLists& in_lists) const {
    const std::span<const std::uint32_t> from = in_lists.entities(entity);
    const std::span<const float> weights = in_lists.weights(entity);
    double sum = 0;
    for (std::size_t i = 0; i < from.size(); ++i) {
      const std::size_t ahead = std::min(i + kEdgesAhead, from.size() - 1);
      residuals_.prefetch(from[ahead]);
      __builtin_prefetch(&graph_.indptr()[from[ahead]]);
      const double residual = residuals_.get(from[i]);
      sum += residual * (weights.empty() ? 1.0 : weights[i]) / total_weight(from[i]);
    }
    const Newcomer::Edge* const edge = newcomer_ == nullptr ? nullptr : newcomer_->find(entity);
    if (edge == nullptr) return sum;
    const auto number = static_cast<std::uint32_t>(graph_.num_entities());
    return sum + residuals_.get(number) * edge->weight / newcomer_->total_weight();
  }

  // An entity of the graph that is where the source is: itself, or a neighbor of the newcomer.
  std::uint32_t place_of(std::uint32_t source) const {
    return source < graph_.num_entities() ? source : newcomer_->edges.front().entity;
  }

  std::span<const Push> pushes() const { return std::span(pushes_).first(num_pushes_); }
  Residuals& residuals() { return residuals_; }

  // Loads the list of an entity. This and the next must be inlined: gcc takes a function that only prefetches for one
  // without effect, and drops calls of it.
  [[gnu::always_inline]] void prefetch_list(std::uint32_t entity) const {
    if (entity >= graph_.num_entities()) return;  // the newcomer
    const std::uint64_t begin = graph_.indptr()[entity];
    const std::uint64_t end = std::min(graph_.indptr()[entity + 1], begin + kEdgesFetched);
    for (std::uint64_t at = begin / kEdgesPerLine * kEdgesPerLine; at < end; at += kEdgesPerLine) {
      __builtin_prefetch(graph_.indices().data() + at);
    }
  }

 private:
  // Tuned on a graph of 55 million list entries; half or double costs 1 to 10%.
  static constexpr std::size_t kEdgesAhead = 32;  // residuals fetched before their edge's turn
  static constexpr std::size_t kListsAhead = 6;   // lists fetched before their entity's turn
  static constexpr std::uint64_t kEdgesPerLine = 16;
  static constexpr std::uint64_t kEdgesFetched = 64;  // the processor's own prefetching does the rest of a list

  [[gnu::always_inline]] void prefetch_residuals(std::uint32_t entity) const {
    if (entity >= graph_.num_entities()) return;
    const std::uint32_t* const neighbors = graph_.indices().data() + graph_.indptr()[entity];
    const std::size_t count = std::min<std::size_t>(graph_.degree(entity), kEdgesAhead);
    for (std::size_t i = 0; i < count; ++i) residuals_.prefetch(neighbors[i]);
  }

  // Gives every neighbor `share` per unit of edge weight.
  void spread(std::uint32_t entity, double share) {
    const std::span neighbors = graph_.indices().subspan(graph_.indptr()[entity], graph_.degree(entity));
    if (graph_.is_weighted()) {
      const float* const weights = graph_.weights().data() + graph_.indptr()[entity];
      spread(neighbors, [share, weights](std::size_t i) { return kept_above_0(share * weights[i]); });
    } else {
      spread(neighbors, [amount = kept_above_0(share)](std::size_t) { return amount; });
    }
  }

  void spread_with_newcomer(std::uint32_t entity, double amount) {
    const auto number = static_cast<std::uint32_t>(graph_.num_entities());
    if (entity == number) {
      const double share = amount / newcomer_->total_weight();
      for (const Newcomer::Edge& edge : newcomer_->edges) add(edge.entity, kept_above_0(share * edge.weight));
      return;
    }
    const Newcomer::Edge* const edge = newcomer_->find(entity);
    const double share = amount / total_weight(entity);
    for (std::uint64_t at = graph_.indptr()[entity]; at < graph_.indptr()[entity + 1]; ++at) {
      add(graph_.indices()[at], kept_above_0(graph_.is_weighted() ? share * graph_.weights()[at] : share));
    }
    if (edge != nullptr) add(number, kept_above_0(share * edge->weight));
  }

  // One edge: slow, and right for a newcomer too.
  void add(std::uint32_t entity, float amount) {
    const float before = typename Residuals::Adder(residuals_, 1).add(entity, amount);
    if (begins_to_wait(entity, (before + amount) * per_eps_, before * per_eps_)) push_later(entity);
  }

  // Many edges, none of them of a newcomer. Nothing here is decided by a branch, for what is known of an entity is its
  // residual, and a branch that is guessed wrong is found out only when that has come from memory. Kept out of line, so
  // that all that the loop needs stays in registers.
  template <typename Amount>
  [[gnu::noinline]] void spread(std::span<const std::uint32_t> neighbors, Amount amount) {
    const float per_eps = per_eps_;
    const std::uint32_t* const first_within = graph_.first_within();
    const std::uint32_t num_linked = graph_.num_linked();
    make_room(neighbors.size());
    Push* next = pushes_.data() + num_pushes_;
    typename Residuals::Adder residuals(residuals_, neighbors.size());
    const auto add_edge = [&](std::size_t i) __attribute__((always_inline)) {
      const std::uint32_t entity = neighbors[i];
      const float given = amount(i);
      const float before = residuals.add(entity, given);
      const float limit = (before + given) * per_eps;  // the largest degree at which it is pushed
      const float limit_before = before * per_eps;
      *next = {entity, 0};
      if (limit >= static_cast<float>(TypedGraph::kMaxTabled)) [[unlikely]] {
        next += begins_to_wait(entity, limit, limit_before) ? 1 : 0;
        return;
      }
      const bool waits = entity >= first_within[static_cast<std::int32_t>(limit)];
      const bool waited = entity >= first_within[static_cast<std::int32_t>(limit_before)];
      next += static_cast<int>(waits) & static_cast<int>(!waited) & static_cast<int>(entity < num_linked);
    };
    std::size_t i = 0;
    for (; i + kEdgesAhead < neighbors.size(); ++i) {
      residuals.prefetch(neighbors[i + kEdgesAhead]);
      add_edge(i);
    }
    for (; i < neighbors.size(); ++i) add_edge(i);
    num_pushes_ = static_cast<std::size_t>(next - pushes_.data());
  }

  // Whether a residual that rose to eps * limit is enough for a push, and was not before.
  [[gnu::noinline]] bool begins_to_wait(std::uint32_t entity, float limit, float limit_before) const {
    return has_degree_within(entity, to_degree(limit)) && !has_degree_within(entity, to_degree(limit_before));
  }

  void push_later(std::uint32_t entity) {
    make_room(1);
    pushes_[num_pushes_++] = {entity, 0};
  }

  // One more than asked for: the loop writes a push before it knows whether it stands.
  void make_room(std::size_t num_more) {
    const std::size_t num_needed = num_pushes_ + num_more + 1;
    if (num_needed > pushes_.size()) pushes_.resize(2 * num_needed);
  }

  double total_weight(std::uint32_t entity) const {
    const Newcomer::Edge* const edge = newcomer_ == nullptr ? nullptr : newcomer_->find(entity);
    return graph_.total_weight(entity) + (edge == nullptr ? 0 : edge->weight);
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
  std::vector<Push> pushes_;  // the first num_pushes_
  std::size_t num_pushes_ = 0;
};

}  // namespace omnisage
