#pragma once

namespace hfload {

/// Runs the tests of this program as Catch's own main function does; returns its exit status.
int run_test_session(int argc, char** argv);

}  // namespace hfload
