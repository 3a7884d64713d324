#include "test/unit/session.h"

int main(int argc, char** argv) { return hfload::run_test_session(argc, argv); }
