#include "forward_push.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>

#include "best.hpp"

namespace omnisage {
namespace {

constexpr std::size_t kSourcesPerChunk = 16;
constexpr std::size_t kEdgesAhead = 12;    // slots prefetched before their edge's turn
constexpr std::size_t kEntitiesAhead = 4;  // indptr prefetched before their entity's turn

// All that a push knows of an entity, in a quarter of a cache line.
struct Slot {
  std::uint32_t entity = kEmpty;
  float residual = 0;
  float estimate = 0;
  float threshold = 0;  // a lower bound of eps * degree, which is looked up only when the residual reaches it
};

// The slots of the entities that one source's push reaches: a hash table that is never more than half full,
// or, where that costs no more, an array over all entities.
class Slots {
 public:
  // Makes room for max_reached entities; all slots are free.
  void prepare(std::size_t max_reached, std::size_t num_entities) {
    const std::size_t capacity = std::bit_ceil(2 * max_reached);
    const bool is_dense = num_entities <= capacity;
    mask_ = capacity - 1;
    multiplier_ = is_dense ? 1 : 0x9E3779B97F4A7C15u;
    shift_ = is_dense ? 0 : 64 - std::countr_zero(capacity);
    const std::size_t size = is_dense ? num_entities : capacity;
    if (slots_.size() < size) slots_.resize(size);
  }

  void prefetch(std::uint32_t entity) const { __builtin_prefetch(&slots_[home(entity)], 1); }

  // The place of an entity's slot, which is taken for it (with this threshold) if it has none.
  std::uint32_t find_or_take(std::uint32_t entity, float threshold) {
    std::size_t place = home(entity);
    while (slots_[place].entity != entity) {
      if (slots_[place].entity == kEmpty) {
        slots_[place] = {entity, 0, 0, threshold};
        taken_.push_back(static_cast<std::uint32_t>(place));
        break;
      }
      place = (place + 1) & mask_;
    }
    return static_cast<std::uint32_t>(place);
  }

  Slot& operator[](std::uint32_t place) { return slots_[place]; }

  // Calls visit(slot) for every taken slot and frees it.
  template <typename Visit>
  void drain(Visit&& visit) {
    for (const std::uint32_t place : taken_) {
      visit(slots_[place]);
      slots_[place].entity = kEmpty;
    }
    taken_.clear();
  }

 private:
  std::size_t home(std::uint32_t entity) const { return (entity * multiplier_) >> shift_; }

  std::vector<Slot> slots_;
  std::vector<std::uint32_t> taken_;
  std::uint64_t multiplier_ = 1;
  int shift_ = 0;
  std::size_t mask_ = 0;
};

// Pushes one source after the other; one per thread, so that after the first sources nothing is allocated.
class Pusher {
 public:
  Pusher(const TypedGraph& graph, const PushRule& rule)
      : graph_(graph), restart_(static_cast<float>(rule.restart)), rule_(rule) {}

  // Leaves estimates and residuals in slots().
  void push_from(std::uint32_t source) {
    const double edges = static_cast<double>(graph_.degree(source)) + 1 / (rule_.restart * rule_.eps);
    const auto all = static_cast<double>(graph_.num_entities());
    slots_.prepare(static_cast<std::size_t>(std::min(all, edges + 1)) + 1, graph_.num_entities());
    const std::uint32_t place = slots_.find_or_take(source, threshold_of(source));
    slots_[place].residual = 1;
    if (graph_.degree(source) == 0) return;
    waiting_.push_back(place);
    // Round after round: what one round pushes over its threshold waits for the next, in order.
    while (!waiting_.empty()) {
      round_.swap(waiting_);
      waiting_.clear();
      for (std::size_t i = 0; i < round_.size(); ++i) {
        if (i + kEntitiesAhead < round_.size()) prefetch_lists(slots_[round_[i + kEntitiesAhead]].entity);
        push(slots_[round_[i]]);
      }
    }
  }

  Slots& slots() { return slots_; }

 private:
  void push(Slot& slot) {
    const float residual = slot.residual;
    slot.residual = 0;
    slot.estimate += restart_ * residual;
    const std::size_t type = graph_.type_of(slot.entity);
    const std::size_t row = slot.entity - graph_.offset(type);
    const double share = (1 - rule_.restart) * residual / total_weight(type, row);
    for (const Adjacency& adjacency : graph_.from(type)) spread(adjacency, row, share);
  }

  double total_weight(std::size_t type, std::size_t row) const {
    double total = 0;
    for (const Adjacency& adjacency : graph_.from(type)) {
      const CsrView& lists = adjacency.lists;
      if (lists.weights.empty()) {
        total += static_cast<double>(lists.degree(row));
      } else {
        for (std::uint64_t at = lists.indptr[row]; at < lists.indptr[row + 1]; ++at) total += lists.weights[at];
      }
    }
    return total;
  }

