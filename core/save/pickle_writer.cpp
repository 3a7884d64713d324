#include "core/save/pickle_writer.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "core/base/error.h"

namespace hfload {
namespace {

// Opcodes of CPython's pickle (Lib/pickle.py).
constexpr std::string_view kProtocol2 = "\x80\x02";
constexpr char kEmptyDict = '}', kMark = '(', kSetItems = 'u', kStop = '.', kGlobal = 'c', kPut = 'q',
               kGet = 'h', kUnicode = 'X', kOneByte = 'K', kTwoBytes = 'M', kFourBytes = 'J', kTuple = 't',
               kEmptyTuple = ')', kPersistentId = 'Q', kReduce = 'R';
constexpr char kTuple1 = '\x85', kTuple2 = '\x86', kTuple3 = '\x87', kFalse = '\x89', kLong = '\x8a';

void put(std::string& out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xFF);
}

/// torch's class for a typed storage; empty where a dtype has none, which are the newer ones.
std::string_view storage_class(Dtype dtype) {
  switch (dtype) {
    case Dtype::f64:
      return "DoubleStorage";
    case Dtype::f32:
      return "FloatStorage";
    case Dtype::f16:
      return "HalfStorage";
    case Dtype::bf16:
      return "BFloat16Storage";
    case Dtype::i64:
      return "LongStorage";
    case Dtype::i32:
      return "IntStorage";
    case Dtype::i16:
      return "ShortStorage";
    case Dtype::i8:
      return "CharStorage";
    case Dtype::u8:
      return "ByteStorage";
    case Dtype::boolean:
      return "BoolStorage";
    case Dtype::c64:
      return "ComplexFloatStorage";
    default:
      return {};
  }
}

}  // namespace

StateDictPickle::StateDictPickle(const TextSink& sink) : buffer_(sink) {
  out() += kProtocol2;
  out() += kEmptyDict;
  out() += kMark;
}

void StateDictPickle::global(std::string_view module, std::string_view name) {
  std::string both = fmt::format("{}\n{}\n", module, name);
  const auto known = std::find(memo_.begin(), memo_.end(), both);
  const auto number = static_cast<char>(known - memo_.begin());  // there are a dozen globals at most
  if (known != memo_.end()) {
    (out() += kGet) += number;
    return;
  }
  (out() += kGlobal) += both;
  (out() += kPut) += number;
  memo_.push_back(std::move(both));
}

void StateDictPickle::integer(uint64_t value) {
  if (value < 0x100) {
    put(out() += kOneByte, value, 1);
  } else if (value < 0x10000) {
    put(out() += kTwoBytes, value, 2);
  } else if (value < 0x80000000) {
    put(out() += kFourBytes, value, 4);
  } else {
    // Two's complement, so that a leading zero byte keeps it positive.
    constexpr int kBytes = 9;
    (out() += kLong) += static_cast<char>(kBytes);
    put(out(), value, 8);
    out() += '\0';
  }
}

void StateDictPickle::text(std::string_view value) {
  put(out() += kUnicode, value.size(), 4);
  out() += value;
}

void StateDictPickle::tuple(std::span<const uint64_t> values) {
  if (values.empty()) {
    out() += kEmptyTuple;
    return;
  }
  if (values.size() > 3) out() += kMark;
  for (const uint64_t value : values) integer(value);
  constexpr char kShort[] = {kTuple1, kTuple2, kTuple3};
  out() += values.size() > 3 ? kTuple : kShort[values.size() - 1];
}

void StateDictPickle::add(const OutputTensor& tensor, uint64_t storage) {
  const DtypeInfo& info = dtype_info(tensor.dtype);
  const std::string_view typed = storage_class(tensor.dtype);
  if (typed.empty() && (info.torch_name.empty() || info.bits % 8 != 0)) {
    throw Error(ErrorCode::unsupported_dtype,
                fmt::format("PyTorch files cannot hold {} tensors", info.safetensors_name))
        .with_tensor(std::string(tensor.name))
        .with_hint("Leave the tensor out with --exclude, or write safetensors.");
  }
  const uint64_t element_bytes = info.bits / 8, elements = tensor.bytes / element_bytes;
  text(tensor.name);
  // _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks), or _v3, which takes the dtype
  // last.
  global("torch._utils", typed.empty() ? "_rebuild_tensor_v3" : "_rebuild_tensor_v2");
  out() += kMark;
  out() += kMark;
  text("storage");
  typed.empty() ? global("torch.storage", "UntypedStorage") : global("torch", typed);
  text(std::to_string(storage));
  text("cpu");
  integer(typed.empty() ? tensor.bytes : elements);
  (out() += kTuple) += kPersistentId;
  integer(0);
  tuple(tensor.shape);
  std::vector<uint64_t> strides(tensor.shape.size(), 1);
  for (size_t i = strides.size(); i-- > 1;)
    strides[i - 1] = strides[i] * std::max<uint64_t>(tensor.shape[i], 1);
  tuple(strides);
  out() += kFalse;
  global("collections", "OrderedDict");
  (out() += kEmptyTuple) += kReduce;
  if (typed.empty()) global("torch", info.torch_name);
  (out() += kTuple) += kReduce;
}

void StateDictPickle::finish() {
  (out() += kSetItems) += kStop;
  buffer_.flush();
}

}  // namespace hfload
