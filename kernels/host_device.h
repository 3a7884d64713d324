#pragma once

/// Marks what host and GPU code share, so that the host's tests cover it.
#if defined(__CUDACC__)
#define HFLOAD_HOST_DEVICE __host__ __device__
#else
#define HFLOAD_HOST_DEVICE
#endif
