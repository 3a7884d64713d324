#include "kernels/gemm_mma.cu"
