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
constexpr std::size_t kEntitiesAhead = 2;  // neighbors prefetched before their entity's turn

// All that a push knows of an entity, in a quarter of a cache line.
struct Slot {
  std::uint32_t entity = kEmpty;
  float residual = 0;
  float estimate = 0;
  float threshold = 0;  // eps * degree, or a lower bound while nobody needed the degree
};

// The slots of the entities that one source's push reaches: a hash table with linear probing, or, where that is no
// larger, an array over all entities.
//
// A small table stays in the cache, a full one is slow: its size follows what the last source needed, and grows when a
// source needs more. Nothing that is computed depends on it.
class Slots {
 public:
  explicit Slots(std::size_t num_entities) : num_entities_(num_entities) {}

  // Frees all slots and makes the table fit for about as many entities as last time.
  void reset() {
    const std::size_t last = std::max(taken_.size(), kFewestReached);
    for (const std::uint32_t place : taken_) slots_[place].entity = kEmpty;
    taken_.clear();
    resize(std::bit_ceil(kSlotsPerEntity * last));
  }

  void prefetch(std::uint32_t entity) const { __builtin_prefetch(&slots_[home(entity)], 1); }

  // The slot of an entity, which is taken for it (with this threshold) if it has none. Valid until the next call.
  Slot& find_or_take(std::uint32_t entity, float threshold) {
    std::size_t place = home(entity);
    while (slots_[place].entity != entity) {
      if (slots_[place].entity == kEmpty) return take(place, entity, threshold);
      place = (place + 1) & mask_;
    }
    return slots_[place];
  }

  // Calls visit(slot) for every taken slot, in the order in which they were taken.
  template <typename Visit>
  void for_each(Visit&& visit) const {
    for (const std::uint32_t place : taken_) visit(slots_[place]);
  }

 private:
  static constexpr std::size_t kFewestReached = 256;
  static constexpr std::size_t kSlotsPerEntity = 8;

  std::size_t home(std::uint32_t entity) const { return (entity * multiplier_) >> shift_; }

  // Uses the first slots, at most `capacity`, a power of two; all of them are free.
  void resize(std::size_t capacity) {
    const bool is_array = num_entities_ <= capacity;
    const std::size_t size = is_array ? num_entities_ : capacity;
    if (slots_.size() < size) slots_.resize(size);
    mask_ = capacity - 1;
    multiplier_ = is_array ? 1 : 0x9E3779B97F4A7C15u;
    shift_ = is_array ? 0 : 64 - std::countr_zero(capacity);
    max_taken_ = is_array ? num_entities_ : capacity / 2;
  }

  Slot& take(std::size_t place, std::uint32_t entity, float threshold) {
    if (taken_.size() == max_taken_) {
      grow();
      return find_or_take(entity, threshold);
    }
    taken_.push_back(static_cast<std::uint32_t>(place));
    slots_[place] = {entity, 0, 0, threshold};
    return slots_[place];
  }

  void grow() {
    std::vector<Slot> moved;
    for_each([&](const Slot& slot) { moved.push_back(slot); });
    for (const std::uint32_t place : taken_) slots_[place].entity = kEmpty;
    taken_.clear();
    resize(4 * (mask_ + 1));
    for (const Slot& slot : moved) find_or_take(slot.entity, 0) = slot;
  }

  const std::size_t num_entities_;
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> taken_;  // places
  std::size_t mask_ = 0;
  std::uint64_t multiplier_ = 1;
  int shift_ = 0;
  std::size_t max_taken_ = 0;
};

// Pushes one source after the other; one per thread, so that after the first sources nothing is allocated.
class Pusher {
 public:
  Pusher(const TypedGraph& graph, const PushRule& rule)
      : graph_(graph),
        restart_(static_cast<float>(rule.restart)),
        eps_(static_cast<float>(rule.eps)),
        spread_(1 - rule.restart),
        slots_(graph.num_entities()) {}

