// Random walks with restart, and the entities they visit most (PinSage, KDD 2018, §3.1).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "parallel.hpp"
#include "typed_graph.hpp"

namespace omnisage {

// At each of its steps a walk goes back to its source with probability `restart`, else along one of the edges
// of the entity it stands on, in proportion to their weights (1 where a relation has none). A walk ends where
// there is no edge.
//
// Every draw is a hash of (seed, id of the source, number of the walk, step): the same walks for any number
// of threads, in any order and in any batch of sources. Draws have 32 bits, so the chance of one of d edges
// is off by at most one part in 2^32 / d.
struct WalkRule {
  double restart;  // in [0, 1]
  std::size_t num_walks;
  std::size_t walk_length;
  std::uint64_t seed;
};

// Draws from each list in proportion to its weights in O(1) (Walker 1977, Vose 1991). Entry i of a list of d
// stays if a 32-bit draw is at most keep[i], else it becomes entry other[i] of the list.
//
// Example: weights {1, 3}: entry 0 is kept half of the time and else becomes 1, entry 1 always stays.
class AliasTables {
 public:
  struct Entry {
    std::uint32_t keep;
    std::uint32_t other;
  };

  // O(edges), 8 bytes per list entry; nothing if the graph has no weights.
  AliasTables(const TypedGraph& graph, const Workers& workers);

  bool empty() const { return entries_.empty(); }
  const Entry& operator[](std::uint64_t edge) const { return entries_[edge]; }

 private:
  std::vector<Entry> entries_;
};

// Where each walk is after 0 .. walk_length steps, [sources, num_walks, walk_length + 1].
struct WalksOutput {
  std::span<std::uint32_t> ids;   // kEmpty after the walk has ended
  std::span<std::uint8_t> types;  // kNoType there
};

inline constexpr std::uint8_t kNoType = 255;

// Writes every position of every walk. `alias` was made of `graph`.
//
// O(1) per step: 128 walks advance together, so that the memory accesses of one hide behind the others'.
// Throws std::out_of_range at a source that does not exist.
// Example: the path 0 - 1, source 0, restart 0, 1 walk of 2 steps: ids {0, 1, 0}.
void random_walks(const TypedGraph& graph, const AliasTables& alias, std::size_t source_type,
                  std::span<const std::uint32_t> sources, const WalkRule& rule, const WalksOutput& output,
                  const Workers& workers);

// Entities by number of visits, in fixed slots [sources, sum of take].
struct VisitsOutput {
  std::span<std::uint32_t> ids;     // kEmpty where a slot holds nothing
  std::span<float> weights;         // share of all steps that end there; 0 in an empty slot
  std::span<std::uint32_t> counts;  // [sources, types] slots that hold something
  std::span<float> mass;            // [sources] share of the visits outside the source that the slots hold
};

// For each source and each type t the take[t] entities that its walks (the same as random_walks gives) visit
// most often, never the source, ties by id. O(num_walks * walk_length) per source, not counting the order.
//
// Example: the path 0 - 1, source 0, restart 0, 1 walk of 2 steps, take 1: id 1, weight 0.5, mass 1.
void most_visited(const TypedGraph& graph, const AliasTables& alias, std::size_t source_type,
                  std::span<const std::uint32_t> sources, const WalkRule& rule, std::span<const std::size_t> take,
                  const VisitsOutput& output, const Workers& workers);

}  // namespace omnisage
