#include "core/format/pickle_globals.h"

#include <algorithm>

namespace hfload {
namespace {

using N = NumberKind;

constexpr TorchDtype kDtypes[] = {
    {"float32", Dtype::f32, 4, 4, N::floats},
    {"float64", Dtype::f64, 8, 8, N::floats},
    {"float16", Dtype::f16, 2, 2, N::floats},
    {"bfloat16", Dtype::bf16, 2, 2, N::floats},
    {"int64", Dtype::i64, 8, 8, N::integers},
    {"int32", Dtype::i32, 4, 4, N::integers},
    {"int16", Dtype::i16, 2, 2, N::integers},
    {"int8", Dtype::i8, 1, 1, N::integers},
    {"uint8", Dtype::u8, 1, 1, N::integers},
    {"uint16", Dtype::u16, 2, 2},
    {"uint32", Dtype::u32, 4, 4},
    {"uint64", Dtype::u64, 8, 8},
    {"bool", Dtype::boolean, 1, 1},
    {"complex32", Dtype::unknown, 4, 2, N::complexes},
    {"complex64", Dtype::c64, 8, 4, N::complexes},
    {"complex128", Dtype::unknown, 16, 8, N::complexes},
    {"float8_e4m3fn", Dtype::f8_e4m3, 1, 1},
    {"float8_e5m2", Dtype::f8_e5m2, 1, 1},
    {"float8_e4m3fnuz", Dtype::f8_e4m3fnuz, 1, 1},
    {"float8_e5m2fnuz", Dtype::f8_e5m2fnuz, 1, 1},
    {"float8_e8m0fnu", Dtype::f8_e8m0, 1, 1},
};

constexpr TorchDtype kQuantizedDtypes[] = {
    {"qint8", Dtype::unknown, 1, 1},    {"quint8", Dtype::unknown, 1, 1},   {"qint32", Dtype::unknown, 4, 4},
    {"quint4x2", Dtype::unknown, 1, 1}, {"quint2x4", Dtype::unknown, 1, 1},
};

struct StorageClass {
  std::string_view name, dtype;
};

constexpr StorageClass kStorages[] = {
    {"FloatStorage", "float32"},
    {"DoubleStorage", "float64"},
    {"HalfStorage", "float16"},
    {"BFloat16Storage", "bfloat16"},
    {"LongStorage", "int64"},
    {"IntStorage", "int32"},
    {"ShortStorage", "int16"},
    {"CharStorage", "int8"},
    {"ByteStorage", "uint8"},
    {"BoolStorage", "bool"},
    {"ComplexFloatStorage", "complex64"},
    {"ComplexDoubleStorage", "complex128"},
};

constexpr StorageClass kQuantizedStorages[] = {
    {"QInt8Storage", "qint8"},       {"QUInt8Storage", "quint8"},     {"QInt32Storage", "qint32"},
    {"QUInt4x2Storage", "quint4x2"}, {"QUInt2x4Storage", "quint2x4"},
};

struct Name {
  std::string_view module, name;
  GlobalKind kind;
};

using K = GlobalKind;

constexpr Name kNames[] = {
    {"collections", "OrderedDict", K::ordered_dict},
    {"collections", "Counter", K::counter},
    {"builtins", "set", K::value},
    {"builtins", "frozenset", K::value},
    {"builtins", "bytearray", K::value},
    {"builtins", "complex", K::value},
    {"_codecs", "encode", K::value},
    {"torch", "Size", K::value},
    {"torch", "device", K::value},
    {"torch.serialization", "_get_layout", K::value},
    {"torch", "Tensor", K::tensor_class},
    {"torch.nn.parameter", "Parameter", K::tensor_class},
    {"torch.storage", "TypedStorage", K::value},
    {"torch.storage", "UntypedStorage", K::untyped_storage},
    {"torch", "UntypedStorage", K::untyped_storage},
    {"torch._utils", "_rebuild_tensor", K::rebuild_tensor},
    {"torch._utils", "_rebuild_tensor_v2", K::rebuild_tensor_v2},
    {"torch._utils", "_rebuild_tensor_v3", K::rebuild_tensor_v3},
    {"torch._utils", "_rebuild_parameter", K::rebuild_parameter},
    {"torch._utils", "_rebuild_parameter_with_state", K::rebuild_parameter_with_state},
    {"torch._tensor", "_rebuild_from_type_v2", K::rebuild_from_type},
    {"torch._utils", "_rebuild_sparse_tensor", K::unsupported_tensor},
    {"torch._utils", "_rebuild_sparse_csr_tensor", K::unsupported_tensor},
    {"torch._utils", "_rebuild_nested_tensor", K::unsupported_tensor},
    {"torch._utils", "_rebuild_qtensor", K::unsupported_tensor},
    {"torch._utils", "_rebuild_meta_tensor_no_storage", K::unsupported_tensor},
    {"torch._utils", "_rebuild_wrapper_subclass", K::unsupported_tensor},
    {"torch._utils", "_rebuild_device_tensor_from_numpy", K::unsupported_tensor},
    {"torch._utils", "_rebuild_device_tensor_from_cpu_tensor", K::unsupported_tensor},
    {"torch._utils", "_rebuild_xla_tensor", K::unsupported_tensor},
    {"torch", "qint8", K::unsupported_value},
    {"torch", "quint8", K::unsupported_value},
    {"torch", "qint32", K::unsupported_value},
    {"torch", "quint4x2", K::unsupported_value},
    {"torch", "quint2x4", K::unsupported_value},
    {"torch", "float4_e2m1fn_x2", K::unsupported_value},
    {"torch", "per_tensor_affine", K::unsupported_value},
    {"torch", "per_tensor_symmetric", K::unsupported_value},
    {"torch", "per_channel_affine", K::unsupported_value},
    {"torch", "per_channel_symmetric", K::unsupported_value},
    {"torch", "per_channel_affine_float_qparams", K::unsupported_value},
    {"numpy", "dtype", K::unsupported_value},
    {"numpy", "ndarray", K::unsupported_value},
    {"numpy.core.multiarray", "scalar", K::unsupported_value},
    {"numpy.core.multiarray", "_reconstruct", K::unsupported_value},
    {"numpy._core.multiarray", "scalar", K::unsupported_value},
    {"numpy._core.multiarray", "_reconstruct", K::unsupported_value},
};

}  // namespace

const TorchDtype* find_torch_dtype(std::string_view name) {
  const auto found = std::ranges::find(kDtypes, name, &TorchDtype::name);
  return found == std::end(kDtypes) ? nullptr : found;
}

std::string_view to_string(GlobalVerdict verdict) {
  return verdict == GlobalVerdict::allowed  ? "allowed"
         : verdict == GlobalVerdict::denied ? "denied"
                                            : "unsupported";
}

GlobalVerdict verdict_of(GlobalKind kind) {
  switch (kind) {
    case GlobalKind::denied:
      return GlobalVerdict::denied;
    case GlobalKind::unsupported_tensor:
    case GlobalKind::unsupported_value:
      return GlobalVerdict::unsupported;
    default:
      return GlobalVerdict::allowed;
  }
}

GlobalSymbol find_pickle_global(std::string_view module, std::string_view name) {
  if (module == "__builtin__") module = "builtins";
  for (const Name& known : kNames) {
    if (known.module == module && known.name == name) return {known.kind, nullptr};
  }
  if (module != "torch") return {};
  for (const StorageClass& storage : kStorages) {
    if (storage.name == name) return {GlobalKind::storage, find_torch_dtype(storage.dtype)};
  }
  for (const StorageClass& storage : kQuantizedStorages) {
    if (storage.name == name)
      return {GlobalKind::unsupported_value,
              std::ranges::find(kQuantizedDtypes, storage.dtype, &TorchDtype::name)};
  }
  if (const TorchDtype* dtype = find_torch_dtype(name)) return {GlobalKind::dtype, dtype};
  return {};
}

}  // namespace hfload
