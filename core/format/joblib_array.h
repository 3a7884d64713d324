#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/format/scanned_values.h"

namespace hfload {

/// What stands in a file of joblib after an array's NumpyArrayWrapper is complete (joblib/numpy_pickle.py).
struct JoblibArray {
  bool is_pickle = false;    ///< the elements are objects: a whole pickle stands there
  bool has_padding = false;  ///< a byte with the count of padding bytes that follow it comes first
  uint64_t bytes = 0;        ///< of the elements, after the padding
};

/// Of a wrapper's state, a dict; `texts` are those that its values of the kind text count. Nothing where the
/// state does not say how many bytes the array takes.
std::optional<JoblibArray> find_joblib_array(const ScannedValues& values,
                                             const std::vector<const std::string*>& texts,
                                             ScannedValue state);

/// numpy's dtype of that name before a state is set: "f8" has 8 bytes, "V16" 16, and "O8" has objects.
ScannedDtype numpy_dtype(std::string_view name);

/// Applies numpy's state of a dtype, a tuple (version, byte order, subdtype, names, fields, item size,
/// alignment, flags), which gives "S", "U" and "V" their size and says whether fields are objects.
void set_dtype_state(const ScannedValues& values, ScannedValue state, ScannedDtype& dtype);

}  // namespace hfload
