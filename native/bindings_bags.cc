// What looks features up in tables: hashed texts and categories.
#include <utility>

#include "bags.hpp"
#include "bindings.hpp"

namespace omnisage {
namespace {

using namespace nb::literals;

BagsInput view_bags(const AnyArray& rows, const AnyArray& offsets, const AnyArray& table,
                    const std::optional<AnyArray>& importance) {
  const auto values = view<std::uint32_t>(rows, "rows", 2);
  const auto starts = view<std::int64_t>(offsets, "offsets");
  require(!starts.empty(), "offsets is empty; it must have one more entry than there are bags");
  for (std::size_t i = 0; i < starts.size(); ++i) {
    if (starts[i] >= (i == 0 ? 0 : starts[i - 1]) && starts[i] <= static_cast<std::int64_t>(rows.shape(0))) continue;
    require(false, "offsets[" + std::to_string(i) + "] is " + std::to_string(starts[i]) +
                       "; offsets must rise within 0 .. " + std::to_string(rows.shape(0)) + ", the number of values");
  }
  const auto table_rows = view<float>(table, "table", 2);
  if (importance) require_layout(*importance, "importance", 2);
  const std::size_t num_hashes = importance ? importance->shape(1) : rows.shape(1);
  if (importance) {
    require(importance->shape(0) == table.shape(0), "importance must have as many rows as the table");
    require(rows.shape(1) == num_hashes + 1, "rows must have a column for each of importance, and one more");
  }
  return {.num_hashes = num_hashes,
          .width = table.shape(1),
          .num_rows = table.shape(0),
          .rows = values,
          .offsets = starts,
          .table = table_rows,
          .importance = importance ? view<float>(*importance, "importance", 2) : std::span<const float>{}};
}

Owned<std::uint32_t> bind_hash_buckets(const AnyArray& values, const AnyArray& multipliers, std::uint32_t num_buckets,
                                       int num_threads) {
  const auto keys = view<std::int64_t>(values, "values");
  const auto factors = view<std::int64_t>(multipliers, "multipliers");
  require(num_buckets > 0, "num_buckets is 0; it must be positive");
  Output<std::uint32_t> buckets(keys.size(), factors.size());
  without_gil(num_threads,
              [&](const Workers& workers) { hash_buckets(keys, factors, num_buckets, buckets.span, workers); });
  return buckets.array;
}

Owned<float> bind_sum_bags(const AnyArray& rows, const AnyArray& offsets, const AnyArray& table,
                           const std::optional<AnyArray>& importance, int num_threads) {
  const BagsInput input = view_bags(rows, offsets, table, importance);
  Output<float> sums(input.offsets.size() - 1, input.width);
  without_gil(num_threads, [&](const Workers& workers) { sum_bags(input, sums.span, workers); });
  return sums.array;
}

std::pair<Owned<float>, Owned<float>> bind_sum_bags_backward(const AnyArray& rows, const AnyArray& offsets,
                                                             const AnyArray& table,
                                                             const std::optional<AnyArray>& importance,
                                                             const AnyArray& by_sums, int num_threads) {
  const BagsInput input = view_bags(rows, offsets, table, importance);
  const auto upstream = view<float>(by_sums, "by_sums", 2);
  require(upstream.size() == (input.offsets.size() - 1) * input.width, "by_sums must have the shape of the sums");
  Output<float> by_table(input.num_rows, input.width), by_importance(importance ? input.num_rows : 0, input.num_hashes);
  without_gil(num_threads, [&](const Workers& workers) {
    sum_bags_backward(input, upstream, by_table.span, by_importance.span, workers);
  });
  return {by_table.array, by_importance.array};
}

}  // namespace

void define_bags(nb::module_& module) {
  module.def("hash_buckets", &bind_hash_buckets, "values"_a, "multipliers"_a, "num_buckets"_a, nb::kw_only(),
             "num_threads"_a = 0);
  module.def("sum_bags", &bind_sum_bags, "rows"_a, "offsets"_a, "table"_a, "importance"_a.none(), nb::kw_only(),
             "num_threads"_a = 0);
  module.def("sum_bags_backward", &bind_sum_bags_backward, "rows"_a, "offsets"_a, "table"_a, "importance"_a.none(),
             "by_sums"_a, nb::kw_only(), "num_threads"_a = 0);
}

}  // namespace omnisage
