// Dense numbers for external ids: a hash table from keys (64-bit integers, or strings of bytes) to 0, 1, 2, ...
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

#include "hash.hpp"
#include "parallel.hpp"

namespace omnisage {

inline constexpr std::uint32_t kUnknown = 4294967295u;  // the number of a key that the table does not have

// The capacity that an array takes when `count` elements more do not fit, half of it again: less is copied less often.
template <typename T>
std::size_t grown_capacity(const std::vector<T>& values, std::size_t count) {
  return std::max(values.size() + count, values.capacity() + values.capacity() / 2);
}

// How many bytes an array allocates to take `count` elements more: none while they fit.
template <typename T>
std::size_t growth_of(const std::vector<T>& values, std::size_t count) {
  return values.size() + count <= values.capacity() ? 0 : grown_capacity(values, count) * sizeof(T);
}

template <typename T>
void append_to(std::vector<T>& values, const T* more, std::size_t count) {
  if (values.size() + count > values.capacity()) values.reserve(grown_capacity(values, count));
  values.insert(values.end(), more, more + count);
}

// 64-bit integers, signed or not: keys are equal if their bits are.
struct IntegerKeys {
  using Batch = std::span<const std::uint64_t>;
  using Key = std::uint64_t;

  static std::size_t size(const Batch& batch) { return batch.size(); }
  static Key at(const Batch& batch, std::size_t i) { return batch[i]; }
  static std::uint64_t hash(Key key) { return splitmix64(key); }

  std::size_t size() const { return values.size(); }
  Key operator[](std::size_t id) const { return values[id]; }
  std::size_t num_bytes() const { return values.capacity() * sizeof(values[0]); }
  std::size_t growth(Key) const { return growth_of(values, 1); }
  void append(Key key) { append_to(values, &key, 1); }
  void prefetch(std::size_t id) const { __builtin_prefetch(values.data() + id); }
  void prefetch_contents(std::size_t) const {}

  std::vector<std::uint64_t> values;
};

// Strings of bytes, one after the other: string i is data[offsets[i] : offsets[i + 1]].
struct StringKeys {
  struct Batch {
    std::span<const std::uint8_t> data;
    std::span<const std::int64_t> offsets;
  };
  struct Key {
    const std::uint8_t* data;
    std::size_t size;
    bool operator==(const Key& other) const {
      return size == other.size && (size == 0 || std::memcmp(data, other.data, size) == 0);
    }
  };

  static std::size_t size(const Batch& batch) { return batch.offsets.size() - 1; }
  static Key at(const Batch& batch, std::size_t i) {
    return {batch.data.data() + batch.offsets[i], static_cast<std::size_t>(batch.offsets[i + 1] - batch.offsets[i])};
  }
  static std::uint64_t hash(Key key);

  std::size_t size() const { return offsets.size() - 1; }
  Key operator[](std::size_t id) const {
    return {data.data() + offsets[id], static_cast<std::size_t>(offsets[id + 1] - offsets[id])};
  }
  std::size_t num_bytes() const { return data.capacity() + offsets.capacity() * sizeof(offsets[0]); }
  std::size_t growth(Key key) const { return growth_of(data, key.size) + growth_of(offsets, 1); }
  void append(Key key) {
    append_to(data, key.data, key.size);
    const auto end = static_cast<std::int64_t>(data.size());
    append_to(offsets, &end, 1);
  }
  void prefetch(std::size_t id) const { __builtin_prefetch(offsets.data() + id); }
  void prefetch_contents(std::size_t id) const {
    __builtin_prefetch(data.data() + offsets[id]);
    __builtin_prefetch(data.data() + offsets[id + 1]);  // most keys lie on one line or two
  }

  std::vector<std::uint8_t> data;
  std::vector<std::int64_t> offsets{0};
};

// Numbers distinct keys in the order in which they are first added.
//
// Open addressing with linear probing; a slot of 8 bytes holds the number and half of the hash, so that other keys are
// almost never compared. Beside the keys it takes 11 to 22 bytes per key (twice that while it grows).
//
// Example: add {7, 5, 7} gives 0, 1, 0; find {5, 6} then gives 1, kUnknown.
template <typename Keys>
class IdTable {
 public:
  using Batch = typename Keys::Batch;

  IdTable() : slots_(kMinSlots) {}

  std::size_t size() const { return keys_.size(); }

  // Writes the number of every key, kUnknown where there is none. O(keys), in parallel, cache misses overlapped.
  void find(const Batch& batch, std::span<std::uint32_t> ids, const Workers& workers) const;

  // The same, after giving new keys the next numbers, in the order of the batch and by one thread: numbers do not
  // depend on the threads. Throws std::length_error at the key that would be number 4294967295.
  //
  // The first new key for which the table would take more than max_bytes, even for a moment, is not added, nor is any
  // after it: the table is full, and stays so.
  void add(const Batch& batch, std::span<std::uint32_t> ids, const Workers& workers,
           std::size_t max_bytes = std::numeric_limits<std::size_t>::max());

  std::size_t num_bytes() const { return keys_.num_bytes() + slots_.size() * sizeof(Slot); }

  // The keys by number; leaves the table empty.
  Keys release();

 private:
  struct Slot {
    std::uint32_t id = kUnknown;
    std::uint32_t fingerprint = 0;
  };
  static constexpr std::size_t kMinSlots = 64;

  std::size_t home(std::uint64_t hash) const { return hash & (slots_.size() - 1); }
  std::size_t probe(typename Keys::Key key, std::uint64_t hash) const;
  bool has_room(typename Keys::Key key, std::size_t max_bytes) const;
  bool is_crowded() const { return size() + 1 > slots_.size() / 4 * 3; }
  std::uint32_t append(typename Keys::Key key, std::uint64_t hash, std::size_t place);
  void grow();

  Keys keys_;
  std::vector<Slot> slots_;
  bool is_full_ = false;
};

// Deals keys out to 256 buckets, about equally many distinct ones to each, a key always to the same. O(keys), in
// parallel.
template <typename Keys>
void deal_keys(const typename Keys::Batch& batch, std::span<std::uint8_t> buckets, const Workers& workers);

extern template class IdTable<IntegerKeys>;
extern template class IdTable<StringKeys>;
extern template void deal_keys<IntegerKeys>(const IntegerKeys::Batch&, std::span<std::uint8_t>, const Workers&);
extern template void deal_keys<StringKeys>(const StringKeys::Batch&, std::span<std::uint8_t>, const Workers&);

}  // namespace omnisage
