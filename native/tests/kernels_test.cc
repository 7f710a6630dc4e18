// Runs every kernel on several threads, for the sanitizers (native/run_sanitizers.sh); what kernels compute is
// tested from Python in tests/native. Ends with status 1 at the first expectation that fails.
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "best.hpp"
#include "csr.hpp"
#include "forward_push.hpp"
#include "gather.hpp"
#include "hash.hpp"
#include "ids.hpp"
#include "ngrams.hpp"
#include "prune.hpp"
#include "sketch.hpp"
#include "topk.hpp"

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
  const StringKeys keys = texts.release();
  expect(keys.size() > 1000 && texts.size() == 0, "keys are released");
  texts.find({data, offsets}, again, kFour);
  expect(again == std::vector<std::uint32_t>(integers.size(), kUnknown), "an empty table knows nothing");
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
  for (const double eps : {0.1, 1e-2, 1e-3}) {  // small tables, larger ones, and an array over all entities
    std::vector<std::uint32_t> ids[2];
    for (const int run : {0, 1}) {
      ids[run].resize(sources.size() * 8);
      std::vector<float> weights(ids[run].size());
      std::vector<float> mass(sources.size());
      forward_push(graph, 0, sources, {0.15, eps}, take, {ids[run], weights, mass}, run == 0 ? kOne : kFour);
    }
    expect(ids[0] == ids[1], "forward_push");
    expect(!push_state(graph, 5, {0.15, eps}).entities.empty(), "push_state");
  }
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

}  // namespace
}  // namespace omnisage

int main() {
  omnisage::test_hash();
  omnisage::test_parallel_for();
  omnisage::test_csr_and_prune();
  omnisage::test_partition();
  omnisage::test_ids();
  omnisage::test_forward_push();
  omnisage::test_rows();
  omnisage::test_ngrams_and_sketch();
  std::puts("all kernels passed");
}
