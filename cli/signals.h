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

/// The signal that arrived last under a SignalWatch; 0 when none did.
int received_signal();

}  // namespace hfload::cli
