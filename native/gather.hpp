// Rows of a (memory-mapped) matrix by id, as float32 in one contiguous buffer.
#pragma once

#include <cstdint>
#include <span>

#include "parallel.hpp"

namespace omnisage {

// An IEEE half-precision number, as its bits.
struct Half {
  std::uint16_t bits;
};

// Writes rows[ids[i], :] to out[i, :]; `rows` is [num_rows, width], `out` [ids.size(), width].
//
// Rows ahead are prefetched, since each is a cache miss. Throws std::out_of_range at an id >= num_rows,
// naming it. O(ids * width). Example: rows {{1, 2}, {3, 4}}, ids {1, 1, 0} gives {{3, 4}, {3, 4}, {1, 2}}.
void gather(std::span<const float> rows, std::size_t width, std::span<const std::uint32_t> ids, std::span<float> out,
            const Workers& workers);
void gather(std::span<const Half> rows, std::size_t width, std::span<const std::uint32_t> ids, std::span<float> out,
            const Workers& workers);

}  // namespace omnisage
