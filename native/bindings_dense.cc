// Vectors and texts: top-k, gather, n-grams, count-min.
#include <utility>

#include "best.hpp"
#include "bindings.hpp"
#include "gather.hpp"
#include "ngrams.hpp"
#include "sketch.hpp"
#include "topk.hpp"

namespace omnisage {
namespace {

using namespace nb::literals;

std::tuple<Owned<std::uint64_t>, Owned<std::uint64_t>> bind_ngram_hashes(const AnyArray& data, const AnyArray& offsets,
                                                                         int num_threads) {
  const auto [bytes, starts] = view_strings(data, offsets);
  Ngrams ngrams =
      without_gil(num_threads, [&](const Workers& workers) { return ngram_hashes(bytes, starts, workers); });
  return {to_numpy(std::move(ngrams.indptr)), to_numpy(std::move(ngrams.tokens))};
}

std::tuple<Owned<float>, Owned<std::uint32_t>> bind_topk(const AnyArray& scores, std::int64_t k, int num_threads) {
  const auto values = view<float>(scores, "scores", 2);
  require(k >= 0, "k is " + std::to_string(k) + "; it must be >= 0");
  require(scores.shape(1) < kEmpty, "scores has too many columns; at most 4294967294 are allowed");
  Output<float> best(scores.shape(0), static_cast<std::size_t>(k));
  Output<std::uint32_t> indices(scores.shape(0), static_cast<std::size_t>(k));
  without_gil(num_threads, [&](const Workers& workers) {
    topk(values, scores.shape(1), static_cast<std::size_t>(k), best.span, indices.span, workers);
  });
  return {best.array, indices.array};
}

Owned<float> bind_gather(const AnyArray& rows, const AnyArray& ids, int num_threads) {
  const auto wanted = view<std::uint32_t>(ids, "ids");
  if (!holds<float>(rows) && !holds<Half>(rows)) throw nb::type_error("rows must be of dtype float32 or float16");
  require_layout(rows, "rows", 2);
  const std::size_t width = rows.shape(1);
  Output<float> out(wanted.size(), width);
  without_gil(num_threads, [&](const Workers& workers) {
    if (holds<float>(rows)) {
      gather(view<float>(rows, "rows", 2), width, wanted, out.span, workers);
    } else {
      gather(view<Half>(rows, "rows", 2), width, wanted, out.span, workers);
    }
  });
  return out.array;
}

SketchShape shape_of(const AnyArray& table, std::uint64_t seed) {
  const SketchShape shape{table.shape(0), table.shape(1), seed};
  require(shape.depth > 0 && shape.width > 0 && shape.width <= std::uint64_t{1} << 32,
          "table is [" + std::to_string(shape.depth) + ", " + std::to_string(shape.width) +
              "]; it needs at least one row, and 1 to 2^32 columns");
  return shape;
}

void bind_sketch_update(nb::ndarray<nb::device::cpu> table, const AnyArray& ids, const AnyArray& counts,
                        std::uint64_t seed) {
  const auto counters = view<std::uint64_t>(AnyArray(table), "table", 2);
  const auto keys = view<std::uint64_t>(ids, "ids");
  const auto amounts = view_or_none<std::uint64_t>(counts, "counts", keys.size());
  const std::span writable(static_cast<std::uint64_t*>(table.data()), counters.size());
  sketch_update(writable, shape_of(AnyArray(table), seed), keys, amounts);
}

Owned<std::uint64_t> bind_sketch_estimate(const AnyArray& table, const AnyArray& ids, std::uint64_t seed) {
  const auto counters = view<std::uint64_t>(table, "table", 2);
  const auto keys = view<std::uint64_t>(ids, "ids");
  std::vector<std::uint64_t> estimates(keys.size());
  sketch_estimate(counters, shape_of(table, seed), keys, estimates);
  return to_numpy(std::move(estimates));
}

}  // namespace

void define_dense(nb::module_& module) {
  module.def("ngram_hashes", &bind_ngram_hashes, "data"_a, "offsets"_a, nb::kw_only(), "num_threads"_a = 0);
  module.def("topk", &bind_topk, "scores"_a, "k"_a, nb::kw_only(), "num_threads"_a = 0);
  module.def("gather", &bind_gather, "rows"_a, "ids"_a, nb::kw_only(), "num_threads"_a = 0);
  module.def("sketch_update", &bind_sketch_update, "table"_a, "ids"_a, "counts"_a, nb::kw_only(), "seed"_a);
  module.def("sketch_estimate", &bind_sketch_estimate, "table"_a, "ids"_a, nb::kw_only(), "seed"_a);
}

}  // namespace omnisage
