#pragma once

#include <cstdint>

using CUresult = int;
using cuuint64_t = uint64_t;
using cuuint32_t = uint32_t;
enum { CUDA_SUCCESS = 0, CUDA_ERROR_INVALID_VALUE = 1 };
enum CUtensorMapDataType { CU_TENSOR_MAP_DATA_TYPE_FLOAT16 = 6, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 = 9 };
enum {
  CU_TENSOR_MAP_INTERLEAVE_NONE = 0,
  CU_TENSOR_MAP_SWIZZLE_128B = 3,
  CU_TENSOR_MAP_L2_PROMOTION_L2_256B = 3,
  CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE = 0
};

/// Three dimensions of 2-byte elements, with the 128-byte swizzle.
struct CUtensorMap {
  const unsigned char* data;
  uint64_t sizes[3], strides[2];
  uint32_t box[3];
};

/// Refuses what the driver's documentation says it refuses.
CUresult cuTensorMapEncodeTiled(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank, void* data,
                                const cuuint64_t* sizes, const cuuint64_t* strides, const cuuint32_t* box,
                                const cuuint32_t* steps, int interleave, int swizzle, int promotion,
                                int fill);
