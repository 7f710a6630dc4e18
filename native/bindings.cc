// The Python module `omnisage._native`.
#include "bindings.hpp"

NB_MODULE(_native, module) {
  omnisage::define_dense(module);
  omnisage::define_lists(module);
  omnisage::define_ids(module);
  omnisage::define_graph(module);
  omnisage::define_training(module);
  omnisage::define_bags(module);
}
