#include "kernels/gemm_wgmma.cu"
