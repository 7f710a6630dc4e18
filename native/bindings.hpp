// What the parts of the Python module share. Each part checks its arguments, releases the GIL and calls a kernel.
//
// Signatures and meaning for Python readers: src/omnisage/_native.pyi.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <string>

#include "arrays.hpp"
#include "csr.hpp"
#include "ids.hpp"

namespace omnisage {

// The parts, each in bindings_<name>.cc.
void define_bags(nb::module_& module);
void define_dense(nb::module_& module);
void define_graph(nb::module_& module);
void define_ids(nb::module_& module);
void define_lists(nb::module_& module);
void define_training(nb::module_& module);

// Strings one after the other; throws unless the offsets rise within the data.
inline StringKeys::Batch view_strings(const AnyArray& data, const AnyArray& offsets) {
  const auto bytes = view<std::uint8_t>(data, "data");
  const auto starts = view<std::int64_t>(offsets, "offsets");
  require(!starts.empty(), "offsets is empty; it must have one more entry than there are texts");
  for (std::size_t i = 0; i < starts.size(); ++i) {
    if (starts[i] >= (i == 0 ? 0 : starts[i - 1]) && starts[i] <= static_cast<std::int64_t>(bytes.size())) continue;
    require(false, "offsets[" + std::to_string(i) + "] is " + std::to_string(starts[i]) +
                       "; offsets must rise within 0 .. " + std::to_string(bytes.size()) +
                       ", the number of bytes in data");
  }
  return {bytes, starts};
}

// Lists of a relation; what is in them, check_csr checks.
inline CsrView view_lists(const AnyArray& indptr, const AnyArray& indices, const std::optional<AnyArray>& weights) {
  const CsrView csr{view<std::uint64_t>(indptr, "indptr"), view<std::uint32_t>(indices, "indices"),
                    view_or_none<float>(weights, "weights", indices.size())};
  require(!csr.indptr.empty(), "indptr is empty; it must have one more entry than there are lists");
  return csr;
}

}  // namespace omnisage
