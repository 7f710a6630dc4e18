// What training computes: softmax, attention over neighbors (projected or not), dropout.
#include <utility>
#include <vector>

#include "attention.hpp"
#include "bindings.hpp"
#include "dropout.hpp"
#include "softmax.hpp"
#include "weighted_sums.hpp"

namespace omnisage {
namespace {

using namespace nb::literals;

std::tuple<Owned<float>, Owned<float>, Owned<float>> bind_softmax_loss(
    const AnyArray& queries, const AnyArray& candidates, const AnyArray& log_q, const AnyArray& columns,
    const std::optional<std::pair<AnyArray, AnyArray>>& seen, const std::optional<AnyArray>& others, int num_threads) {
  const SoftmaxInput input{
      .queries = view<float>(queries, "queries", 2),
      .candidates = view<float>(candidates, "candidates", 2),
      .log_q = view<float>(log_q, "log_q"),
      .columns = view<std::int64_t>(columns, "columns"),
      .seen_rows = seen ? view<std::int64_t>(seen->first, "seen rows") : std::span<const std::int64_t>{},
      .seen_columns = seen ? view<std::int64_t>(seen->second, "seen columns") : std::span<const std::int64_t>{},
      .others = view_or_none<float>(others, "others", columns.size())};
  require(queries.shape(1) == candidates.shape(1), "queries and candidates must have the same width");
  require(queries.shape(0) == input.columns.size(), "columns must have an entry for each query");
  require(candidates.shape(0) == input.log_q.size(), "log_q must have an entry for each candidate");
  require(input.seen_rows.size() == input.seen_columns.size(), "seen rows and columns must be as many");
  Output<float> losses(1, columns.size()), queries_gradient(queries.shape(0), queries.shape(1)),
      candidates_gradient(candidates.shape(0), candidates.shape(1));
  without_gil(num_threads, [&](const Workers& workers) {
    softmax_loss(input, {losses.span, queries_gradient.span, candidates_gradient.span}, workers);
  });
  return {losses.array, queries_gradient.array, candidates_gradient.array};
}

using Numbers = std::span<const float>;
using Bytes = std::span<const std::uint8_t>;

template <typename Kernel>
Owned<float> bind_dropout(const AnyArray& values, const AnyArray& bytes, unsigned num_dropped, int num_threads,
                          Kernel&& kernel) {
  const Numbers numbers = view<float>(values, "values");
  const Bytes draws = view<std::uint8_t>(bytes, "bytes");
  require(draws.size() == numbers.size(), "bytes must have an entry for each value");
  require(num_dropped < 256, "num_dropped is " + std::to_string(num_dropped) + "; it must be below 256");
  Output<float> out(1, numbers.size());
  without_gil(num_threads, [&](const Workers& workers) { kernel(numbers, draws, out.span, workers); });
  return out.array;
}

Owned<float> bind_plain_dropout(const AnyArray& values, const AnyArray& bytes, unsigned num_dropped, int num_threads) {
  return bind_dropout(values, bytes, num_dropped, num_threads, [&](Numbers v, Bytes b, auto out, const auto& workers) {
    dropout(v, b, num_dropped, out, workers);
  });
}

Owned<float> bind_gelu_dropout(const AnyArray& values, const AnyArray& bytes, unsigned num_dropped, int num_threads) {
  return bind_dropout(values, bytes, num_dropped, num_threads, [&](Numbers v, Bytes b, auto out, const auto& workers) {
    gelu_dropout(v, b, num_dropped, out, workers);
  });
}

Owned<float> bind_gelu_dropout_backward(const AnyArray& values, const AnyArray& bytes, unsigned num_dropped,
                                        const AnyArray& upstream, int num_threads) {
  const Numbers from = view<float>(upstream, "upstream");
  require(from.size() == values.size(), "upstream must have an entry for each value");
  return bind_dropout(values, bytes, num_dropped, num_threads, [&](Numbers v, Bytes b, auto out, const auto& workers) {
    gelu_dropout_backward(v, b, num_dropped, from, out, workers);
  });
}

// tokens, scores, neighbors, log_weights, present, own, own_scores, positions, position_scores, gates, factors
using AttentionArrays = std::tuple<AnyArray, AnyArray, AnyArray, AnyArray, AnyArray, AnyArray, AnyArray, AnyArray,
                                   AnyArray, AnyArray, std::optional<AnyArray>>;

AttentionInput view_attention(const AttentionArrays& arrays) {
  const auto& [tokens, scores, neighbors, log_weights, present, own, own_scores, positions, position_scores, gates,
               factors] = arrays;
  require_layout(own, "own", 3);
  require_layout(position_scores, "position_scores", 2);
  require_layout(neighbors, "neighbors", 2);
  const std::size_t anchors = own.shape(0), num_own = own.shape(1), width = own.shape(2);
  const std::size_t slots = neighbors.shape(1), heads = position_scores.shape(1);
  const auto sized = [](std::size_t size, std::size_t expected, const char* name) {
    require(size == expected,
            std::string(name) + " has " + std::to_string(size) + " entries; it must have " + std::to_string(expected));
  };
  require(width > 0 && width % 16 == 0,
          "the width of tokens is " + std::to_string(width) + "; it must be a multiple of 16");
  require(num_own > 0, "own has no token; each anchor must have one");
  require(tokens.ndim() == 2 && tokens.shape(1) == width, "tokens and own must have the same width");
  sized(scores.size(), tokens.shape(0) * 2 * heads, "scores");
  sized(neighbors.size(), anchors * slots, "neighbors");
  sized(log_weights.size(), anchors * slots, "log_weights");
  sized(present.size(), anchors * slots, "present");
  sized(own_scores.size(), anchors * num_own * heads, "own_scores");
  sized(positions.size(), slots * width, "positions");
  sized(position_scores.size(), slots * heads, "position_scores");
  sized(gates.size(), 2 * width, "gates");
  if (factors) sized(factors->size(), anchors * (num_own + slots) * heads, "factors");
  const bool is_brief = tokens.dtype() == nb::dtype<std::uint16_t>();
  return {.num_anchors = anchors,
          .num_own = num_own,
          .num_slots = slots,
          .num_heads = heads,
          .width = width,
          .tokens = is_brief ? std::span<const float>{} : view<float>(tokens, "tokens", 2),
          .brief_tokens = is_brief ? view<std::uint16_t>(tokens, "tokens", 2) : std::span<const std::uint16_t>{},
          .scores = view<float>(scores, "scores", 2),
          .neighbors = view<std::int64_t>(neighbors, "neighbors", 2),
          .log_weights = view<float>(log_weights, "log_weights", 2),
          .present = view<std::uint8_t>(present, "present", 2),
          .own = view<float>(own, "own", 3),
          .own_scores = view<float>(own_scores, "own_scores", 3),
          .positions = view<float>(positions, "positions", 2),
          .position_scores = view<float>(position_scores, "position_scores", 2),
          .gates = view<float>(gates, "gates", 2),
          .factors = factors ? view<float>(*factors, "factors", 3) : std::span<const float>{}};
}

std::tuple<Owned<float>, Owned<float>, Owned<float>> bind_attend(const AttentionArrays& arrays, int num_threads) {
  const AttentionInput input = view_attention(arrays);
  Output<float> reads(input.num_heads * input.num_anchors, input.width), totals(input.num_heads, input.num_anchors),
      weights(input.num_anchors, input.num_heads * input.weights_row());
  without_gil(num_threads,
              [&](const Workers& workers) { attend(input, {reads.span, totals.span, weights.span}, workers); });
  return {reads.array, totals.array, weights.array};
}

// Gradients by the float arrays of the input, in their order, each as a matrix.
std::vector<Owned<float>> bind_attend_backward(const AttentionArrays& arrays, const AnyArray& weights,
                                               const AnyArray& reads, const AnyArray& totals, int num_threads) {
  const AttentionInput input = view_attention(arrays);
  const auto of_weights = view<float>(weights, "weights", 2), of_reads = view<float>(reads, "reads", 3);
  const auto of_totals = view<float>(totals, "totals", 2);
  const std::size_t anchors = input.num_anchors, heads = input.num_heads, width = input.width;
  require(input.brief_tokens.empty(), "tokens must be float32 where gradients are asked for");
  require(of_weights.size() == anchors * heads * input.weights_row(), "weights must be what attend gave");
  require(of_reads.size() == heads * anchors * width, "reads must have the shape that attend gave");
  require(of_totals.size() == heads * anchors, "totals must have the shape that attend gave");
  Output<float> tokens(input.tokens.size() / width, width), scores(input.tokens.size() / width, 2 * heads),
      own(anchors * input.num_own, width), own_scores(anchors * input.num_own, heads),
      positions(input.num_slots, width), position_scores(input.num_slots, heads), gates(2, width);
  without_gil(num_threads, [&](const Workers& workers) {
    attend_backward(
        input, of_weights, of_reads, of_totals,
        {tokens.span, scores.span, own.span, own_scores.span, positions.span, position_scores.span, gates.span},
        workers);
  });
  return {tokens.array, scores.array, own.array, own_scores.array, positions.array, position_scores.array, gates.array};
}

WeightedSumsInput view_weighted(const std::vector<AnyArray>& parts, const AnyArray& rows, const AnyArray& present,
                                const AnyArray& weights) {
  require(!parts.empty(), "parts is empty; rows must have channels");
  require_layout(parts[0], "a part of rows", 2);
  require_layout(rows, "rows", 2);
  require_layout(weights, "weights", 3);
  WeightedSumsInput input{.num_anchors = rows.shape(0),
                          .num_slots = rows.shape(1),
                          .num_weights = weights.shape(2),
                          .num_rows = parts[0].shape(0),
                          .parts = {},
                          .rows = view<std::int64_t>(rows, "rows", 2),
                          .present = view<std::uint8_t>(present, "present", 2),
                          .weights = view<float>(weights, "weights", 3)};
  for (const AnyArray& part : parts) {
    const auto values = view<float>(part, "a part of rows", 2);
    require(part.shape(0) == input.num_rows, "all parts must have as many rows");
    require(part.shape(1) % 16 == 0,
            "a part of rows is " + std::to_string(part.shape(1)) + " wide; it must be a multiple of 16");
    input.parts.push_back({values, part.shape(1)});
  }
  require(input.present.size() == input.rows.size(), "present must have an entry for each of rows");
  require(weights.shape(0) == input.num_anchors && weights.shape(1) == input.num_slots,
          "weights must have an entry for each of rows");
  return input;
}

Owned<float> bind_sum_weighted(const std::vector<AnyArray>& parts, const AnyArray& rows, const AnyArray& present,
                               const AnyArray& weights, int num_threads) {
  const WeightedSumsInput input = view_weighted(parts, rows, present, weights);
  Output<float> sums(input.num_weights * input.num_anchors, input.width());
  without_gil(num_threads, [&](const Workers& workers) { sum_weighted(input, sums.span, workers); });
  return sums.array;
}

// The gradients by the weights, and by the parts that are asked for.
std::vector<Owned<float>> bind_sum_weighted_backward(const std::vector<AnyArray>& parts, const AnyArray& rows,
                                                     const AnyArray& present, const AnyArray& weights,
                                                     const AnyArray& by_sums, const std::vector<bool>& asked,
                                                     int num_threads) {
  const WeightedSumsInput input = view_weighted(parts, rows, present, weights);
  const auto upstream = view<float>(by_sums, "by_sums", 2);
  require(upstream.size() == input.num_weights * input.num_anchors * input.width(),
          "by_sums must have the shape of the sums");
  require(asked.size() == parts.size(), "asked must have an entry for each part");
  Output<float> by_weights(input.num_anchors * input.num_slots, input.num_weights);
  std::vector<Owned<float>> found{by_weights.array};
  std::vector<std::span<float>> by_parts;
  for (std::size_t p = 0; p < parts.size(); ++p) {
    Output<float> by_part(asked[p] ? input.num_rows : 0, input.parts[p].width);
    found.push_back(by_part.array);
    by_parts.push_back(by_part.span);
  }
  without_gil(num_threads, [&](const Workers& workers) {
    sum_weighted_backward(input, upstream, by_weights.span, by_parts, workers);
  });
  return found;
}

}  // namespace

void define_training(nb::module_& module) {
  module.def("attend", &bind_attend, "arrays"_a, nb::kw_only(), "num_threads"_a = 0);
  module.def("attend_backward", &bind_attend_backward, "arrays"_a, "weights"_a, "reads"_a, "totals"_a, nb::kw_only(),
             "num_threads"_a = 0);
  module.def("dropout", &bind_plain_dropout, "values"_a, "bytes"_a, "num_dropped"_a, nb::kw_only(),
             "num_threads"_a = 0);
  module.def("gelu_dropout", &bind_gelu_dropout, "values"_a, "bytes"_a, "num_dropped"_a, nb::kw_only(),
             "num_threads"_a = 0);
  module.def("gelu_dropout_backward", &bind_gelu_dropout_backward, "values"_a, "bytes"_a, "num_dropped"_a, "upstream"_a,
             nb::kw_only(), "num_threads"_a = 0);
  module.def("sum_weighted", &bind_sum_weighted, "parts"_a, "rows"_a, "present"_a, "weights"_a, nb::kw_only(),
             "num_threads"_a = 0);
  module.def("sum_weighted_backward", &bind_sum_weighted_backward, "parts"_a, "rows"_a, "present"_a, "weights"_a,
             "by_sums"_a, "asked"_a, nb::kw_only(), "num_threads"_a = 0);
  module.def("softmax_loss", &bind_softmax_loss, "queries"_a, "candidates"_a, "log_q"_a, "columns"_a,
             "seen"_a.none() = nb::none(), "others"_a.none() = nb::none(), nb::kw_only(), "num_threads"_a = 0);
}

}  // namespace omnisage
