#include "cli/signals.h"

#include <unistd.h>

#include <csignal>
#include <cstring>

#include <atomic>

#include "core/base/interrupted.h"

namespace hfload::cli {
namespace {

constexpr int kWatched[] = {SIGINT, SIGTERM, SIGHUP};

// A signal handler has no argument to reach an object by.
std::atomic<int> received{0};
std::atomic_flag ending;
static_assert(std::atomic<int>::is_always_lock_free);

void remember(int signal) { received.store(signal); }

void set_handler(int signal, void (*handler)(int), int flags) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, nullptr);
}

constexpr char kLostSentence[] =
    "error: a mapped file was truncated, or its disk failed, while it was used [changed_during_read]\n"
    "hint: Wait until nothing writes to the file and run the command again.\n";
constexpr char kLostDocument[] =
    "{\"schema\":\"hfload.error/1\",\"error\":{\"code\":\"changed_during_read\",\"message\":\"a mapped file "
    "was "
    "truncated, or its disk failed, while it was "
    "used\",\"path\":null,\"tensor\":null,\"offset\":null,\"hint\":"
    "\"Wait until nothing writes to the file and run the command again.\"}}\n";

// What follows calls only what may be called from a signal handler.

/// Several threads may meet the lost mapping at once: one of them speaks, the others wait for the end.
void be_the_first() {
  while (ending.test_and_set()) pause();
}

void write_sentence_and_end() {
  if (write(STDERR_FILENO, kLostSentence, sizeof kLostSentence - 1) < 0) _exit(5);
  _exit(5);
}

void end_with_sentence(int) {
  be_the_first();
  write_sentence_and_end();
}

void end_with_document(int) {
  be_the_first();
  if (write(STDOUT_FILENO, kLostDocument, sizeof kLostDocument - 1) < 0) _exit(5);
  write_sentence_and_end();
}

}  // namespace

void report_lost_mappings(bool json) { set_handler(SIGBUS, json ? end_with_document : end_with_sentence, 0); }

SignalWatch::SignalWatch() {
  for (const int signal : kWatched) {
    struct sigaction current {};
    sigaction(signal, nullptr, &current);
    // A signal that the parent has us ignore (nohup, a shell's background job) stays ignored.
    if (current.sa_handler != SIG_IGN) set_handler(signal, remember, static_cast<int>(SA_RESETHAND));
  }
}

SignalWatch::~SignalWatch() {
  for (const int signal : kWatched) {
    struct sigaction current {};
    sigaction(signal, nullptr, &current);
    if (current.sa_handler == remember) set_handler(signal, SIG_DFL, 0);
  }
}

int received_signal() { return received.load(); }

std::string signal_name(int signal) { return std::string("SIG") + sigabbrev_np(signal); }

void stop_if_interrupted() {
  if (received_signal() != 0) throw Interrupted();
}

}  // namespace hfload::cli
