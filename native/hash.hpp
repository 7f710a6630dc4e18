// Seeded hashes that every engine can reproduce; the twin of src/omnisage/randomness.py.
#pragma once

#include <cstdint>

namespace omnisage {

// The finalizer of SplitMix (Steele, Lea, Flood, OOPSLA 2014): 64 well-mixed bits of a key.
// Example: splitmix64(0) == 0xE220A8397B1DCDAF.
constexpr std::uint64_t splitmix64(std::uint64_t key) {
  std::uint64_t z = key + 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

// Hash of the ordered pair (first, second); the caller orders the two, so that both ends of an edge agree.
// pair_hash(s, a, b) == splitmix64(splitmix64(s) ^ (a * 2^32 + b)).
constexpr std::uint64_t pair_hash(std::uint64_t seed, std::uint32_t first, std::uint32_t second) {
  return splitmix64(splitmix64(seed) ^ (static_cast<std::uint64_t>(first) << 32 | second));
}

}  // namespace omnisage
