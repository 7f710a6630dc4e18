// Tables of the user's own ids.
#include <limits>
#include <mutex>
#include <string>
#include <tuple>
#include <utility>

#include "bindings.hpp"
#include "strings.hpp"

namespace omnisage {
namespace {

using namespace nb::literals;

// An IdTable that several Python threads may share: they take turns.
template <typename Keys>
class BoundIds {
 protected:
  Owned<std::uint32_t> add_batch(const typename Keys::Batch& batch, std::optional<std::uint64_t> max_bytes,
                                 int num_threads) {
    std::vector<std::uint32_t> ids(Keys::size(batch));
    without_gil(num_threads, [&](const Workers& workers) {
      const std::lock_guard<std::mutex> lock(mutex_);
      table_.add(batch, ids, workers, max_bytes.value_or(std::numeric_limits<std::size_t>::max()));
    });
    return to_numpy(std::move(ids));
  }

  Owned<std::uint32_t> find_batch(const typename Keys::Batch& batch, int num_threads) {
    std::vector<std::uint32_t> ids(Keys::size(batch));
    without_gil(num_threads, [&](const Workers& workers) {
      const std::lock_guard<std::mutex> lock(mutex_);
      table_.find(batch, ids, workers);
    });
    return to_numpy(std::move(ids));
  }

  std::size_t table_bytes() {
    nb::gil_scoped_release released;
    const std::lock_guard<std::mutex> lock(mutex_);
    return table_.num_bytes();
  }

  Keys release_keys() {
    nb::gil_scoped_release released;
    const std::lock_guard<std::mutex> lock(mutex_);
    return table_.release();
  }

 private:
  std::mutex mutex_;
  IdTable<Keys> table_;
};

class BoundIntegerIds : public BoundIds<IntegerKeys> {
 public:
  Owned<std::uint32_t> add(const AnyArray& keys, std::optional<std::uint64_t> max_bytes, int num_threads) {
    return add_batch(view<std::uint64_t>(keys, "keys"), max_bytes, num_threads);
  }
  Owned<std::uint32_t> find(const AnyArray& keys, int num_threads) {
    return find_batch(view<std::uint64_t>(keys, "keys"), num_threads);
  }
  std::size_t num_bytes() { return table_bytes(); }
  Owned<std::uint64_t> release() { return to_numpy(std::move(release_keys().values)); }
};

class BoundStringIds : public BoundIds<StringKeys> {
 public:
  Owned<std::uint32_t> add(const AnyArray& data, const AnyArray& offsets, std::optional<std::uint64_t> max_bytes,
                           int num_threads) {
    return add_batch(view_strings(data, offsets), max_bytes, num_threads);
  }
  Owned<std::uint32_t> find(const AnyArray& data, const AnyArray& offsets, int num_threads) {
    return find_batch(view_strings(data, offsets), num_threads);
  }
  std::size_t num_bytes() { return table_bytes(); }
  std::tuple<Owned<std::uint8_t>, Owned<std::int64_t>> release() {
    StringKeys keys = release_keys();
    return {to_numpy(std::move(keys.data)), to_numpy(std::move(keys.offsets))};
  }
};

Owned<std::uint8_t> bind_deal_integers(const AnyArray& keys, int num_threads) {
  const auto values = view<std::uint64_t>(keys, "keys");
  std::vector<std::uint8_t> buckets(values.size());
  without_gil(num_threads, [&](const Workers& workers) { deal_keys<IntegerKeys>(values, buckets, workers); });
  return to_numpy(std::move(buckets));
}

Owned<std::uint8_t> bind_deal_strings(const AnyArray& data, const AnyArray& offsets, int num_threads) {
  const StringKeys::Batch strings = view_strings(data, offsets);
  std::vector<std::uint8_t> buckets(StringKeys::size(strings));
  without_gil(num_threads, [&](const Workers& workers) { deal_keys<StringKeys>(strings, buckets, workers); });
  return to_numpy(std::move(buckets));
}

Owned<std::uint32_t> bind_sort_strings(const AnyArray& data, const AnyArray& offsets) {
  const StringKeys::Batch strings = view_strings(data, offsets);
  return to_numpy(without_gil(1, [&](const Workers& workers) { return sort_strings(strings, workers); }));
}

using StringArrays = std::tuple<AnyArray, AnyArray>;  // data, offsets

Owned<std::uint8_t> bind_place_strings(const AnyArray& data, const AnyArray& offsets, const StringArrays& bounds,
                                       int num_threads) {
  const StringKeys::Batch strings = view_strings(data, offsets);
  const StringKeys::Batch ends = view_strings(std::get<0>(bounds), std::get<1>(bounds));
  require(StringKeys::size(ends) < 256,
          "bounds has " + std::to_string(StringKeys::size(ends)) + " strings; 255 at most");
  std::vector<std::uint8_t> places(StringKeys::size(strings));
  without_gil(num_threads, [&](const Workers& workers) { place_strings(strings, ends, places, workers); });
  return to_numpy(std::move(places));
}

}  // namespace

void define_ids(nb::module_& module) {
  nb::class_<BoundIntegerIds>(module, "IntegerIds")
      .def(nb::init<>())
      .def("add", &BoundIntegerIds::add, "keys"_a, nb::kw_only(), "max_bytes"_a.none() = nb::none(),
           "num_threads"_a = 0)
      .def("find", &BoundIntegerIds::find, "keys"_a, nb::kw_only(), "num_threads"_a = 0)
      .def("num_bytes", &BoundIntegerIds::num_bytes)
      .def("release", &BoundIntegerIds::release);
  nb::class_<BoundStringIds>(module, "StringIds")
      .def(nb::init<>())
      .def("add", &BoundStringIds::add, "data"_a, "offsets"_a, nb::kw_only(), "max_bytes"_a.none() = nb::none(),
           "num_threads"_a = 0)
      .def("find", &BoundStringIds::find, "data"_a, "offsets"_a, nb::kw_only(), "num_threads"_a = 0)
      .def("num_bytes", &BoundStringIds::num_bytes)
      .def("release", &BoundStringIds::release);
  module.def("deal_integers", &bind_deal_integers, "keys"_a, nb::kw_only(), "num_threads"_a = 0);
  module.def("deal_strings", &bind_deal_strings, "data"_a, "offsets"_a, nb::kw_only(), "num_threads"_a = 0);
  module.def("sort_strings", &bind_sort_strings, "data"_a, "offsets"_a);
  module.def("place_strings", &bind_place_strings, "data"_a, "offsets"_a, "bounds"_a, nb::kw_only(),
             "num_threads"_a = 0);
}

}  // namespace omnisage
