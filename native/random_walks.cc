#include "random_walks.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <numeric>
#include <optional>

#include "best.hpp"
#include "hash.hpp"

namespace omnisage {
namespace {

constexpr std::size_t kLockstep = 128;
constexpr std::size_t kLookAhead = 16;  // records between a prefetch and its use
constexpr std::size_t kWalksPerChunk = 16 * kLockstep;
constexpr std::size_t kStepsPerChunk = 1 << 16;
constexpr std::size_t kEntitiesPerChunk = 1 << 12;
constexpr std::uint64_t kDraws = std::uint64_t{1} << 32;

// Fills the alias entries of one list. `small` and `large` hold places whose scaled weight is below 1, and not.
void make_alias(std::span<const float> weights, std::span<AliasTables::Entry> entries, std::vector<double>& scaled,
                std::vector<std::uint32_t>& small, std::vector<std::uint32_t>& large) {
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  scaled.resize(weights.size());
  small.clear();
  large.clear();
  for (std::uint32_t i = 0; i < weights.size(); ++i) {
    scaled[i] = weights[i] / total * static_cast<double>(weights.size());
    entries[i] = {static_cast<std::uint32_t>(kDraws - 1), i};
    (scaled[i] < 1 ? small : large).push_back(i);
  }
  while (!small.empty() && !large.empty()) {
    const std::uint32_t lesser = small.back(), greater = large.back();
    small.pop_back();
    const double draws = std::floor(scaled[lesser] * static_cast<double>(kDraws));
    entries[lesser] = {static_cast<std::uint32_t>(std::clamp(draws, 1.0, static_cast<double>(kDraws)) - 1), greater};
    scaled[greater] -= 1 - scaled[lesser];
    if (scaled[greater] >= 1) continue;
    large.pop_back();
    small.push_back(greater);
  }
}

// Up to kLockstep walks that take their steps together.
class Block {
 public:
  Block(const TypedGraph& graph, const AliasTables& alias, const WalkRule& rule)
      : indptr_(graph.indptr().data()),
        indices_(graph.indices().data()),
        alias_(alias),
        restart_below_(static_cast<std::uint64_t>(std::llround(rule.restart * static_cast<double>(kDraws)))) {}

  void clear() { size_ = 0; }
  std::size_t size() const { return size_; }

  void add(std::uint32_t source, std::uint64_t key) {
    source_[size_] = at_[size_] = source;
    key_[size_++] = key;
    __builtin_prefetch(&indptr_[source]);
  }

  // Takes step number `step` with all walks, and tells visit(walk, entity) where each one is.
  template <typename Visit>
  void advance(std::size_t step, Visit&& visit) {
    for (std::size_t walk = 0; walk < size_; ++walk) choose(walk, step);
    if (!alias_.empty()) {
      for (std::size_t walk = 0; walk < size_; ++walk) apply_weights(walk);
    }
    for (std::size_t walk = 0; walk < size_; ++walk) {
      at_[walk] = *next_[walk];
      if (at_[walk] != kEmpty) __builtin_prefetch(&indptr_[at_[walk]]);
      visit(walk, at_[walk]);
    }
  }

 private:
  // Points next_ at the entity to go to. The pointer is chosen by arithmetic: with restart 0.5 a branch, which
  // compilers make of ?:, is guessed wrong every other time and costs a third of the speed.
  void choose(std::size_t walk, std::size_t step) {
    const std::uint32_t entity = at_[walk];
    next_[walk] = &kEmpty;
    begin_[walk] = kNoList;
    if (entity == kEmpty) return;
    const std::uint64_t begin = indptr_[entity], degree = indptr_[entity + 1] - begin;
    if (degree == 0) return;
    const std::uint64_t draw = splitmix64(key_[walk] + step);
    const std::uint64_t edge = begin + ((draw & (kDraws - 1)) * degree >> 32);
    const bool restarts = draw >> 32 < restart_below_;
    const auto home = reinterpret_cast<std::uintptr_t>(&source_[walk]);
    const auto away = reinterpret_cast<std::uintptr_t>(&indices_[edge]);
    next_[walk] = reinterpret_cast<const std::uint32_t*>(away ^ ((home ^ away) & -std::uintptr_t{restarts}));
    if (alias_.empty()) {
      __builtin_prefetch(next_[walk]);
    } else if (!restarts) {
      begin_[walk] = begin;
      coin_[walk] = static_cast<std::uint32_t>(splitmix64(draw) >> 32);
      __builtin_prefetch(&alias_[edge]);
    }
  }

