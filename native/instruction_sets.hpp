// One kernel, compiled for several instruction sets; the best that the machine has is chosen when it is first called.
//
// A kernel is a struct with an always-inlined `template <int kVectors> static void run(args...)`, and so must be all
// that it calls, or the callee would be compiled for the oldest machine. kVectors is how many vectors of a row a
// register tile should be wide (product.hpp). Where there are fused multiply-adds they are used, so that results differ
// in their last bits between machines, as those of torch do; on one machine they are the same for any number of
// threads. The environment variable OMNISAGE_INSTRUCTION_SET (any, avx2, avx512) chooses a lower one.
#pragma once

#include <cstdlib>
#include <string_view>

namespace omnisage {

enum class InstructionSet { kAny, kAvx2, kAvx512 };

inline InstructionSet detect_instruction_set() {
  InstructionSet best = InstructionSet::kAny;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) best = InstructionSet::kAvx2;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw")) {
    best = InstructionSet::kAvx512;
  }
#endif
  const char* const wanted = std::getenv("OMNISAGE_INSTRUCTION_SET");
  if (wanted == nullptr) return best;
  if (std::string_view(wanted) == "any") return InstructionSet::kAny;
  if (std::string_view(wanted) == "avx2" && best == InstructionSet::kAvx512) return InstructionSet::kAvx2;
  return best;
}

inline InstructionSet instruction_set() {
  static const InstructionSet found = detect_instruction_set();
  return found;
}

// The sanitizers' builds have the portable version alone, as each takes them half a minute to compile.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define OMNISAGE_HAS_VERSIONS
#endif

#if defined(OMNISAGE_HAS_VERSIONS)
template <typename Kernel, typename... Args>
[[gnu::target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma,prefer-vector-width=512")]] void run_avx512(Args... args) {
  Kernel::template run<4>(args...);
}

template <typename Kernel, typename... Args>
[[gnu::target("avx2,fma")]] void run_avx2(Args... args) {
  Kernel::template run<1>(args...);
}
#endif

// Calls Kernel::run in the best version. Arguments are passed by value: make them references or spans.
template <typename Kernel, typename... Args>
void run_best(Args... args) {
  switch (instruction_set()) {
#if defined(OMNISAGE_HAS_VERSIONS)
    case InstructionSet::kAvx512:
      return run_avx512<Kernel, Args...>(args...);
    case InstructionSet::kAvx2:
      return run_avx2<Kernel, Args...>(args...);
#endif
    default:
      return Kernel::template run<1>(args...);
  }
}

}  // namespace omnisage
