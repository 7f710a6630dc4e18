// NumPy arrays at the border: checked views of what comes in, owned arrays of what goes out.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "gather.hpp"
#include "huge_pages.hpp"
#include "parallel.hpp"

namespace omnisage {

namespace nb = nanobind;

// Taken without a type, so that a wrong one is our error naming the argument, and nothing is copied unseen.
using AnyArray = nb::ndarray<nb::ro, nb::device::cpu>;

template <typename T>
constexpr const char* type_name();
template <>
constexpr const char* type_name<float>() {
  return "float32";
}
template <>
constexpr const char* type_name<Half>() {
  return "float16";
}
template <>
constexpr const char* type_name<std::uint8_t>() {
  return "uint8";
}
template <>
constexpr const char* type_name<std::uint16_t>() {
  return "uint16";
}
template <>
constexpr const char* type_name<std::uint32_t>() {
  return "uint32";
}
template <>
constexpr const char* type_name<std::uint64_t>() {
  return "uint64";
}
template <>
constexpr const char* type_name<std::int64_t>() {
  return "int64";
}

template <typename T>
bool holds(const AnyArray& array) {
  if constexpr (std::is_same_v<T, Half>) {
    return array.dtype() == nb::dlpack::dtype{static_cast<std::uint8_t>(nb::dlpack::dtype_code::Float), 16, 1};
  } else {
    return array.dtype() == nb::dtype<T>();
  }
}

inline void require(bool condition, const std::string& message) {
  if (!condition) throw nb::value_error(message.c_str());
}

inline void require_layout(const AnyArray& array, const std::string& name, std::size_t ndim) {
  require(array.ndim() == ndim,
          name + " has " + std::to_string(array.ndim()) + " dimensions; it must have " + std::to_string(ndim));
  std::int64_t expected = 1;
  for (std::size_t axis = ndim; axis-- > 0;) {
    if (array.shape(axis) > 1 && array.size() > 0) {
      require(array.stride(axis) == expected,
              name + " is not C-contiguous; pass numpy.ascontiguousarray(" + name + ")");
    }
    expected *= static_cast<std::int64_t>(array.shape(axis));
  }
}

// The elements of a C-contiguous array of exactly this type and number of dimensions.
template <typename T>
std::span<const T> view(const AnyArray& array, const std::string& name, std::size_t ndim = 1) {
  if (!holds<T>(array)) {
    throw nb::type_error((name + " must be of dtype " + type_name<T>()).c_str());
  }
  require_layout(array, name, ndim);
  require(array.size() == 0 || reinterpret_cast<std::uintptr_t>(array.data()) % alignof(T) == 0,
          name + " is not aligned; pass " + name + ".copy()");
  return {static_cast<const T*>(array.data()), array.size()};
}

// The elements of an array that may be missing; none then.
template <typename T>
std::span<const T> view_or_none(const std::optional<AnyArray>& array, const std::string& name, std::size_t size) {
  if (!array) return {};
  const auto values = view<T>(*array, name);
  require(values.size() == size,
          name + " has " + std::to_string(values.size()) + " entries; it must have " + std::to_string(size));
  return values;
}

// A NumPy array that owns what it shows.
template <typename T>
using Owned = nb::ndarray<nb::numpy, T>;

template <typename T>
Owned<T> to_numpy(std::vector<T>&& values) {
  auto holder = std::make_unique<std::vector<T>>(std::move(values));
  T* data = holder->data();
  const std::size_t shape[1] = {holder->size()};
  nb::capsule owner(holder.get(), [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
  holder.release();
  return Owned<T>(data, 1, shape, owner);
}

// An uninitialised [rows, columns] array, and the span a kernel fills. Large ones are on huge pages where the system
// has them: to touch 20 MB of small pages for the first time takes as long as to compute what they hold.
template <typename T>
struct Output {
  std::span<T> span;
  Owned<T> array;

  Output(std::size_t rows, std::size_t columns) {
    constexpr auto kMaxBytes = static_cast<std::size_t>(std::numeric_limits<std::ptrdiff_t>::max());
    if (columns != 0 && rows > kMaxBytes / sizeof(T) / columns) throw std::bad_alloc();
    auto holder = std::make_unique<HugeVector<T>>(rows * columns);
    span = *holder;
    const std::size_t shape[2] = {rows, columns};
    nb::capsule owner(holder.get(), [](void* p) noexcept { delete static_cast<HugeVector<T>*>(p); });
    holder.release();
    array = Owned<T>(span.data(), 2, shape, owner);
  }
};

// Runs a kernel without the GIL; Ctrl-C ends it with the pending KeyboardInterrupt.
template <typename Kernel>
auto without_gil(int num_threads, Kernel&& kernel) {
  require(num_threads >= 0 && num_threads <= 1024,
          "num_threads is " + std::to_string(num_threads) + "; it must be in 0 .. 1024 (0: every core)");
  Workers workers{num_threads, [] {
                    nb::gil_scoped_acquire gil;
                    return PyErr_CheckSignals() != 0;
                  }};
  try {
    nb::gil_scoped_release released;
    return kernel(workers);
  } catch (const Interrupted&) {
    throw nb::python_error();  // takes the error that PyErr_CheckSignals left
  }
}

}  // namespace omnisage
