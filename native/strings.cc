#include "strings.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace omnisage {
namespace {

constexpr std::size_t kStringsPerChunk = 1 << 14;
constexpr std::size_t kFew = 8;  // so few are compared as they are

struct Item {
  std::uint64_t word;
  std::uint32_t number;
  bool operator<(const Item& other) const { return word != other.word ? word < other.word : number < other.number; }
};

// Items begin .. end - 1 agree in the bytes before `depth`, and none is shorter than that.
struct Group {
  std::size_t begin, end, depth;
};

constexpr std::size_t kBytesPerWord = 7;
constexpr std::uint64_t kGoesOn = 8;

// The seven bytes from `depth` on, the first one highest, above the number of bytes left from there, or kGoesOn if it
// is more than seven: integers that order as the strings do.
std::uint64_t word_at(StringKeys::Key key, std::size_t depth) {
  const std::size_t left = key.size - depth;
  std::uint64_t bytes = 0;
  if (left != 0) std::memcpy(&bytes, key.data + depth, std::min<std::size_t>(left, 8));
  constexpr std::uint64_t kLowest = 0xFF;
  return (__builtin_bswap64(bytes) & ~kLowest) | std::min<std::uint64_t>(left, kGoesOn);
}

bool goes_on(std::uint64_t word) { return (word & 0xFF) == kGoesOn; }

int compare(StringKeys::Key left, StringKeys::Key right) {
  const std::size_t both = std::min(left.size, right.size);
  const int order = both == 0 ? 0 : std::memcmp(left.data, right.data, both);
  return order != 0 ? order : (left.size > right.size ? 1 : 0) - (left.size < right.size ? 1 : 0);
}

// Sorts the items of a group by their next word, and leaves to `later` those that it does not tell apart.
void sort_group(const StringKeys::Batch& strings, std::span<Item> items, const Group& group,
                std::vector<Group>& later) {
  const auto key_of = [&](const Item& item) { return StringKeys::at(strings, item.number); };
  const std::span of_group = items.subspan(group.begin, group.end - group.begin);
  if (of_group.size() <= kFew) {
    std::sort(of_group.begin(), of_group.end(), [&](const Item& left, const Item& right) {
      const int order = compare(key_of(left), key_of(right));
      return order != 0 ? order < 0 : left.number < right.number;
    });
    return;
  }
  bool all_agree = true;
  for (Item& item : of_group) {
    item.word = word_at(key_of(item), group.depth);
    all_agree = all_agree && item.word == of_group.front().word;
  }
  if (!all_agree) std::sort(of_group.begin(), of_group.end());
  for (std::size_t begin = group.begin; begin < group.end;) {
    std::size_t end = begin + 1;
    while (end < group.end && items[end].word == items[begin].word) ++end;
    if (end - begin > 1 && goes_on(items[begin].word)) later.push_back({begin, end, group.depth + kBytesPerWord});
    begin = end;
  }
}

}  // namespace

std::vector<std::uint32_t> sort_strings(const StringKeys::Batch& strings, const Workers& workers) {
  const std::size_t size = StringKeys::size(strings);
  if (size > kUnknown) throw std::length_error("more than 4294967295 strings");
  std::vector<Item> items(size);
  for (std::size_t i = 0; i < size; ++i) items[i].number = static_cast<std::uint32_t>(i);
  std::vector<Group> later{{0, size, 0}};
  while (!later.empty()) {
    if (workers.interrupted && later.back().end - later.back().begin > kStringsPerChunk && workers.interrupted()) {
      throw Interrupted();
    }
    const Group group = later.back();
    later.pop_back();
    sort_group(strings, items, group, later);
  }
  std::vector<std::uint32_t> numbers(size);
  for (std::size_t i = 0; i < size; ++i) numbers[i] = items[i].number;
  return numbers;
}

void place_strings(const StringKeys::Batch& strings, const StringKeys::Batch& bounds, std::span<std::uint8_t> places,
                   const Workers& workers) {
  parallel_for(places.size(), kStringsPerChunk, workers, [&](std::size_t, std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const auto key = StringKeys::at(strings, i);
      std::size_t first = 0, last = StringKeys::size(bounds);
      while (first < last) {
        const std::size_t middle = (first + last) / 2;
        const bool is_above = compare(StringKeys::at(bounds, middle), key) > 0;
        (is_above ? last : first) = is_above ? middle : middle + 1;
      }
      places[i] = static_cast<std::uint8_t>(first);
    }
  });
}

}  // namespace omnisage
