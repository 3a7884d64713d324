#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/format/dtype.h"

namespace hfload {

/// What torch's negation does to the numbers of a dtype.
enum class NumberKind : uint8_t { integers, floats, complexes, others };

/// A dtype of torch; some have no equal in safetensors.
struct TorchDtype {
  std::string_view name;  ///< torch's, without "torch."
  Dtype dtype = Dtype::unknown;
  unsigned element_bytes = 0;
  unsigned swap_bytes = 0;  ///< unit of the byte order: the halves of a complex number swap apart
  NumberKind numbers = NumberKind::others;
};

/// Null for a name that is no dtype of plain tensors.
const TorchDtype* find_torch_dtype(std::string_view name);

/// What a global name in a pickle stands for. It is a symbol: nothing is imported, nothing is called.
enum class GlobalKind : uint8_t {
  denied,                        ///< no weights need it
  ordered_dict,                  ///< a dict
  counter,                       ///< a dict
  value,                         ///< makes a value that is no tensor: torch.Size, set, torch.device, …
  rebuild_tensor,                ///< (storage, offset, size, stride)
  rebuild_tensor_v2,             ///< (…, requires_grad, hooks, metadata)
  rebuild_tensor_v3,             ///< (…, requires_grad, hooks, dtype, metadata)
  rebuild_parameter,             ///< (data, requires_grad, hooks)
  rebuild_parameter_with_state,  ///< (data, requires_grad, hooks, state)
  rebuild_from_type,             ///< (function, type, arguments, state)
  tensor_class,                  ///< torch.Tensor, torch.nn.Parameter
  storage,                       ///< of one dtype
  untyped_storage,
  dtype,
  unsupported_tensor,  ///< a tensor of another layout: sparse, quantised, on the meta device
  unsupported_value,   ///< harmless, kept as it is: numpy's scalars and arrays
};

enum class GlobalVerdict : uint8_t { allowed, unsupported, denied };

/// "allowed", "unsupported", "denied".
std::string_view to_string(GlobalVerdict verdict);
GlobalVerdict verdict_of(GlobalKind kind);

struct GlobalSymbol {
  GlobalKind kind = GlobalKind::denied;
  const TorchDtype* dtype = nullptr;  ///< of a storage or dtype; also of a storage of quantised numbers
};

/// Looks a name up in the allow-list, which is that of torch's own weights-only loader
/// (torch/_weights_only_unpickler.py) without what rebuilds objects of Python, and with numpy's names as
/// opaque ones. Names of Python 2's modules are those of Python 3.
GlobalSymbol find_pickle_global(std::string_view module, std::string_view name);

}  // namespace hfload
