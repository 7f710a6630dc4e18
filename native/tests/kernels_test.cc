// Runs every kernel on several threads, for the sanitizers (native/run_sanitizers.sh); what kernels compute is
// tested from Python in tests/native. Ends with status 1 at the first expectation that fails.
#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "attention.hpp"
#include "bags.hpp"
#include "best.hpp"
#include "components.hpp"
#include "csr.hpp"
#include "dropout.hpp"
#include "forward_push.hpp"
#include "gather.hpp"
#include "hash.hpp"
#include "ids.hpp"
#include "in_lists.hpp"
#include "ngrams.hpp"
#include "prune.hpp"
#include "random_walks.hpp"
#include "residuals.hpp"
#include "select.hpp"
#include "sketch.hpp"
#include "softmax.hpp"
#include "strings.hpp"
#include "topk.hpp"
#include "typed_graph.hpp"
#include "weighted_sums.hpp"

namespace omnisage {
namespace {

const Workers kOne{1, {}};
const Workers kFour{4, {}};

void expect(bool condition, const std::string& what) {
  if (condition) return;
  std::fprintf(stderr, "failed: %s\n", what.c_str());
  std::exit(1);
}

template <typename Error, typename Call>
void expect_throws(Call&& call, const std::string& what) {
  try {
    call();
  } catch (const Error&) {
    return;
  }
  expect(false, what);
}

std::vector<std::uint32_t> random_ids(std::size_t count, std::uint32_t bound, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::uint32_t> ids(count);
  // The product of two draws falls on small ids more often, which makes hubs.
  for (auto& id : ids) id = static_cast<std::uint32_t>(std::uint64_t{random() % bound} * (random() % bound) / bound);
  return ids;
}

Csr make_lists(std::size_t num_rows, std::size_t num_columns, bool is_symmetric, const Workers& workers) {
  const auto source = random_ids(300'000, static_cast<std::uint32_t>(num_rows), 1);
  const auto target = random_ids(300'000, static_cast<std::uint32_t>(num_columns), 2);
  const std::vector<float> weights(source.size(), 0.5f);
  const std::vector<EdgeChunk> chunks{{source, target, weights}};
  return build_csr({chunks, num_rows, num_columns, is_symmetric, 0, num_rows}, workers);
}

CsrView view(const Csr& csr) { return {csr.indptr, csr.indices, csr.weights}; }

void test_hash() {
  static_assert(splitmix64(0) == 0xE220A8397B1DCDAFu);
  static_assert(pair_hash(1, 2, 3) != pair_hash(1, 3, 2));
}

void test_parallel_for() {
  std::vector<int> visits(1000, 0);
  parallel_for(visits.size(), 7, kFour, [&](std::size_t, std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) ++visits[i];
  });
  expect(visits == std::vector<int>(1000, 1), "every item is visited once");
  parallel_for(0, 7, kFour, [&](std::size_t, std::size_t, std::size_t) { expect(false, "no items, no calls"); });

  const auto fail = [](std::size_t, std::size_t begin, std::size_t) {
    if (begin > 100) throw std::runtime_error("broken");
  };
  expect_throws<std::runtime_error>([&] { parallel_for(1000, 7, kFour, fail); }, "an exception leaves the threads");

  const Workers stopped{4, [] { return true; }};
  const auto slow = [](std::size_t, std::size_t, std::size_t) {
    std::this_thread::sleep_for(std::chrono::milliseconds(120));
  };
  expect_throws<Interrupted>([&] { parallel_for(1000, 1, stopped, slow); }, "an interruption ends the work");
}

void test_csr_and_prune() {
  for (const bool is_symmetric : {false, true}) {
    const Csr one = make_lists(3000, 3000, is_symmetric, kOne);
    const Csr four = make_lists(3000, 3000, is_symmetric, kFour);
    expect(one.indptr == four.indptr && one.indices == four.indices && one.weights == four.weights, "build_csr");
    const PruneRule rule{0.5, 2, 20, 7, is_symmetric ? PairOrder::kSmallerFirst : PairOrder::kRowLast};
    const Csr pruned = prune(view(one), rule, kOne);
    expect(pruned.indices == prune(view(one), rule, kFour).indices, "prune");
    expect(pruned.indices.size() < one.indices.size(), "prune drops edges");
    check_csr(view(pruned), 3000, kFour);
    expect_throws<std::out_of_range>([&] { check_csr(view(pruned), 10, kFour); }, "an index out of range");
  }
}

void test_partition() {
  const auto source = random_ids(300'000, 3000, 1);
  const auto target = random_ids(300'000, 500, 2);
  const std::vector<float> weights(source.size(), 0.5f);
  const std::vector<EdgeChunk> chunks{{source, target, weights}};
  const Csr whole = build_csr({chunks, 3000, 500, false, 0, 3000}, kFour);
  const std::vector<std::uint64_t> bounds{0, 10, 10, 900, 3000};
  const Partition parts = partition({chunks, 3000, 500, false, 0, 3000}, bounds, kFour);
  std::vector<std::uint32_t> indices;
  std::vector<float> sums;
  for (std::size_t range = 0; range + 1 < bounds.size(); ++range) {
    const std::size_t begin = parts.starts[range];
    const std::size_t count = parts.starts[range + 1] - begin;
    const std::vector<EdgeChunk> of_range{{std::span(parts.rows).subspan(begin, count),
                                           std::span(parts.columns).subspan(begin, count),
                                           std::span(parts.weights).subspan(begin, count)}};
    const Csr lists = build_csr({of_range, 3000, 500, false, bounds[range], bounds[range + 1]}, kFour);
    const Csr again = build_csr({chunks, 3000, 500, false, bounds[range], bounds[range + 1]}, kFour);
    expect(lists.indptr == again.indptr && lists.indices == again.indices, "rows outside the range are left out");
    indices.insert(indices.end(), lists.indices.begin(), lists.indices.end());
    sums.insert(sums.end(), lists.weights.begin(), lists.weights.end());
  }
  expect(indices == whole.indices && sums == whole.weights, "ranges of rows built by themselves");
  const std::vector<std::uint64_t> few{0, 10};
  expect_throws<std::out_of_range>([&] { partition({chunks, 10, 500, false, 0, 10}, few, kFour); },
                                   "a row out of range");
}

void test_ids() {
  std::vector<std::uint64_t> integers(100'000);
  for (std::size_t i = 0; i < integers.size(); ++i) integers[i] = splitmix64(i % 30'000);
  std::vector<std::uint8_t> data;
  std::vector<std::int64_t> offsets{0};
  for (const std::uint64_t integer : integers) {
    const std::string text = std::to_string(integer >> integer % 60);
    data.insert(data.end(), text.begin(), text.end());
    offsets.push_back(static_cast<std::int64_t>(data.size()));
  }
  IdTable<IntegerKeys> one, four;
  IdTable<StringKeys> texts;
  std::vector<std::uint32_t> ids(integers.size()), again(integers.size());
  one.add(integers, ids, kOne);
  four.add(integers, again, kFour);
  expect(ids == again && one.size() == 30'000 && ids[30'000] == 0, "integer ids");
  texts.add({data, offsets}, ids, kFour);
  texts.find({data, offsets}, again, kFour);
  expect(ids == again, "string ids");
  const std::vector<std::uint32_t> order = sort_strings({data, offsets}, kOne);
  std::vector<std::uint8_t> parts(order.size()), places(order.size());
  deal_keys<StringKeys>({data, offsets}, parts, kFour);
  place_strings({data, offsets}, {data, std::span(offsets).first(1)}, places, kFour);
  expect(order.size() == ids.size() && places == std::vector<std::uint8_t>(ids.size(), 0), "string order");
  IdTable<StringKeys> few;
  few.add({data, offsets}, again, kFour, 100'000);
  expect(few.size() > 0 && few.num_bytes() <= 100'000 && few.size() < texts.size(), "a full table");
  const StringKeys keys = texts.release();
  expect(keys.size() > 1000 && texts.size() == 0, "keys are released");
  texts.find({data, offsets}, again, kFour);
  expect(again == std::vector<std::uint32_t>(integers.size(), kUnknown), "an empty table knows nothing");
}

void test_select() {
  for (const std::size_t size : {1u, 2u, 3u, 12u, 13u, 100u, 1000u}) {
    for (const std::uint64_t range : {~std::uint64_t{0}, std::uint64_t{5}, std::uint64_t{1}}) {
      for (const bool is_sorted : {false, true}) {
        std::vector<std::uint64_t> keys(size);
        for (std::size_t i = 0; i < size; ++i) keys[i] = splitmix64(size + i) % range;
        std::vector<std::uint64_t> sorted = keys;
        std::sort(sorted.begin(), sorted.end(), std::greater<>());
        if (is_sorted) keys = sorted;
        for (const std::size_t k : {std::size_t{1}, (size + 1) / 2, std::size_t{size}}) {
          std::vector<std::uint64_t> selected = keys;
          select_largest(selected, k);
          expect(selected[k - 1] == sorted[k - 1], "the k-th largest");
          std::sort(selected.begin(), selected.begin() + static_cast<std::ptrdiff_t>(k), std::greater<>());
          expect(std::equal(selected.begin(), selected.begin() + static_cast<std::ptrdiff_t>(k), sorted.begin()),
                 "select_largest");
        }
        sort_falling(keys);
        expect(keys == sorted, "sort_falling");
      }
    }
  }
}

void test_typed_graph() {
  const Csr lists = make_lists(3000, 2000, false, kFour);
  const CsrView fewer{std::span(lists.indptr).first(2001), std::span(lists.indices).first(lists.indptr[2000]), {}};
  const std::vector<Adjacency> adjacencies{{"a", 0, 1, view(lists)}, {"b", 0, 1, fewer}};  // "b" ends before the type
  const TypedGraph one({3000, 2000}, adjacencies, kOne);
  const TypedGraph four({3000, 2000}, adjacencies, kFour);
  expect(std::equal(one.indices().begin(), one.indices().end(), four.indices().begin(), four.indices().end()), "lists");
  for (std::uint32_t number = 0; number < 5000; ++number) {
    const std::size_t type = one.type_of(number);
    expect(one.internal(type, one.external(number)) == number, "numbers go there and back");
    expect(number == 0 || one.degree(number - 1) >= one.degree(number), "degrees fall");
    for (const std::uint32_t limit : {0u, 1u, 50u, 40'000u}) {
      const bool is_within = one.degree(number) >= 1 && one.degree(number) <= limit;
      expect(one.has_degree_within(number, limit) == is_within, "has_degree_within");
    }
  }
  expect_throws<std::invalid_argument>([&] { TypedGraph({3000, 10}, {{"a", 0, 1, fewer}}, kFour); },
                                       "an id out of range");
}

void test_forward_push() {
  const Csr forward = make_lists(4000, 2000, false, kFour);
  const Csr within = make_lists(4000, 4000, true, kFour);
  const Csr backward{std::vector<std::uint64_t>(2001, 0), {}, {}};  // entities that keep their residual
  const TypedGraph graph({4000, 2000},
                         {{"a", 0, 1, view(forward)}, {"b", 0, 0, view(within)}, {"c", 1, 0, view(backward)}}, kFour);
  std::vector<std::uint32_t> sources(500);
  for (std::size_t i = 0; i < sources.size(); ++i) sources[i] = static_cast<std::uint32_t>(i * 8);
  const std::vector<std::size_t> take{5, 3};
  std::vector<std::uint32_t> ids[2];
  std::vector<float> weights(sources.size() * 8);
  std::vector<std::uint32_t> counts(sources.size() * 2);
  std::vector<float> mass(sources.size());
  std::vector<std::uint32_t> pushes(sources.size());
  const InLists in_lists(graph, kOne), same(graph, kFour);
  expect(!in_lists.is_symmetric() && in_lists.degree(5000) == same.degree(5000), "lists entities are in");
  const Components components(graph, in_lists, kFour);
  for (const PushRule rule : {PushRule{0.15, 0.1},
                              {0.15, 1e-3},
                              {0.15, 0.1, &components},
                              {0.15, 1e-3, &components},
                              {0.15, 0.1, &components, &in_lists, 40},
                              {0.15, 1e-3, &components, &in_lists, 40}}) {
    for (const int run : {0, 1}) {
      ids[run].resize(sources.size() * 8);
      forward_push(graph, 0, sources, rule, take, {ids[run], weights, counts, mass, pushes}, run == 0 ? kOne : kFour);
    }
    expect(ids[0] == ids[1], "forward_push");
    expect(!push_state(graph, 5, rule).entities.empty(), "push_state");
    const Newcomer newcomer{{{3, 1, 1.0f}, {4500, 2, 0.5f}}};
    push_newcomer(graph, newcomer, rule, take,
                  {std::span(ids[0]).first(8), std::span(weights).first(8), std::span(counts).first(2),
                   std::span(mass).first(1), std::span(pushes).first(1)});
    expect(pushes[0] > 0 && weights[0] > 0, "push_newcomer");
  }
}

// What an array of residuals does, a hash table does too, also while it grows.
void test_residuals() {
  DenseResiduals dense(5000);
  HashedResiduals hashed(64);
  for (const int round : {0, 1}) {
    const auto entities = random_ids(3000, 5000, static_cast<unsigned>(round));
    for (const std::uint32_t entity : entities) {
      const float before = DenseResiduals::Adder(dense, 1).add(entity, 0.5f);
      expect(before == HashedResiduals::Adder(hashed, 1).add(entity, 0.5f), "add");
      expect(dense.get(entity) == before + 0.5f && hashed.get(entity) == before + 0.5f, "get");
      if (entity % 7 != 0) continue;
      dense.set(entity, kPushed);
      hashed.set(entity, kPushed);
    }
    std::vector<std::pair<std::uint32_t, float>> reached[4];
    dense.for_each([&](std::uint32_t entity, float residual) { reached[0].emplace_back(entity, residual); });
    hashed.for_each([&](std::uint32_t entity, float residual) { reached[1].emplace_back(entity, residual); });
    expect(reached[0] == reached[1] && !reached[0].empty(), "residuals in the order of arrival");
    dense.drain([&](std::uint32_t entity, float residual) { reached[2].emplace_back(entity, residual); });
    hashed.drain([&](std::uint32_t entity, float residual) { reached[3].emplace_back(entity, residual); });
    expect(reached[2] == reached[0] && reached[3] == reached[0], "drain tells what for_each does");
    dense.for_each([&](std::uint32_t, float) { expect(false, "drain leaves nothing"); });
    hashed.for_each([&](std::uint32_t, float) { expect(false, "drain leaves nothing"); });
  }
}

// The chance of each entry that an alias table gives, from its keep and other fields.
std::vector<double> chances(const AliasTables& alias, std::size_t size) {
  std::vector<double> result(size, 0.0);
  for (std::size_t i = 0; i < size; ++i) {
    const double kept = (alias[i].keep + 1.0) / 4294967296.0;
    result[i] += kept / static_cast<double>(size);
    result[alias[i].other] += (1 - kept) / static_cast<double>(size);
  }
  return result;
}

void test_alias_tables() {
  const Csr lists{{0, 5}, {0, 1, 2, 3, 4}, {1e-6f, 3, 1, 1e6f, 2}};
  const TypedGraph graph({1, 5}, {{"a", 0, 1, view(lists)}}, kFour);
  const std::vector<double> found = chances(AliasTables(graph, kFour), 5);
  for (std::size_t i = 0; i < 5; ++i) {
    const double expected = graph.weights()[i] / graph.total_weight(0);
    expect(found[i] > expected - 1e-9 && found[i] < expected + 1e-9, "alias tables");
  }
}

void test_random_walks() {
  const Csr forward = make_lists(4000, 2000, false, kFour);  // weighted
  const Csr within = make_lists(4000, 4000, true, kFour);
  const Csr backward{std::vector<std::uint64_t>(2001, 0), {}, {}};  // entities where walks end
  const TypedGraph graph({4000, 2000},
                         {{"a", 0, 1, view(forward)}, {"b", 0, 0, view(within)}, {"c", 1, 0, view(backward)}}, kFour);
  const AliasTables alias(graph, kFour);
  const WalkRule rule{0.3, 13, 6, 7};
  std::vector<std::uint32_t> sources(300);
  for (std::size_t i = 0; i < sources.size(); ++i) sources[i] = static_cast<std::uint32_t>(i * 13);
  const std::vector<std::size_t> take{5, 3};
  std::vector<std::uint32_t> ids[2], best[2];
  for (const int run : {0, 1}) {
    const Workers& workers = run == 0 ? kOne : kFour;
    ids[run].resize(sources.size() * 13 * 7);
    std::vector<std::uint8_t> types(ids[run].size());
    random_walks(graph, alias, 0, sources, rule, {ids[run], types}, workers);
    best[run].resize(sources.size() * 8);
    std::vector<float> weights(best[run].size()), mass(sources.size());
    std::vector<std::uint32_t> counts(sources.size() * 2);
    most_visited(graph, alias, 0, sources, rule, take, {best[run], weights, counts, mass}, workers);
  }
  expect(ids[0] == ids[1] && best[0] == best[1], "random_walks");
  const std::vector<std::uint32_t> unknown{4000};
  expect_throws<std::out_of_range>([&] { random_walks(graph, alias, 0, unknown, rule, {}, kOne); }, "unknown source");
}

void test_rows() {
  const std::vector<float> scores = [] {
    std::vector<float> values(50 * 333);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(splitmix64(i) % 100);
    return values;
  }();
  std::vector<float> values(50 * 400);
  std::vector<std::uint32_t> indices(50 * 400);
  topk(scores, 333, 400, values, indices, kFour);
  expect(indices[399] == kEmpty && values[0] >= values[1], "topk");

  const auto ids = random_ids(20'000, 50, 3);
  std::vector<float> gathered(ids.size() * 333);
  gather(std::span<const float>(scores), 333, ids, gathered, kFour);
  expect(gathered[333] == scores[ids[1] * 333], "gather");
  const std::vector<Half> halves(50 * 333, Half{0xC000});
  gather(std::span<const Half>(halves), 333, ids, gathered, kFour);
  expect(gathered.back() == -2.0f, "gather of half precision");
  const std::vector<std::uint32_t> wrong{50};
  expect_throws<std::out_of_range>([&] { gather(std::span<const float>(scores), 333, wrong, gathered, kFour); },
                                   "an id out of range");
}

void test_ngrams_and_sketch() {
  std::vector<std::uint8_t> text;
  std::vector<std::int64_t> offsets{0};
  for (std::size_t i = 0; i < 5000; ++i) {
    for (std::size_t byte = 0; byte < splitmix64(i) % 30; ++byte) {
      text.push_back(static_cast<std::uint8_t>(splitmix64(i * 31 + byte)));  // seldom valid UTF-8
    }
    offsets.push_back(static_cast<std::int64_t>(text.size()));
  }
  const Ngrams one = ngram_hashes(text, offsets, kOne);
  expect(one.tokens == ngram_hashes(text, offsets, kFour).tokens && !one.tokens.empty(), "ngram_hashes");

  const SketchShape shape{4, 1000, 9};
  std::vector<std::uint64_t> table(4 * 1000, 0);
  std::vector<std::uint64_t> estimates(one.tokens.size());
  sketch_update(table, shape, one.tokens, std::vector<std::uint64_t>(one.tokens.size(), 2));
  sketch_estimate(table, shape, one.tokens, estimates);
  for (const std::uint64_t estimate : estimates) expect(estimate >= 2, "sketch");
}

std::vector<float> random_floats(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> values(count);
  for (auto& value : values) value = static_cast<float>(random() % 2001) / 1000.0f - 1.0f;
  return values;
}

void test_softmax() {
  constexpr std::size_t kQueries = 150, kWidth = 20;
  for (const std::size_t num_candidates : {std::size_t{99}, kMaxOnePass + 1}) {
    const auto queries = random_floats(kQueries * kWidth, 1), candidates = random_floats(num_candidates * kWidth, 2);
    const std::vector<float> log_q(num_candidates, 0.5f);
    const std::vector<std::int64_t> columns(kQueries, 7), seen_rows{0, 0, 149}, seen_columns{1, 2, 98};
    const SoftmaxInput input{queries, candidates, log_q, columns, seen_rows, seen_columns, {}};
    const auto run = [&](const Workers& workers) {
      std::vector<float> losses(kQueries), of_queries(queries.size()), of_candidates(candidates.size());
      softmax_loss(input, {losses, of_queries, of_candidates}, workers);
      return std::vector{losses, of_queries, of_candidates};
    };
    expect(run(kOne) == run(kFour), "softmax_loss does not depend on threads");
  }
}

void test_attention() {
  constexpr std::size_t kAnchors = 60, kOwn = 2, kSlots = 30, kHeads = 5, kWidth = 208, kEntities = 40;
  const auto ids = random_ids(kAnchors * kSlots, kEntities, 3);
  const std::vector<std::int64_t> neighbors(ids.begin(), ids.end());
  std::vector<std::uint8_t> present(ids.size());
  for (std::size_t i = 0; i < present.size(); ++i) present[i] = splitmix64(i) % 3 != 0;
  const auto tokens = random_floats(kEntities * kWidth, 1), scores = random_floats(kEntities * 2 * kHeads, 2),
             log_weights = random_floats(ids.size(), 3), own = random_floats(kAnchors * kOwn * kWidth, 4),
             own_scores = random_floats(kAnchors * kOwn * kHeads, 5), positions = random_floats(kSlots * kWidth, 6),
             position_scores = random_floats(kSlots * kHeads, 7), gates = random_floats(2 * kWidth, 8),
             factors = random_floats(kAnchors * (kOwn + kSlots) * kHeads, 9),
             by_reads = random_floats(kHeads * kAnchors * kWidth, 10), by_totals = random_floats(kHeads * kAnchors, 11);
  const AttentionInput input{kAnchors,   kOwn,      kSlots,          kHeads,      kWidth,  tokens,
                             {},         scores,    neighbors,       log_weights, present, own,
                             own_scores, positions, position_scores, gates,       factors};
  const auto run = [&](const Workers& workers) {
    std::vector<float> reads(by_reads.size()), totals(by_totals.size()),
        weights(kAnchors * kHeads * input.weights_row());
    attend(input, {reads, totals, weights}, workers);
    std::vector<std::vector<float>> found{reads, totals, weights};
    for (const auto* like : {&tokens, &scores, &own, &own_scores, &positions, &position_scores, &gates}) {
      found.emplace_back(like->size());
    }
    attend_backward(input, weights, by_reads, by_totals,
                    {found[3], found[4], found[5], found[6], found[7], found[8], found[9]}, workers);
    return found;
  };
  expect(run(kOne) == run(kFour), "attention does not depend on threads");

  std::vector<std::uint16_t> brief(tokens.size());
  std::vector<float> rounded(tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    brief[i] = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(tokens[i]) >> 16);
    rounded[i] = std::bit_cast<float>(static_cast<std::uint32_t>(brief[i]) << 16);
  }
  const auto read = [&](const AttentionInput& given) {
    std::vector<float> reads(by_reads.size()), totals(by_totals.size()),
        weights(kAnchors * kHeads * given.weights_row());
    attend(given, {reads, totals, weights}, kFour);
    return std::vector{reads, totals, weights};
  };
  AttentionInput of_brief = input, of_rounded = input;
  of_brief.tokens = {};
  of_brief.brief_tokens = brief;
  of_rounded.tokens = rounded;
  expect(read(of_brief) == read(of_rounded), "tokens in bfloat16 are read as the floats that they are");
}

void test_bags() {
  constexpr std::size_t kValues = 5'000, kHashes = 2, kWidth = 70, kRows = 97;
  std::vector<std::int64_t> values(kValues), offsets;
  for (std::size_t i = 0; i < kValues; ++i) values[i] = static_cast<std::int64_t>(splitmix64(i));
  for (std::size_t i = 0; i <= kValues; i += 5) offsets.push_back(static_cast<std::int64_t>(i));
  std::vector<std::uint32_t> rows(kValues * (kHashes + 1));
  hash_buckets(values, std::vector<std::int64_t>{3, 5, 7}, kRows, rows, kFour);
  const auto table = random_floats(kRows * kWidth, 1), importance = random_floats(kRows * kHashes, 2),
             by_sums = random_floats((offsets.size() - 1) * kWidth, 3);
  const BagsInput input{kHashes, kWidth, kRows, rows, offsets, table, importance};
  const auto run = [&](const Workers& workers) {
    std::vector<float> sums(by_sums.size()), by_table(table.size()), by_importance(importance.size());
    sum_bags(input, sums, workers);
    sum_bags_backward(input, by_sums, by_table, by_importance, workers);
    return std::vector<std::vector<float>>{sums, by_table, by_importance};
  };
  expect(run(kOne) == run(kFour), "sums of bags do not depend on threads");
  rows[7] = kRows;
  std::vector<float> sums(by_sums.size());
  expect_throws<std::out_of_range>([&] { sum_bags(input, sums, kFour); }, "a row that the table lacks is refused");
}

void test_weighted_sums() {
  constexpr std::size_t kAnchors = 30, kSlots = 20, kWeights = 7, kRows = 40;
  const auto ids = random_ids(kAnchors * kSlots, kRows, 3);
  const std::vector<std::int64_t> rows(ids.begin(), ids.end());
  std::vector<std::uint8_t> present(ids.size());
  for (std::size_t i = 0; i < present.size(); ++i) present[i] = splitmix64(i) % 3 != 0;
  const auto narrow = random_floats(kRows * 48, 1), wide = random_floats(kRows * 336, 2),
             weights = random_floats(ids.size() * kWeights, 3),
             by_sums = random_floats(kWeights * kAnchors * (48 + 336), 4);
  const WeightedSumsInput input{kAnchors, kSlots, kWeights, kRows, {{narrow, 48}, {wide, 336}}, rows, present, weights};
  const auto run = [&](const Workers& workers) {
    std::vector<float> sums(by_sums.size()), by_weights(weights.size()), by_wide(wide.size());
    sum_weighted(input, sums, workers);
    sum_weighted_backward(input, by_sums, by_weights, {{}, by_wide}, workers);
    return std::vector<std::vector<float>>{sums, by_weights, by_wide};
  };
  expect(run(kOne) == run(kFour), "weighted sums do not depend on threads");
}

void test_dropout() {
  const auto values = random_floats(100'003, 1);
  std::vector<std::uint8_t> bytes(values.size());
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(splitmix64(i));
  std::vector<float> one(values.size()), four(values.size());
  gelu_dropout(values, bytes, 77, one, kOne);
  gelu_dropout(values, bytes, 77, four, kFour);
  expect(one == four, "gelu_dropout does not depend on threads");
  gelu_dropout_backward(values, bytes, 77, values, four, kFour);
  dropout(values, bytes, 77, four, kFour);
  expect(four[0] == 0.0f || four[0] == values[0] * (256.0f / 179.0f), "dropout keeps the mean");
}

}  // namespace
}  // namespace omnisage

int main() {
  omnisage::test_hash();
  omnisage::test_parallel_for();
  omnisage::test_csr_and_prune();
  omnisage::test_partition();
  omnisage::test_ids();
  omnisage::test_select();
  omnisage::test_typed_graph();
  omnisage::test_residuals();
  omnisage::test_forward_push();
  omnisage::test_alias_tables();
  omnisage::test_random_walks();
  omnisage::test_rows();
  omnisage::test_ngrams_and_sketch();
  omnisage::test_softmax();
  omnisage::test_attention();
  omnisage::test_bags();
  omnisage::test_weighted_sums();
  omnisage::test_dropout();
  std::puts("all kernels passed");
}
