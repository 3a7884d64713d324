#pragma once

#include <functional>

namespace hfload {

/// Runs `work(worker_index)` on `workers` threads (the calling one among them) and waits for all. When one
/// throws, the first exception is thrown again here, after every worker has returned; `work` is expected to
/// look at its own stop flag if it should end early.
void run_workers(unsigned workers, const std::function<void(unsigned)>& work);

}  // namespace hfload
