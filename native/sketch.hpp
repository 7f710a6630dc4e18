// Count-min sketch: how often each of many ids was seen, in fixed memory (Cormode, Muthukrishnan 2005).
#pragma once

#include <cstdint>
#include <span>

namespace omnisage {

// The sketch is its table [depth, width] of counters, kept by the caller: it is saved as an array, and two
// tables of the same shape and seed are merged by adding them. Row r counts id x in column (top 32 bits of
// splitmix64(splitmix64(splitmix64(seed) + r) ^ x)) * width / 2^32.
//
// Example: depth 1, width 1: after updates (7, 2) and (9, 3) both ids are estimated as 5, never below the
// truth.
struct SketchShape {
  std::size_t depth;
  std::size_t width;  // at most 2^32
  std::uint64_t seed;
};

// Adds counts[i] to ids[i]. O(ids * depth). Updates commute, so the order of a stream does not matter.
void sketch_update(std::span<std::uint64_t> table, const SketchShape& shape, std::span<const std::uint64_t> ids,
                   std::span<const std::uint64_t> counts);

// Writes to out[i] an upper bound of the count of ids[i]; with probability 1 - e^-depth it exceeds the truth
// by at most (e / width) * (sum of all counts). O(ids * depth).
void sketch_estimate(std::span<const std::uint64_t> table, const SketchShape& shape, std::span<const std::uint64_t> ids,
                     std::span<std::uint64_t> out);

}  // namespace omnisage