  // Leaves estimates and residuals in slots().
  void push_from(std::uint32_t source) {
    slots_.reset();
    waiting_.clear();
    Slot& slot = slots_.find_or_take(source, threshold_of(source));
    slot.residual = 1;
    if (graph_.degree(source) == 0) return;
    push(source, slot);
    // Round after round: what one round leaves over its threshold waits for the next, in order.
    while (!waiting_.empty()) {
      round_.swap(waiting_);
      waiting_.clear();
      for (std::size_t i = 0; i < round_.size(); ++i) {
        if (i + kEntitiesAhead < round_.size()) prefetch_neighbors(round_[i + kEntitiesAhead]);
        push(round_[i], slots_.find_or_take(round_[i], 0));
      }
    }
  }

  const Slots& slots() const { return slots_; }

 private:
  void push(std::uint32_t entity, Slot& slot) {
    const float residual = slot.residual;
    slot.residual = 0;
    slot.estimate += restart_ * residual;
    spread(entity, spread_ * residual / graph_.total_weight(entity));
  }

  // Gives every neighbor `share` per unit of edge weight.
  void spread(std::uint32_t entity, double share) {
    const std::uint64_t begin = graph_.indptr()[entity];
    const auto neighbors = graph_.indices().subspan(begin, graph_.degree(entity));
    const auto even_amount = static_cast<float>(share);
    for (std::size_t i = 0; i < std::min(kEdgesAhead, neighbors.size()); ++i) prefetch_slot(neighbors[i]);
    for (std::size_t i = 0; i < neighbors.size(); ++i) {
      if (i + kEdgesAhead < neighbors.size()) prefetch_slot(neighbors[i + kEdgesAhead]);
      add(neighbors[i], graph_.is_weighted() ? static_cast<float>(share * graph_.weights()[begin + i]) : even_amount);
    }
  }

  void add(std::uint32_t entity, float amount) {
    Slot& slot = slots_.find_or_take(entity, eps_);
    const float before = slot.residual;
    slot.residual = before + amount;
    if (before >= slot.threshold || slot.residual < slot.threshold) return;
    // A slot starts with the threshold of degree 1, which small residuals never reach: their degree is not needed.
    slot.threshold = threshold_of(entity);
    if (slot.residual < slot.threshold) return;
    waiting_.push_back(entity);
    prefetch_indptr(entity);
  }

  // An entity without edges keeps its residual: there is nowhere to spread it.
  float threshold_of(std::uint32_t entity) const {
    const std::uint32_t degree = graph_.degree(entity);
    return degree == 0 ? std::numeric_limits<float>::infinity() : eps_ * static_cast<float>(degree);
  }

  void prefetch_slot(std::uint32_t entity) const {
    slots_.prefetch(entity);
    prefetch_indptr(entity);
  }

  void prefetch_indptr(std::uint32_t entity) const { __builtin_prefetch(&graph_.indptr()[entity]); }

  void prefetch_neighbors(std::uint32_t entity) const {
    __builtin_prefetch(graph_.indices().data() + graph_.indptr()[entity]);
  }

  const TypedGraph& graph_;
  const float restart_;
  const float eps_;
  const double spread_;  // the share of a residual that is spread
  Slots slots_;
  std::vector<std::uint32_t> round_;
  std::vector<std::uint32_t> waiting_;
};

// Ranks what a push reached; one per thread.
class Ranker {
 public:
  Ranker(const TypedGraph& graph, const PushRule& rule, std::span<const std::size_t> take)
      : graph_(graph), restart_(static_cast<float>(rule.restart)), take_(take), best_(take.size()) {}

  // Writes the neighborhood of one source; returns the mass that it holds.
  float rank(std::uint32_t source, const Slots& slots, std::span<std::uint32_t> ids, std::span<float> weights) {
    for (std::size_t type = 0; type < take_.size(); ++type) best_[type].reset(take_[type]);
    double at_source = 0;
    slots.for_each([&](const Slot& slot) {
      const float score = slot.estimate + restart_ * slot.residual;
      if (slot.entity == source) {
        at_source = score;
        return;
      }
      const std::size_t type = graph_.type_of(slot.entity);
      if (score > 0) best_[type].offer(score, graph_.external(slot.entity));
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
      const std::uint32_t source = graph.internal(source_type, sources[i]);
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
  pusher.slots().for_each([&](Slot slot) {
    const std::uint32_t offset = graph.offset(graph.type_of(slot.entity));
    slot.entity = offset + graph.external(slot.entity);
    reached.push_back(slot);
  });
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
