#include "kernels/gemm_simt.cu"
