#include "core/base/workers.h"

#include <array>
#include <atomic>
#include <exception>
#include <locale>
#include <mutex>
#include <numeric>
#include <thread>
#include <vector>

#include "core/base/error.h"

namespace hfload {
namespace {

/// libstdc++ fills the tables of std::ctype, which std::regex reads, on their first use and without
/// synchronisation (GCC bug 77704): so that happens before there are threads.
void fill_character_tables() {
  std::array<char, 256> characters{};
  std::iota(characters.begin(), characters.end(), '\0');
  const auto& facet = std::use_facet<std::ctype<char>>(std::locale());
  std::array<char, 256> out{};
  facet.narrow(characters.data(), characters.data() + characters.size(), ' ', out.data());
  facet.widen(characters.data(), characters.data() + characters.size(), out.data());
}

}  // namespace

void run_workers(unsigned workers, const std::function<void(unsigned)>& work) {
  std::mutex mutex;
  std::exception_ptr first_exception;
  const auto guarded = [&](unsigned index) noexcept {
    try {
      work(index);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!first_exception) first_exception = std::current_exception();
    }
  };

  // Threads wait here until all of them exist: workers may wait for one another, so that some alone could
  // hang.
  enum Gate : int { closed, open, cancelled };
  std::atomic<int> gate{closed};
  if (workers > 1) fill_character_tables();
  std::vector<std::thread> threads;
  const auto release = [&](Gate state) {
    gate.store(state);
    gate.notify_all();
  };
  try {
    for (unsigned index = 1; index < workers; ++index) {
      threads.emplace_back([&, index] {
        gate.wait(closed);
        if (gate.load() == open) guarded(index);
      });
    }
  } catch (const std::exception&) {
    release(cancelled);
    for (std::thread& thread : threads) thread.join();
    throw Error(ErrorCode::io_error, "the operating system refused to start a thread")
        .with_hint("Raise the limit on processes (ulimit -u) or use fewer threads.");
  }
  release(open);
  guarded(0);
  for (std::thread& thread : threads) thread.join();
  if (first_exception) std::rethrow_exception(first_exception);
}

}  // namespace hfload