  // Gives every neighbor `share` per unit of edge weight.
  void spread(const Adjacency& adjacency, std::size_t row, double share) {
    const CsrView& lists = adjacency.lists;
    const std::uint32_t offset = graph_.offset(adjacency.to_type);
    const std::uint64_t end = lists.indptr[row + 1];
    const bool is_weighted = !lists.weights.empty();
    for (std::uint64_t at = lists.indptr[row]; at < end; ++at) {
      if (at + kEdgesAhead < end) slots_.prefetch(offset + lists.indices[at + kEdgesAhead]);
      add(offset + lists.indices[at], static_cast<float>(is_weighted ? share * lists.weights[at] : share));
    }
  }

  void add(std::uint32_t entity, float amount) {
    const std::uint32_t place = slots_.find_or_take(entity, static_cast<float>(rule_.eps));
    Slot& slot = slots_[place];
    const float before = slot.residual;
    slot.residual = before + amount;
    if (before >= slot.threshold || slot.residual < slot.threshold) return;
    // Few residuals ever reach eps, the threshold of degree 1, so few degrees are looked up.
    slot.threshold = threshold_of(entity);
    if (slot.residual >= slot.threshold) waiting_.push_back(place);
  }

  // An entity without edges keeps its residual: there is nowhere to spread it.
  float threshold_of(std::uint32_t entity) const {
    const std::uint32_t degree = graph_.degree(entity);
    return degree == 0 ? std::numeric_limits<float>::infinity() : static_cast<float>(rule_.eps * degree);
  }

  void prefetch_lists(std::uint32_t entity) const {
    const std::size_t type = graph_.type_of(entity);
    for (const Adjacency& adjacency : graph_.from(type)) {
      __builtin_prefetch(&adjacency.lists.indptr[entity - graph_.offset(type)]);
    }
  }

  const TypedGraph& graph_;
  const float restart_;
  const PushRule rule_;
  Slots slots_;
  std::vector<std::uint32_t> round_;
  std::vector<std::uint32_t> waiting_;
};

// Ranks what a push reached; one per thread.
class Ranker {
 public:
  Ranker(const TypedGraph& graph, const PushRule& rule, std::span<const std::size_t> take)
      : graph_(graph), restart_(static_cast<float>(rule.restart)), take_(take), best_(take.size()) {}

  // Writes the slots of one source and frees the push's slots; returns the mass they hold.
  float rank(std::uint32_t source, Slots& slots, std::span<std::uint32_t> ids, std::span<float> weights) {
    for (std::size_t type = 0; type < take_.size(); ++type) best_[type].reset(take_[type]);
    double at_source = 0;
    slots.drain([&](const Slot& slot) {
      const float score = slot.estimate + restart_ * slot.residual;
      if (slot.entity == source) {
        at_source = score;
        return;
      }
      const std::size_t type = graph_.type_of(slot.entity);
      if (score > 0) best_[type].offer(score, slot.entity - graph_.offset(type));
    });
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

}  // namespace

void forward_push(const TypedGraph& graph, std::size_t source_type, std::span<const std::uint32_t> sources,
                  const PushRule& rule, std::span<const std::size_t> take, const PushOutput& output,
                  const Workers& workers) {
  for (std::size_t i = 0; i < sources.size(); ++i) check_source(i, sources[i], graph.num_entities(source_type));
  const std::size_t width = std::accumulate(take.begin(), take.end(), std::size_t{0});
  std::vector<Pusher> pushers(workers.count(), Pusher(graph, rule));
  std::vector<Ranker> rankers(workers.count(), Ranker(graph, rule, take));
  auto chunk = [&](std::size_t thread, std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const std::uint32_t source = graph.offset(source_type) + sources[i];
      pushers[thread].push_from(source);
      output.mass[i] = rankers[thread].rank(source, pushers[thread].slots(), output.ids.subspan(i * width, width),
                                            output.weights.subspan(i * width, width));
    }
  };
  parallel_for(sources.size(), kSourcesPerChunk, workers, chunk);
}

PushState push_state(const TypedGraph& graph, std::uint32_t source, const PushRule& rule) {
  Pusher pusher(graph, rule);
  pusher.push_from(source);
  std::vector<Slot> reached;
  pusher.slots().drain([&](const Slot& slot) { reached.push_back(slot); });
  std::sort(reached.begin(), reached.end(), [](const Slot& a, const Slot& b) { return a.entity < b.entity; });
  PushState state;
  for (const Slot& slot : reached) {
    state.entities.push_back(slot.entity);
    state.estimates.push_back(slot.estimate);
    state.residuals.push_back(slot.residual);
  }
  return state;
}

}  // namespace omnisage
