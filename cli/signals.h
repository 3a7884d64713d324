#pragma once

namespace hfload::cli {

/// While it lives, SIGINT and SIGTERM do not end the process but are remembered, so that what a load holds is
/// released in order. A second signal of the same kind ends the process at once. One at a time.
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

}  // namespace hfload::cli
