#include "ids.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

namespace omnisage {
namespace {

constexpr std::size_t kKeysPerChunk = 1 << 14;
constexpr std::size_t kPrefetched = 32;  // keys whose cache lines are on their way at a time

std::uint32_t to_fingerprint(std::uint64_t hash) { return static_cast<std::uint32_t>(hash >> 32); }

}  // namespace

std::uint64_t StringKeys::hash(Key key) {
  std::uint64_t hash = key.size;
  std::size_t at = 0;
  for (; at + 8 <= key.size; at += 8) {
    std::uint64_t word;
    std::memcpy(&word, key.data + at, 8);
    hash = splitmix64(hash ^ word);
  }
  std::uint64_t rest = 0;
  if (at < key.size) std::memcpy(&rest, key.data + at, key.size - at);
  return splitmix64(hash ^ rest);
}

template <typename Keys>
std::size_t IdTable<Keys>::probe(typename Keys::Key key, std::uint64_t hash) const {
  std::size_t place = home(hash);
  while (slots_[place].id != kUnknown) {
    if (slots_[place].fingerprint == to_fingerprint(hash) && keys_[slots_[place].id] == key) break;
    place = (place + 1) & (slots_.size() - 1);
  }
  return place;
}

template <typename Keys>
void IdTable<Keys>::find(const Batch& batch, std::span<std::uint32_t> ids, const Workers& workers) const {
  parallel_for(Keys::size(batch), kKeysPerChunk, workers, [&](std::size_t, std::size_t begin, std::size_t end) {
    std::array<std::uint64_t, kPrefetched> hashes;
    for (std::size_t first = begin; first < end; first += kPrefetched) {
      const std::size_t count = std::min(kPrefetched, end - first);
      for (std::size_t i = 0; i < count; ++i) {
        hashes[i] = Keys::hash(Keys::at(batch, first + i));
        __builtin_prefetch(&slots_[home(hashes[i])]);
      }
      for (std::size_t i = 0; i < count; ++i) {
        const Slot& slot = slots_[home(hashes[i])];
        if (slot.id != kUnknown) keys_.prefetch(slot.id);
      }
      for (std::size_t i = 0; i < count; ++i) {
        const Slot& slot = slots_[home(hashes[i])];
        if (slot.id != kUnknown) keys_.prefetch_contents(slot.id);
      }
      for (std::size_t i = 0; i < count; ++i) {
        ids[first + i] = slots_[probe(Keys::at(batch, first + i), hashes[i])].id;
      }
    }
  });
}

template <typename Keys>
void IdTable<Keys>::add(const Batch& batch, std::span<std::uint32_t> ids, const Workers& workers,
                        std::size_t max_bytes) {
  find(batch, ids, workers);
  if (is_full_) return;
  std::vector<std::size_t> unknown;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] == kUnknown) unknown.push_back(i);
  }
  std::vector<std::uint64_t> hashes(unknown.size());
  for (std::size_t i = 0; i < unknown.size() + kPrefetched; ++i) {
    if (i < unknown.size()) {
      hashes[i] = Keys::hash(Keys::at(batch, unknown[i]));
      __builtin_prefetch(&slots_[home(hashes[i])]);
    }
    if (i < kPrefetched) continue;
    const std::size_t at = i - kPrefetched;
    const auto key = Keys::at(batch, unknown[at]);
    const std::size_t place = probe(key, hashes[at]);
    std::uint32_t id = slots_[place].id;
    if (id == kUnknown && !is_full_) {
      is_full_ = !has_room(key, max_bytes);
      if (!is_full_) id = append(key, hashes[at], place);
    }
    ids[unknown[at]] = id;
  }
}

template <typename Keys>
bool IdTable<Keys>::has_room(typename Keys::Key key, std::size_t max_bytes) const {
  const std::size_t of_slots = is_crowded() ? 2 * slots_.size() * sizeof(Slot) : 0;
  return num_bytes() + keys_.growth(key) + of_slots <= max_bytes;
}

template <typename Keys>
std::uint32_t IdTable<Keys>::append(typename Keys::Key key, std::uint64_t hash, std::size_t place) {
  if (size() == kUnknown) throw std::length_error("more than 4294967295 distinct ids of one entity type");
  if (is_crowded()) {
    grow();
    place = probe(key, hash);
  }
  keys_.append(key);
  const auto id = static_cast<std::uint32_t>(size() - 1);
  slots_[place] = {id, to_fingerprint(hash)};
  return id;
}

template <typename Keys>
void IdTable<Keys>::grow() {
  // A key's home needs more of its hash than the slot holds, so it is hashed again.
  std::vector<Slot> larger(slots_.size() * 2);
  std::swap(slots_, larger);
  larger = {};
  std::array<std::uint64_t, kPrefetched> hashes;
  for (std::size_t first = 0; first < size(); first += kPrefetched) {
    const std::size_t count = std::min(kPrefetched, size() - first);
    for (std::size_t i = 0; i < count; ++i) {
      hashes[i] = Keys::hash(keys_[first + i]);
      __builtin_prefetch(&slots_[home(hashes[i])]);
    }
    for (std::size_t i = 0; i < count; ++i) {
      std::size_t place = home(hashes[i]);
      while (slots_[place].id != kUnknown) place = (place + 1) & (slots_.size() - 1);
      slots_[place] = {static_cast<std::uint32_t>(first + i), to_fingerprint(hashes[i])};
    }
  }
}

template <typename Keys>
Keys IdTable<Keys>::release() {
  slots_ = std::vector<Slot>(kMinSlots);
  is_full_ = false;
  return std::exchange(keys_, Keys());
}

template <typename Keys>
void deal_keys(const typename Keys::Batch& batch, std::span<std::uint8_t> buckets, const Workers& workers) {
  parallel_for(buckets.size(), kKeysPerChunk, workers, [&](std::size_t, std::size_t begin, std::size_t end) {
    // Hashed again: the table takes its places from the same hash.
    for (std::size_t i = begin; i < end; ++i) {
      buckets[i] = static_cast<std::uint8_t>(splitmix64(Keys::hash(Keys::at(batch, i))) >> 56);
    }
  });
}

template class IdTable<IntegerKeys>;
template class IdTable<StringKeys>;
template void deal_keys<IntegerKeys>(const IntegerKeys::Batch&, std::span<std::uint8_t>, const Workers&);
template void deal_keys<StringKeys>(const StringKeys::Batch&, std::span<std::uint8_t>, const Workers&);

}  // namespace omnisage
