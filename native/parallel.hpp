// Threads for the kernels: chunks of a range, handed out to std::threads and to the calling thread.
//
// A kernel's result must not depend on which thread takes which chunk; then 1 and N threads give the same
// bytes.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace omnisage {

// Thrown by parallel_for in the calling thread when it was asked to stop (Ctrl-C).
struct Interrupted : std::exception {
  const char* what() const noexcept override { return "interrupted"; }
};

// How many threads may work, and how to learn that the user wants to stop.
struct Workers {
  int num_threads = 0;                // 0: every core
  std::function<bool()> interrupted;  // asked by the calling thread only, about ten times a second; may be empty

  std::size_t count() const {
    if (num_threads > 0) return static_cast<std::size_t>(num_threads);
    return std::max(1u, std::thread::hardware_concurrency());
  }
};

// Calls body(thread, begin, end) for the chunks of [0, size), each once, in any order.
//
// `thread` is below workers.count() and may index per-thread scratch. The first exception stops the others
// after their chunk and is thrown here, once, when all threads have ended.
//
// Example: parallel_for(10, 4, {2}, body) calls body(*, 0, 4), body(*, 4, 8), body(*, 8, 10).
template <typename Body>
void parallel_for(std::size_t size, std::size_t chunk, const Workers& workers, Body&& body) {
  using Clock = std::chrono::steady_clock;
  constexpr auto kPollEvery = std::chrono::milliseconds(100);
  const std::size_t num_chunks = (size + chunk - 1) / chunk;
  std::atomic<std::size_t> next{0};
  std::atomic<bool> stop{false};
  std::exception_ptr failure;
  std::mutex failure_mutex;

  auto work = [&](std::size_t thread, bool is_caller) {
    auto polled = Clock::now();
    try {
      while (!stop.load(std::memory_order_relaxed)) {
        const std::size_t index = next.fetch_add(1, std::memory_order_relaxed);
        if (index >= num_chunks) return;
        body(thread, index * chunk, std::min(size, (index + 1) * chunk));
        if (is_caller && workers.interrupted && Clock::now() - polled > kPollEvery) {
          if (workers.interrupted()) throw Interrupted();
          polled = Clock::now();
        }
      }
    } catch (...) {
      const std::lock_guard<std::mutex> lock(failure_mutex);
      if (!failure) failure = std::current_exception();
      stop.store(true, std::memory_order_relaxed);
    }
  };

  {
    // jthreads join when they leave scope, also if starting one of them fails.
    std::vector<std::jthread> threads;
    const std::size_t count = std::min(workers.count(), std::max<std::size_t>(num_chunks, 1));
    for (std::size_t thread = 1; thread < count; ++thread) threads.emplace_back(work, thread, false);
    work(0, true);
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace omnisage
