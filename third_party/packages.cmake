# Packages of Debian 12, by their development packages in third_party/debian-packages.txt. Nothing is vendored.
find_package(Threads REQUIRED)
find_package(fmt 9 REQUIRED)
find_package(spdlog 1.10 REQUIRED)
find_package(simdjson 3.0 REQUIRED)
find_package(CLI11 2.1 REQUIRED)
# Static: a system without them at run time can run the program.
find_library(LIBURING NAMES liburing.a uring REQUIRED)
find_library(LIBZ NAMES libz.a z REQUIRED)
find_library(LIBBZ2 NAMES libbz2.a bz2 REQUIRED)
find_library(LIBLZMA NAMES liblzma.a lzma REQUIRED)
# Static, and of it the two hashes of core/base/sha.cpp alone: as a shared library it takes a quarter of the time in which
# hfload --version starts and ends.
find_library(LIBCRYPTO NAMES libcrypto.a crypto REQUIRED)
# The headers alone: the library is looked for at run time (core/run/onednn_library.h).
find_path(ONEDNN_HEADERS oneapi/dnnl/dnnl.h REQUIRED)
file(STRINGS ${ONEDNN_HEADERS}/oneapi/dnnl/dnnl_version.h onednn_major REGEX "define DNNL_VERSION_MAJOR 2$")
if(NOT onednn_major)
  message(FATAL_ERROR "${ONEDNN_HEADERS}/oneapi/dnnl is not oneDNN 2. Name the folder that holds its headers with -DONEDNN_HEADERS=.")
endif()
if(HFLOAD_TESTS)
  find_package(Catch2 2.13 REQUIRED)
endif()
