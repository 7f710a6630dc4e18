#include "dropout.hpp"

#include <algorithm>

#include "instruction_sets.hpp"
#include "product.hpp"

namespace omnisage {
namespace {

constexpr std::size_t kNumbersPerChunk = std::size_t{1} << 15;

// The normal distribution function. erf as a quotient of polynomials (of degree 13 and 8, as Eigen and XLA have it).
[[gnu::always_inline]] inline void normal_distribution(const Vector& x, Vector& share) {
  Vector scaled = x * 0.707106781f;
  scaled = scaled > 4.0f ? Vector{} + 4.0f : scaled;
  scaled = scaled < -4.0f ? Vector{} - 4.0f : scaled;
  const Vector square = scaled * scaled;
  Vector above = square * -2.72614225801306e-10f + 2.77068142495902e-08f;
  above = above * square - 2.10102402082508e-06f;
  above = above * square - 5.69250639462346e-05f;
  above = above * square - 7.34990630326855e-04f;
  above = above * square - 2.95459980854025e-03f;
  above = above * square - 1.60960333262415e-02f;
  Vector below = square * -1.45660718464996e-05f - 2.13374055278905e-04f;
  below = below * square - 1.68282697438203e-03f;
  below = below * square - 7.37332916720468e-03f;
  below = below * square - 1.42647390514189e-02f;
  share = 0.5f * (scaled * above / below) + 0.5f;
}

struct Identity {
  [[gnu::always_inline]] static inline void value(Vector&) {}
};

struct Gelu {
  [[gnu::always_inline]] static inline void value(Vector& x) {
    Vector below;
    normal_distribution(x, below);
    x *= below;
  }
  [[gnu::always_inline]] static inline void slope(Vector& x) {
    Vector below, density = x * x * -0.5f;
    normal_distribution(x, below);
    exp_nonpositive(density);
    x = below + x * density * 0.398942280f;
  }
};

struct Numbers {
  const float* values;
  const std::uint8_t* bytes;
  const float* upstream;  // or null: the value is wanted, not the gradient
  float* out;
  int num_dropped;
};

template <typename Function>
struct Drop {
  // One vector; `bytes` are widened to integers.
  [[gnu::always_inline]] static inline void drop(const float* values, const std::int32_t* bytes, const float* upstream,
                                                 float* out, int num_dropped) {
    Ints is_kept, bits;
    Vector value, factor = Vector{} + 256.0f / (256.0f - static_cast<float>(num_dropped));
    std::memcpy(&is_kept, bytes, sizeof(Ints));
    is_kept = is_kept >= num_dropped;
    load(values, value);
    if (upstream == nullptr) {
      Function::value(value);
    } else if constexpr (requires { Function::slope(value); }) {
      Vector by_output;
      load(upstream, by_output);
      Function::slope(value);
      value *= by_output;
    }
    std::memcpy(&bits, &factor, sizeof(Ints));
    bits &= is_kept;
    std::memcpy(&factor, &bits, sizeof(Ints));
    value *= factor;
    store(value, out);
  }

  template <int>
  [[gnu::always_inline]] static inline void run(const Numbers* numbers, std::size_t begin, std::size_t end) {
    constexpr std::size_t kBlock = 512;
    const Numbers n = *numbers;
    std::int32_t wide[kBlock] = {};
    for (; begin < end; begin += kBlock) {
      const std::size_t size = std::min(kBlock, end - begin), whole = size / kLanes * kLanes;
      for (std::size_t i = 0; i < size; ++i) wide[i] = n.bytes[begin + i];
      const float* const upstream = n.upstream ? n.upstream + begin : nullptr;
      for (std::size_t i = 0; i < whole; i += kLanes) {
        drop(n.values + begin + i, wide + i, upstream ? upstream + i : nullptr, n.out + begin + i, n.num_dropped);
      }
      if (whole == size) continue;
      float values[kLanes] = {}, last[kLanes] = {}, out[kLanes];
      std::copy(n.values + begin + whole, n.values + begin + size, values);
      if (upstream) std::copy(upstream + whole, upstream + size, last);
      drop(values, wide + whole, upstream ? last : nullptr, out, n.num_dropped);
      std::copy_n(out, size - whole, n.out + begin + whole);
    }
  }
};

template <typename Function>
void drop_all(const Numbers& numbers, std::size_t size, const Workers& workers) {
  parallel_for(size, kNumbersPerChunk, workers, [&](std::size_t, std::size_t begin, std::size_t end) {
    run_best<Drop<Function>, const Numbers*>(&numbers, begin, end);
  });
}

}  // namespace

void dropout(std::span<const float> values, std::span<const std::uint8_t> bytes, unsigned num_dropped,
             std::span<float> out, const Workers& workers) {
  drop_all<Identity>({values.data(), bytes.data(), nullptr, out.data(), static_cast<int>(num_dropped)}, values.size(),
                     workers);
}

void gelu_dropout(std::span<const float> values, std::span<const std::uint8_t> bytes, unsigned num_dropped,
                  std::span<float> out, const Workers& workers) {
  drop_all<Gelu>({values.data(), bytes.data(), nullptr, out.data(), static_cast<int>(num_dropped)}, values.size(),
                 workers);
}

void gelu_dropout_backward(std::span<const float> values, std::span<const std::uint8_t> bytes, unsigned num_dropped,
                           std::span<const float> upstream, std::span<float> out, const Workers& workers) {
  drop_all<Gelu>({values.data(), bytes.data(), upstream.data(), out.data(), static_cast<int>(num_dropped)},
                 values.size(), workers);
}

}  // namespace omnisage
