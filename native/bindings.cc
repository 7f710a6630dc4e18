// The Python module `omnisage._native`: checks every argument, releases the GIL, calls a kernel.
//
// Signatures and meaning for Python readers: src/omnisage/_native.pyi.
#include <nanobind/nanobind.h>
#include <nanobind/stl/tuple.h>

#include <tuple>

#include "arrays.hpp"
#include "gather.hpp"
#include "ngrams.hpp"
#include "topk.hpp"

namespace omnisage {
namespace {

using namespace nb::literals;

std::tuple<Owned<std::uint64_t>, Owned<std::uint64_t>> bind_ngram_hashes(const AnyArray& data,
                                                                         const AnyArray& offsets,
                                                                         int num_threads) {
  const auto bytes = view<std::uint8_t>(data, "data");
  const auto starts = view<std::int64_t>(offsets, "offsets");
  require(!starts.empty(), "offsets is empty; it must have one more entry than there are texts");
  for (std::size_t i = 0; i < starts.size(); ++i) {
    const bool rises = starts[i] >= (i == 0 ? 0 : starts[i - 1]);
    require(rises && starts[i] <= static_cast<std::int64_t>(bytes.size()),
            "offsets[" + std::to_string(i) + "] is " + std::to_string(starts[i]) +
                "; offsets must rise within 0 .. " + std::to_string(bytes.size()) +
                ", the number of bytes in data");
  }
  Ngrams ngrams =
      without_gil(num_threads, [&](const Workers& workers) { return ngram_hashes(bytes, starts, workers); });
  return {to_numpy(std::move(ngrams.indptr)), to_numpy(std::move(ngrams.tokens))};
}

std::tuple<Owned<float>, Owned<std::uint32_t>> bind_topk(const AnyArray& scores, std::int64_t k,
                                                         int num_threads) {
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
  if (!holds<float>(rows) && !holds<Half>(rows))
    throw nb::type_error("rows must be of dtype float32 or float16");
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

}  // namespace
}  // namespace omnisage

NB_MODULE(_native, module) {
  using namespace omnisage;
  module.def("ngram_hashes", &bind_ngram_hashes, "data"_a, "offsets"_a, nb::kw_only(), "num_threads"_a = 0);
  module.def("topk", &bind_topk, "scores"_a, "k"_a, nb::kw_only(), "num_threads"_a = 0);
  module.def("gather", &bind_gather, "rows"_a, "ids"_a, nb::kw_only(), "num_threads"_a = 0);
}
