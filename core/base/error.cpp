#include "core/base/error.h"

namespace hfload {
namespace {

constexpr ErrorCodeInfo kTable[] = {
#define HFLOAD_ROW(name, exit_status, meaning) {ErrorCode::name, #name, exit_status, meaning},
    HFLOAD_ERROR_CODES(HFLOAD_ROW)
#undef HFLOAD_ROW
};

}  // namespace

std::span<const ErrorCodeInfo> error_code_table() { return kTable; }

const ErrorCodeInfo& error_code_info(ErrorCode code) { return kTable[static_cast<size_t>(code)]; }

Error& Error::with_path(std::string path) {
  path_ = std::move(path);
  return *this;
}

Error& Error::with_tensor(std::string tensor) {
  tensor_ = std::move(tensor);
  return *this;
}

Error& Error::with_offset(uint64_t offset) {
  offset_ = offset;
  return *this;
}

Error& Error::with_hint(std::string hint) {
  hint_ = std::move(hint);
  return *this;
}

}  // namespace hfload
