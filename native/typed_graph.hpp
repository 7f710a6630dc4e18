// The part of a typed graph that one walk may use, prepared for walking: one list of neighbors per entity.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "csr.hpp"
#include "huge_pages.hpp"
#include "parallel.hpp"

namespace omnisage {

// The lists of one relation, seen from the entities of one type. Entities behind the last list have none.
struct Adjacency {
  std::string name;  // for messages
  std::uint32_t from_type;
  std::uint32_t to_type;
  CsrView lists;
};

// Entities of all types under one internal number each: those of type 0 first, then type 1, ...; within a type by
// falling degree, equal ones by id. The degree of an entity is the number of entries in its list, which is the
// concatenation of its lists in all adjacencies, in their order.
//
// Falling degrees put the few entities that most edges lead to side by side in memory, and make "degree at most d"
// a comparison of numbers (see forward_push.cc).
//
// Example: types of 2 and 3 entities; adjacency 0 -> 1 with the lists {0}, {0, 2}, adjacency 1 -> 0 with {0, 1}, {},
// {1}: entity 1 of type 0 has degree 2 and gets number 0, entity 0 number 1; type 1 begins at offset 2 and keeps
// its order but for the last two: 2, 4, 3. The list of number 0 is {2, 3}.
class TypedGraph {
 public:
  // Checks every list (see check_csr) and copies it: O(edges) time, 4 bytes per list entry (8 if any adjacency has
  // weights; those without count 1) and 16 (24) per entity. The same for any number of threads.
  //
  // Throws std::invalid_argument if entities do not fit into 32 bits, if there are more lists than entities or
  // 2^32 entries in a list, and what check_csr throws, with the adjacency's name in front.
  TypedGraph(const std::vector<std::size_t>& num_entities, const std::vector<Adjacency>& adjacencies,
             const Workers& workers);

  std::size_t num_types() const { return offsets_.size() - 1; }
  std::size_t num_entities(std::size_t type) const { return offsets_[type + 1] - offsets_[type]; }
  std::size_t num_entities() const { return offsets_.back(); }

  // The internal numbers of a type are offset(type) .. offset(type + 1) - 1.
  std::uint32_t offset(std::size_t type) const { return static_cast<std::uint32_t>(offsets_[type]); }

  // Between the internal number and the type with the id inside it. Types are few, so a scan beats a search.
  std::uint32_t internal(std::size_t type, std::uint32_t id) const { return internal_[offsets_[type] + id]; }
  std::uint32_t external(std::uint32_t internal) const { return external_[internal]; }
  std::size_t type_of(std::uint32_t internal) const {
    std::size_t type = 0;
    while (internal >= offsets_[type + 1]) ++type;
    return type;
  }

  // Throws std::out_of_range, naming the first place, unless all are ids of a type.
  void check_sources(std::size_t type, std::span<const std::uint32_t> sources) const;

  // The list of internal number u is indices()[indptr()[u] : indptr()[u + 1]], in internal numbers; weights run
  // beside it, or are empty if no adjacency has any.
  std::span<const std::uint64_t> indptr() const { return indptr_; }
  std::span<const std::uint32_t> indices() const { return indices_; }
  std::span<const float> weights() const { return weights_; }
  bool is_weighted() const { return !weights_.empty(); }
  std::span<const std::uint32_t> externals() const { return external_; }

  std::uint32_t degree(std::uint32_t internal) const {
    return static_cast<std::uint32_t>(indptr_[internal + 1] - indptr_[internal]);
  }

  static constexpr std::uint32_t kMaxTabled = 1 << 14;

  // Whether an entity's degree is in 1 .. limit; the degree itself, a random access, is looked up for large limits
  // only.
  bool has_degree_within(std::uint32_t internal, std::uint32_t limit) const {
    if (limit >= kMaxTabled) return degree(internal) - 1u < limit;
    const Run* const runs = &runs_[std::size_t{limit} * num_types()];
    for (std::size_t type = 0; type < num_types(); ++type) {
      if (internal - runs[type].first < runs[type].count) return true;
    }
    return false;
  }

  // The sum of the weights in an entity's list; its degree if there are none.
  double total_weight(std::uint32_t internal) const {
    return is_weighted() ? total_weights_[internal] : static_cast<double>(degree(internal));
  }

  // The same of all entities together.
  double total_weight() const { return total_weight_; }

 private:
  void number_entities(const std::vector<Adjacency>& adjacencies, const Workers& workers);
  void copy_lists(const std::vector<Adjacency>& adjacencies, const Workers& workers);

  void find_runs();

  // Entities first .. first + count - 1: those of one type whose degree is in 1 .. limit.
  struct Run {
    std::uint32_t first;
    std::uint32_t count;
  };

  std::vector<std::uint64_t> offsets_;
  std::vector<Run> runs_;                // [kMaxTabled, types] by limit
  std::vector<std::uint32_t> internal_;  // [entities] by offset(type) + id
  std::vector<std::uint32_t> external_;  // [entities] by internal number
  HugeVector<std::uint64_t> indptr_;
  HugeVector<std::uint32_t> indices_;
  HugeVector<float> weights_;
  double total_weight_ = 0;
  std::vector<double> total_weights_;  // [entities], empty if unweighted
};

}  // namespace omnisage
