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

// Entities of all types under one internal number each, by falling degree, equal ones by type and then by id. The
// degree of an entity is the number of entries in its list, which is the concatenation of its lists in all adjacencies,
// in their order.
//
// Falling degrees put the few entities that most edges lead to side by side in memory, and make "degree at most d"
// a comparison of numbers (see first_within).
//
// Example: types of 2 and 3 entities; adjacency 0 -> 1 with the lists {0}, {0, 2}, adjacency 1 -> 0 with {0, 1}, {},
// {1}: in order, the entities are (0, 1) and (1, 0) of degree 2, (0, 0) and (1, 2) of degree 1, (1, 1). The list of
// number 0 is {1, 3}.
class TypedGraph {
 public:
  // Checks every list (see check_csr) and copies it: O(edges) time, 4 bytes per list entry (8 if any adjacency has
  // weights; those without count 1) and 17 (25) per entity. The same for any number of threads.
  //
  // Throws std::invalid_argument if there are more than kMaxTypes types, if entities do not fit into 32 bits, if there
  // are more lists than entities or 2^32 entries in a list, and what check_csr throws, with the adjacency's name in
  // front.
  TypedGraph(const std::vector<std::size_t>& num_entities, const std::vector<Adjacency>& adjacencies,
             const Workers& workers);

  std::size_t num_types() const { return offsets_.size() - 1; }
  std::size_t num_entities(std::size_t type) const { return offsets_[type + 1] - offsets_[type]; }
  std::size_t num_entities() const { return offsets_.back(); }

  // How many entities the types before this one have.
  std::uint32_t offset(std::size_t type) const { return static_cast<std::uint32_t>(offsets_[type]); }

  // Between the internal number and the type with the id inside it.
  std::uint32_t internal(std::size_t type, std::uint32_t id) const { return internal_[offsets_[type] + id]; }
  std::uint32_t external(std::uint32_t internal) const { return external_[internal]; }
  std::uint8_t type_of(std::uint32_t internal) const { return types_[internal]; }

  // Throws std::out_of_range, naming the first place, unless all are ids of a type.
  void check_sources(std::size_t type, std::span<const std::uint32_t> sources) const;

  // The list of internal number u is indices()[indptr()[u] : indptr()[u + 1]], in internal numbers; weights run
  // beside it, or are empty if no adjacency has any.
  std::span<const std::uint64_t> indptr() const { return indptr_; }
  std::span<const std::uint32_t> indices() const { return indices_; }
  std::span<const float> weights() const { return weights_; }
  bool is_weighted() const { return !weights_.empty(); }
  std::span<const std::uint32_t> externals() const { return external_; }
  std::span<const std::uint8_t> types() const { return types_; }

  std::uint32_t degree(std::uint32_t internal) const {
    return static_cast<std::uint32_t>(indptr_[internal + 1] - indptr_[internal]);
  }

  static constexpr std::size_t kMaxTypes = 254;
  static constexpr std::uint32_t kMaxTabled = 1 << 14;

  // For limit = 0 .. kMaxTabled - 1 the first internal number with a degree of at most limit: an entity's degree is in
  // 1 .. limit if its number is from this on and below num_linked(). At 0 a number that nothing reaches.
  const std::uint32_t* first_within() const { return first_within_.data(); }

  // Entities with edges.
  std::uint32_t num_linked() const { return num_linked_; }

  // Whether an entity's degree is in 1 .. limit; the degree itself, a random access, is looked up for large limits
  // only.
  bool has_degree_within(std::uint32_t internal, std::uint32_t limit) const {
    if (limit >= kMaxTabled) return degree(internal) - 1u < limit;
    return internal >= first_within_[limit] && internal < num_linked_;
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

  void table_degrees();

  std::vector<std::uint64_t> offsets_;
  std::vector<std::uint32_t> first_within_;  // [kMaxTabled] by limit
  std::uint32_t num_linked_ = 0;
  HugeVector<std::uint32_t> internal_;  // [entities] by offset(type) + id
  HugeVector<std::uint32_t> external_;  // [entities] by internal number, like all that follows
  HugeVector<std::uint8_t> types_;
  HugeVector<std::uint64_t> indptr_;
  HugeVector<std::uint32_t> indices_;
  HugeVector<float> weights_;
  double total_weight_ = 0;
  std::vector<double> total_weights_;  // [entities], empty if unweighted
};

}  // namespace omnisage
