#include "topk.hpp"

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "best.hpp"

namespace omnisage {
namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();
constexpr std::size_t kRowsPerChunk = 4;

void best_of_row(std::span<const float> row, std::size_t row_index, Best& best) {
  for (std::size_t column = 0; column < row.size(); ++column) {
    if (row[column] <= best.threshold()) continue;  // false for a NaN; an equal score later in the row loses
    if (std::isnan(row[column])) {
      throw std::invalid_argument("scores[" + std::to_string(row_index) + ", " + std::to_string(column) +
                                  "] is NaN; scores must be numbers (-inf excludes an entry)");
    }
    best.offer(row[column], static_cast<std::uint32_t>(column));
  }
}

}  // namespace

void topk(std::span<const float> scores, std::size_t num_columns, std::size_t k, std::span<float> values,
          std::span<std::uint32_t> indices, const Workers& workers) {
  std::fill(values.begin(), values.end(), kLowest);
  std::fill(indices.begin(), indices.end(), kEmpty);
  if (num_columns == 0) return;
  std::vector<Best> scratch(workers.count());
  const std::size_t num_rows = scores.size() / num_columns;
  parallel_for(num_rows, kRowsPerChunk, workers, [&](std::size_t thread, std::size_t begin, std::size_t end) {
    Best& best = scratch[thread];
    for (std::size_t row = begin; row < end; ++row) {
      best.reset(k);
      best_of_row(scores.subspan(row * num_columns, num_columns), row, best);
      best.sort();
      for (std::size_t rank = 0; rank < best.size(); ++rank) {
        values[row * k + rank] = best.entry(rank).score;
        indices[row * k + rank] = best.entry(rank).index;
      }
    }
  });
}

}  // namespace omnisage
