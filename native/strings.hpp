// The order of strings of bytes: as unsigned bytes, a string before all that it is the beginning of.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ids.hpp"
#include "parallel.hpp"

namespace omnisage {

// The numbers of strings in their order, equal ones by number.
//
// Seven bytes at a time are compared as one integer that is held beside the number, so that a string is looked up once
// per seven bytes and not once per comparison. O(n log n) time and 16 bytes per string. Throws std::length_error at
// 2^32 strings.
//
// Example: {"b", "", "ab"}: {1, 2, 0}.
std::vector<std::uint32_t> sort_strings(const StringKeys::Batch& strings, const Workers& workers);

// For each string how many of `bounds`, which rise, are not above it. 255 bounds at most. O(n log bounds), in parallel.
//
// Example: {"b", "a", "ab"}, bounds {"ab", "c"}: {1, 0, 1}.
void place_strings(const StringKeys::Batch& strings, const StringKeys::Batch& bounds, std::span<std::uint8_t> places,
                   const Workers& workers);

}  // namespace omnisage
