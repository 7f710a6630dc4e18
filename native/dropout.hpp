// Dropout by random bytes, alone and after GELU, in one pass over the numbers.
#pragma once

#include <cstdint>
#include <span>

#include "parallel.hpp"

namespace omnisage {

// Drops number i where bytes[i] < num_dropped, and multiplies the others with 256 / (256 - num_dropped), so that the
// mean stays. num_dropped is below 256. The three spans have one size.
//
// Example: values {1, 2}, bytes {10, 200}, num_dropped 128 gives {0, 4}.
void dropout(std::span<const float> values, std::span<const std::uint8_t> bytes, unsigned num_dropped,
             std::span<float> out, const Workers& workers);

// The same of gelu(x) = x * Phi(x), Phi being the normal distribution function, to about 1e-7.
void gelu_dropout(std::span<const float> values, std::span<const std::uint8_t> bytes, unsigned num_dropped,
                  std::span<float> out, const Workers& workers);

// The gradient by the values of gelu_dropout, from `upstream`, that by its output.
void gelu_dropout_backward(std::span<const float> values, std::span<const std::uint8_t> bytes, unsigned num_dropped,
                           std::span<const float> upstream, std::span<float> out, const Workers& workers);

}  // namespace omnisage