  void apply_weights(std::size_t walk) {
    if (begin_[walk] == kNoList) return;
    const AliasTables::Entry& entry = alias_[static_cast<std::uint64_t>(next_[walk] - indices_)];
    if (coin_[walk] > entry.keep) next_[walk] = &indices_[begin_[walk] + entry.other];
    __builtin_prefetch(next_[walk]);
  }

  static constexpr std::uint64_t kNoList = ~std::uint64_t{0};

  const std::uint64_t* indptr_;
  const std::uint32_t* indices_;
  const AliasTables& alias_;
  std::uint64_t restart_below_;
  std::size_t size_ = 0;
  std::array<std::uint32_t, kLockstep> source_;
  std::array<std::uint32_t, kLockstep> at_;  // kEmpty: ended
  std::array<std::uint64_t, kLockstep> key_;
  std::array<const std::uint32_t*, kLockstep> next_;
  std::array<std::uint64_t, kLockstep> begin_;  // of the list, where weights have a say
  std::array<std::uint32_t, kLockstep> coin_;
};

// Sources in internal numbering, checked.
std::vector<std::uint32_t> to_internal(const TypedGraph& graph, std::size_t type,
                                       std::span<const std::uint32_t> sources) {
  graph.check_sources(type, sources);
  std::vector<std::uint32_t> internal(sources.size());
  for (std::size_t i = 0; i < sources.size(); ++i) internal[i] = graph.internal(type, sources[i]);
  return internal;
}

// Turns internal numbers into ids and types, in a pass of its own, so that these memory accesses overlap as well.
void to_external(const TypedGraph& graph, std::span<std::uint32_t> ids, std::span<std::uint8_t> types) {
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const std::uint32_t ahead = ids[std::min(i + kLookAhead, ids.size() - 1)];
    if (ahead != kEmpty) {
      __builtin_prefetch(&graph.externals()[ahead]);
      __builtin_prefetch(&graph.types()[ahead]);
    }
    const std::uint32_t entity = ids[i];
    if (entity == kEmpty) {
      types[i] = kNoType;
      continue;
    }
    types[i] = graph.type_of(entity);
    ids[i] = graph.external(entity);
  }
}

// How often each entity was visited: open addressing, at most a quarter full.
class VisitCounts {
 public:
  explicit VisitCounts(std::size_t max_entities)
      : slots_(std::bit_ceil(4 * max_entities + 4), {kEmpty, 0}), mask_(slots_.size() - 1) {}

  void add(std::uint32_t entity) {
    std::size_t at = splitmix64(entity) & mask_;
    while (slots_[at].first != entity) {
      if (slots_[at].first == kEmpty) {
        slots_[at].first = entity;
        used_.push_back(at);
        break;
      }
      at = (at + 1) & mask_;
    }
    ++slots_[at].second;
  }

  // Calls take(entity, visits) for all, in the order of first visits, and forgets them.
  template <typename Take>
  void drain(Take&& take) {
    for (const std::size_t at : used_) {
      take(slots_[at].first, slots_[at].second);
      slots_[at] = {kEmpty, 0};
    }
    used_.clear();
  }

 private:
  std::vector<std::pair<std::uint32_t, std::uint32_t>> slots_;
  std::size_t mask_;
  std::vector<std::size_t> used_;
};

// Counts the visits of one source at a time, and ranks them.
class Ranking {
 public:
  Ranking(const TypedGraph& graph, const AliasTables& alias, const WalkRule& rule)
      : graph_(graph),
        rule_(rule),
        block_(graph, alias, rule),
        counts_(std::min(rule.num_walks * rule.walk_length, graph.num_entities())),
        best_(graph.num_types()) {}

