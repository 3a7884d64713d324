#include "cli/signals.h"

#include <csignal>

#include <atomic>

namespace hfload::cli {
namespace {

// A signal handler has no argument to reach an object by.
std::atomic<int> received{0};
static_assert(std::atomic<int>::is_always_lock_free);

void remember(int signal) { received.store(signal); }

void set_handler(int signal, void (*handler)(int), int flags) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, nullptr);
}

}  // namespace

SignalWatch::SignalWatch() {
  for (const int signal : {SIGINT, SIGTERM}) {
    struct sigaction current {};
    sigaction(signal, nullptr, &current);
    // A signal that the parent has us ignore (nohup, a shell's background job) stays ignored.
    if (current.sa_handler != SIG_IGN) set_handler(signal, remember, static_cast<int>(SA_RESETHAND));
  }
}

SignalWatch::~SignalWatch() {
  for (const int signal : {SIGINT, SIGTERM}) {
    struct sigaction current {};
    sigaction(signal, nullptr, &current);
    if (current.sa_handler == remember) set_handler(signal, SIG_DFL, 0);
  }
}

int received_signal() { return received.load(); }

}  // namespace hfload::cli
