#include "test/unit/session.h"

#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>

int hfload::run_test_session(int argc, char** argv) { return Catch::Session().run(argc, argv); }