  // How many sources walk together: as many as fill a block, if all that they visit fits.
  static std::size_t sources_together(const WalkRule& rule) {
    const std::size_t num_steps = rule.num_walks * rule.walk_length;
    return std::max<std::size_t>(1, std::min(kLockstep / rule.num_walks, kStepsPerChunk / num_steps));
  }

  // Walks from one source, and counts its visits.
  void walk(std::uint32_t source, std::uint32_t id) {
    for (std::size_t first = 0; first < rule_.num_walks; first += kLockstep) {
      const std::size_t last = std::min(rule_.num_walks, first + kLockstep);
      block_.clear();
      for (std::size_t walk = first; walk < last; ++walk) {
        block_.add(source, pair_hash(rule_.seed, id, static_cast<std::uint32_t>(walk)));
      }
      for (std::size_t step = 1; step <= rule_.walk_length; ++step) {
        block_.advance(step, [&](std::size_t, std::uint32_t entity) { count_visit(source, entity); });
      }
    }
  }

  // Walks from several sources, at most sources_together(); count() then counts the visits of one.
  void walk_together(std::span<const std::uint32_t> sources, std::span<const std::uint32_t> ids) {
    visited_.resize(sources.size() * rule_.num_walks * rule_.walk_length);
    block_.clear();
    for (std::size_t i = 0; i < sources.size(); ++i) {
      for (std::size_t walk = 0; walk < rule_.num_walks; ++walk) {
        block_.add(sources[i], pair_hash(rule_.seed, ids[i], static_cast<std::uint32_t>(walk)));
      }
    }
    for (std::size_t step = 0; step < rule_.walk_length; ++step) {
      block_.advance(step + 1, [&](std::size_t walk, std::uint32_t entity) {
        visited_[walk * rule_.walk_length + step] = entity;
      });
    }
  }

  void count(std::size_t i, std::uint32_t source) {
    const std::size_t num_steps = rule_.num_walks * rule_.walk_length;
    for (const std::uint32_t entity : std::span(visited_).subspan(i * num_steps, num_steps))
      count_visit(source, entity);
  }

  // Fills the slots of one source; returns the share of the visits that they hold.
  float fill(std::span<const std::size_t> take, std::uint32_t* ids, float* weights, std::uint32_t* counts) {
    std::uint64_t total = 0, held = 0;
    for (std::size_t type = 0; type < best_.size(); ++type) best_[type].reset(take[type]);
    counts_.drain([&](std::uint32_t entity, std::uint32_t visits) {
      total += visits;
      best_[graph_.type_of(entity)].offer(static_cast<float>(visits), graph_.external(entity));
    });
    const auto num_steps = static_cast<float>(rule_.num_walks * rule_.walk_length);
    for (std::size_t type = 0; type < best_.size(); ++type) {
      best_[type].sort();
      *counts++ = static_cast<std::uint32_t>(best_[type].size());
      for (std::size_t rank = 0; rank < take[type]; ++rank) {
        const bool is_filled = rank < best_[type].size();
        const Best::Entry entry = is_filled ? best_[type].entry(rank) : Best::Entry{0, kEmpty};
        *ids++ = entry.index;
        *weights++ = entry.score / num_steps;
        held += static_cast<std::uint64_t>(entry.score);
      }
    }
    return total == 0 ? 0.0f : static_cast<float>(static_cast<double>(held) / static_cast<double>(total));
  }

 private:
  void count_visit(std::uint32_t source, std::uint32_t entity) {
    if (entity == source || entity == kEmpty) return;
    __builtin_prefetch(&graph_.types()[entity]);  // for fill()
    __builtin_prefetch(&graph_.externals()[entity]);
    counts_.add(entity);
  }

