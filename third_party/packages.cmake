# Packages of Debian 12, by their development packages in third_party/debian-packages.txt. Nothing is vendored.
find_package(Threads REQUIRED)
find_package(fmt 9 REQUIRED)
find_package(spdlog 1.10 REQUIRED)
find_package(simdjson 3.0 REQUIRED)
find_package(CLI11 2.1 REQUIRED)
# Static: a system without it at run time can run the program.
find_library(LIBURING NAMES liburing.a uring REQUIRED)
if(HFLOAD_TESTS)
  find_package(Catch2 2.13 REQUIRED)
  find_package(LibLZMA REQUIRED)
endif()
