#include "kernels/gemm_launch.cu"
