#include "gather.hpp"

#include <bit>
#include <cstring>
#include <stdexcept>
#include <string>

namespace omnisage {
namespace {

constexpr std::size_t kRowsAhead = 8;
constexpr std::size_t kLineBytes = 64;
constexpr std::size_t kRowsPerChunk = 4096;

void copy_row(const float* row, std::size_t width, float* out) { std::memcpy(out, row, width * sizeof(float)); }

// Plain integer arithmetic, which compilers turn into vector instructions on any machine: shift the exponent
// and fraction into place, scale by 2^112 (the difference of the biases), keep infinities and NaNs.
void copy_row(const Half* row, std::size_t width, float* out) {
  for (std::size_t i = 0; i < width; ++i) {
    const std::uint32_t bits = row[i].bits;
    const std::uint32_t sign = (bits & 0x8000u) << 16;
    const float scaled = std::bit_cast<float>((bits & 0x7FFFu) << 13) * 0x1p112f;
    const std::uint32_t special = (bits & 0x7C00u) == 0x7C00u ? 0x7F800000u : 0u;
    out[i] = std::bit_cast<float>(std::bit_cast<std::uint32_t>(scaled) | special | sign);
  }
}

void prefetch_row(const void* row, std::size_t bytes) {
  const char* line = static_cast<const char*>(row);
  for (std::size_t at = 0; at < bytes; at += kLineBytes) __builtin_prefetch(line + at);
}

template <typename T>
void gather_rows(std::span<const T> rows, std::size_t width, std::span<const std::uint32_t> ids, std::span<float> out,
                 const Workers& workers) {
  if (width == 0) return;
  const std::size_t num_rows = rows.size() / width;
  parallel_for(ids.size(), kRowsPerChunk, workers, [&](std::size_t, std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      if (ids[i] >= num_rows) {
        throw std::out_of_range("ids[" + std::to_string(i) + "] is " + std::to_string(ids[i]) + ", but rows has " +
                                std::to_string(num_rows) + " rows; ids must be below that");
      }
    }
    for (std::size_t i = begin; i < end; ++i) {
      if (i + kRowsAhead < end) prefetch_row(&rows[ids[i + kRowsAhead] * width], width * sizeof(T));
      copy_row(&rows[ids[i] * width], width, &out[i * width]);
    }
  });
}

}  // namespace

void gather(std::span<const float> rows, std::size_t width, std::span<const std::uint32_t> ids, std::span<float> out,
            const Workers& workers) {
  gather_rows(rows, width, ids, out, workers);
}

void gather(std::span<const Half> rows, std::size_t width, std::span<const std::uint32_t> ids, std::span<float> out,
            const Workers& workers) {
  gather_rows(rows, width, ids, out, workers);
}

}  // namespace omnisage
