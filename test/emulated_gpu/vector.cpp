#include "kernels/gemm_vector.cu"
