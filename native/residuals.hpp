// What the push of one source knows of the entities that it reached: a residual each, and which they are.
//
// Two ways to keep it behind one interface. An array over all entities is faster while it fits the processor's cache
// (falling degrees put most of what is reached at the front of each type); a hash table needs no memory per entity.
// Both list the entities in the order in which they were reached, and both are empty again after drain(), at a cost
// of O(reached).
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <utility>
#include <vector>

#include "best.hpp"
#include "huge_pages.hpp"

namespace omnisage {

// After a push the residual of an entity is -0, which is 0 to arithmetic and yet tells that it was reached.
inline constexpr float kPushed = -0.0f;

class DenseResiduals {
 public:
  explicit DenseResiduals(std::size_t num_entities) : residuals_(num_entities, 0.0f) {}

  void prefetch(std::uint32_t entity) const { __builtin_prefetch(&residuals_[entity], 1); }
  float get(std::uint32_t entity) const { return residuals_[entity]; }
  void set(std::uint32_t entity, float residual) { residuals_[entity] = residual; }  // of one that was reached

  // Adds to residuals, for a loop: all that it changes stays in registers. One at a time; goes out of scope before
  // anything else is called.
  class Adder {
   public:
    Adder(DenseResiduals& owner, std::size_t max_adds) : owner_(owner), num_reached_(owner.num_reached_) {
      if (num_reached_ + max_adds > owner.reached_.size()) owner.reached_.resize(2 * (num_reached_ + max_adds));
      residuals_ = owner.residuals_.data();
      reached_ = owner.reached_.data();
    }
    ~Adder() { owner_.num_reached_ = num_reached_; }

    void prefetch(std::uint32_t entity) const { __builtin_prefetch(residuals_ + entity, 1); }

    // Adds an amount above 0; returns what was there before.
    float add(std::uint32_t entity, float amount) {
      const float before = residuals_[entity];
      reached_[num_reached_] = entity;  // overwritten unless the entity is new: no branch that is guessed wrong
      num_reached_ += std::bit_cast<std::uint32_t>(before) == 0 ? 1 : 0;
      residuals_[entity] = before + amount;
      return before;
    }

   private:
    DenseResiduals& owner_;
    float* residuals_;
    std::uint32_t* reached_;
    std::size_t num_reached_;
  };

  // Calls visit(entity, residual) in the order of arrival.
  template <typename Visit>
  void for_each(Visit&& visit) const {
    for (std::size_t i = 0; i < num_reached_; ++i) visit(reached_[i], residuals_[reached_[i]]);
  }

  // Like for_each, and forgets them.
  template <typename Visit>
  void drain(Visit&& visit) {
    for (std::size_t i = 0; i < num_reached_; ++i) visit(reached_[i], std::exchange(residuals_[reached_[i]], 0.0f));
    num_reached_ = 0;
  }

 private:
  HugeVector<float> residuals_;        // [entities], +0: not reached
  HugeVector<std::uint32_t> reached_;  // the first num_reached_
  std::size_t num_reached_ = 0;
};

class HashedResiduals {
 public:
  explicit HashedResiduals(std::size_t num_slots) { resize(std::bit_ceil(std::max<std::size_t>(num_slots, 64))); }

  void prefetch(std::uint32_t entity) const { __builtin_prefetch(&slots_[home(entity)], 1); }
  float get(std::uint32_t entity) const { return slots_[find(entity)].residual; }
  void set(std::uint32_t entity, float residual) { slots_[find(entity)].residual = residual; }

  class Adder {
   public:
    Adder(HashedResiduals& owner, std::size_t max_adds) : owner_(owner) {
      const std::size_t max_reached = owner.num_reached_ + max_adds;
      if (max_reached > owner.places_.size()) owner.places_.resize(2 * max_reached);
      while (max_reached * kMinSlotsPerEntity > owner.slots_.size()) owner.grow();
    }

    void prefetch(std::uint32_t entity) const { owner_.prefetch(entity); }
    float add(std::uint32_t entity, float amount) {
      Slot& slot = owner_.slot_for(entity);
      return std::exchange(slot.residual, slot.residual + amount);
    }

   private:
    HashedResiduals& owner_;
  };

  template <typename Visit>
  void for_each(Visit&& visit) const {
    for (std::size_t i = 0; i < num_reached_; ++i) visit(slots_[places_[i]].entity, slots_[places_[i]].residual);
  }

  template <typename Visit>
  void drain(Visit&& visit) {
    for (std::size_t i = 0; i < num_reached_; ++i) {
      const Slot slot = std::exchange(slots_[places_[i]], Slot());
      visit(slot.entity, slot.residual);
    }
    num_reached_ = 0;
  }

 private:
  struct Slot {
    std::uint32_t entity = kEmpty;
    float residual = 0;
  };
  static constexpr std::size_t kMinSlotsPerEntity = 4;  // fuller tables look in several places

  std::size_t home(std::uint32_t entity) const { return (entity * 0x9E3779B97F4A7C15u) >> shift_; }

  // Where the entity is, or would go.
  std::size_t find(std::uint32_t entity) const {
    std::size_t place = home(entity);
    while (slots_[place].entity != entity && slots_[place].entity != kEmpty) place = (place + 1) & (slots_.size() - 1);
    return place;
  }

  Slot& slot_for(std::uint32_t entity) {
    const std::size_t place = find(entity);
    Slot& slot = slots_[place];
    places_[num_reached_] = static_cast<std::uint32_t>(place);
    num_reached_ += slot.entity == kEmpty ? 1 : 0;
    slot.entity = entity;
    return slot;
  }

  void resize(std::size_t num_slots) {
    slots_.assign(num_slots, Slot());
    shift_ = 64 - std::countr_zero(num_slots);
  }

  void grow() {
    std::vector<Slot> kept;
    for_each([&](std::uint32_t entity, float residual) { kept.push_back({entity, residual}); });
    num_reached_ = 0;
    resize(4 * slots_.size());
    for (const Slot& slot : kept) slot_for(slot.entity) = slot;
  }

  HugeVector<Slot> slots_;
  HugeVector<std::uint32_t> places_;  // the first num_reached_: slots that are taken
  std::size_t num_reached_ = 0;
  int shift_ = 0;
};

}  // namespace omnisage
