#include "sketch.hpp"

#include <algorithm>
#include <limits>

#include "hash.hpp"

namespace omnisage {
namespace {

// Calls visit(i, counter) for the counter of every id, row by row: one row of the table is hot at a time.
template <typename Table, typename Visit>
void for_each_counter(Table table, const SketchShape& shape, std::span<const std::uint64_t> ids, Visit&& visit) {
  for (std::size_t row = 0; row < shape.depth; ++row) {
    const std::uint64_t salt = splitmix64(splitmix64(shape.seed) + row);
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const std::uint64_t column = ((splitmix64(salt ^ ids[i]) >> 32) * shape.width) >> 32;
      visit(i, table[row * shape.width + column]);
    }
  }
}

}  // namespace

void sketch_update(std::span<std::uint64_t> table, const SketchShape& shape, std::span<const std::uint64_t> ids,
                   std::span<const std::uint64_t> counts) {
  for_each_counter(table, shape, ids, [&](std::size_t i, std::uint64_t& counter) { counter += counts[i]; });
}

void sketch_estimate(std::span<const std::uint64_t> table, const SketchShape& shape, std::span<const std::uint64_t> ids,
                     std::span<std::uint64_t> out) {
  std::fill(out.begin(), out.end(), std::numeric_limits<std::uint64_t>::max());
  for_each_counter(table, shape, ids,
                   [&](std::size_t i, std::uint64_t counter) { out[i] = std::min(out[i], counter); });
}

}  // namespace omnisage
