#pragma once

#include <string>

namespace hfload::cli {

/// While it lives, SIGINT, SIGTERM and SIGHUP do not end the process but are remembered, so that what a load
/// holds is released in order, and temporary files go. A second signal of the same kind ends the process at
/// once. One at a time.
class SignalWatch {
 public:
  SignalWatch();
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;
};

/// Until the program ends, a mapped file that is truncated or cannot be read any more ends it with a sentence
/// on standard error, the document of a failure on standard output if `json`, and exit status 5.
void report_lost_mappings(bool json);

/// The signal that arrived last under a SignalWatch; 0 when none did.
int received_signal();

/// "SIGINT".
std::string signal_name(int signal);

/// For the end of long work: a signal may have come after work last looked for one. Throws Interrupted.
void stop_if_interrupted();

}  // namespace hfload::cli