  const TypedGraph& graph_;
  const WalkRule& rule_;
  Block block_;
  std::vector<std::uint32_t> visited_;  // [sources, walks, steps] of walk_together
  VisitCounts counts_;
  std::vector<Best> best_;
};

}  // namespace

AliasTables::AliasTables(const TypedGraph& graph, const Workers& workers) {
  if (graph.weights().empty()) return;
  entries_.resize(graph.indices().size());
  parallel_for(graph.num_entities(), kEntitiesPerChunk, workers, [&](std::size_t, std::size_t begin, std::size_t end) {
    std::vector<double> scaled;
    std::vector<std::uint32_t> small, large;
    for (std::size_t entity = begin; entity < end; ++entity) {
      const std::uint64_t first = graph.indptr()[entity], degree = graph.indptr()[entity + 1] - first;
      make_alias(graph.weights().subspan(first, degree), std::span(entries_).subspan(first, degree), scaled, small,
                 large);
    }
  });
}

void random_walks(const TypedGraph& graph, const AliasTables& alias, std::size_t source_type,
                  std::span<const std::uint32_t> sources, const WalkRule& rule, const WalksOutput& output,
                  const Workers& workers) {
  const std::vector<std::uint32_t> internal = to_internal(graph, source_type, sources);
  const std::size_t width = rule.walk_length + 1;
  auto chunk = [&](std::size_t, std::size_t begin, std::size_t end) {
    Block block(graph, alias, rule);
    for (std::size_t first = begin; first < end; first += kLockstep) {
      const std::size_t last = std::min(end, first + kLockstep);
      std::uint32_t* const ids = output.ids.data() + first * width;
      block.clear();
      std::size_t place = first / rule.num_walks, walk = first % rule.num_walks;
      for (std::size_t number = first; number < last; ++number) {
        block.add(internal[place], pair_hash(rule.seed, sources[place], static_cast<std::uint32_t>(walk)));
        ids[(number - first) * width] = internal[place];
        if (++walk < rule.num_walks) continue;
        walk = 0;
        ++place;
      }
      for (std::size_t step = 1; step < width; ++step) {
        block.advance(step, [&](std::size_t row, std::uint32_t entity) { ids[row * width + step] = entity; });
      }
      to_external(graph, {ids, block.size() * width}, {output.types.data() + first * width, block.size() * width});
    }
  };
  parallel_for(sources.size() * rule.num_walks, kWalksPerChunk, workers, chunk);
}

void most_visited(const TypedGraph& graph, const AliasTables& alias, std::size_t source_type,
                  std::span<const std::uint32_t> sources, const WalkRule& rule, std::span<const std::size_t> take,
                  const VisitsOutput& output, const Workers& workers) {
  const std::vector<std::uint32_t> internal = to_internal(graph, source_type, sources);
  const std::size_t width = std::accumulate(take.begin(), take.end(), std::size_t{0});
  const std::size_t steps_per_source = std::max<std::size_t>(1, rule.num_walks * rule.walk_length);
  const std::size_t together = Ranking::sources_together(rule);
  const std::size_t sources_per_chunk =
      std::max<std::size_t>(1, kStepsPerChunk / steps_per_source / together) * together;
  std::vector<std::optional<Ranking>> rankings(workers.count());
  parallel_for(sources.size(), sources_per_chunk, workers, [&](std::size_t thread, std::size_t begin, std::size_t end) {
    if (!rankings[thread]) rankings[thread].emplace(graph, alias, rule);
    for (std::size_t i = begin; i < end; ++i) {
      if (together == 1) {
        rankings[thread]->walk(internal[i], sources[i]);
      } else {
        const std::size_t place = (i - begin) % together, count = std::min(together, end - i);
        if (place == 0)
          rankings[thread]->walk_together(std::span(internal).subspan(i, count), sources.subspan(i, count));
        rankings[thread]->count(place, internal[i]);
      }
      output.mass[i] = rankings[thread]->fill(take, output.ids.data() + i * width, output.weights.data() + i * width,
                                              output.counts.data() + i * take.size());
    }
  });
}

}  // namespace omnisage
