#include <iostream>

#include "core/load/query_devices.h"
#include "test/unit/session.h"

/// Exit status 77 means "skipped" to CTest.
int main(int argc, char** argv) {
  const hfload::CudaStatus status = hfload::cuda_status();
  if (status.devices == 0) {
    std::cout << "skipped: " << status.reason << '\n';
    return 77;
  }
  return hfload::run_test_session(argc, argv);
}
