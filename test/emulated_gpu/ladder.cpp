#include "kernels/gemm_ladder.cu"
