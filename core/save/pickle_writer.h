#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/text_sink.h"
#include "core/save/file_layout.h"

namespace hfload {

/// The pickle (protocol 2) of a dict of tensors, as torch.save writes it into data.pkl. Each tensor is
/// contiguous and starts at its storage's first element.
class StateDictPickle {
 public:
  explicit StateDictPickle(const TextSink& sink);

  /// `storage` is the number of the tensor's storage: data/NUMBER. Throws Error(unsupported_dtype).
  void add(const OutputTensor& tensor, uint64_t storage);
  void finish();

 private:
  void global(std::string_view module, std::string_view name);
  void integer(uint64_t value);
  void text(std::string_view value);
  void tuple(std::span<const uint64_t> values);

  std::string& out() { return buffer_.text(); }

  BufferedText buffer_;
  std::vector<std::string> memo_;  ///< globals that were written, by memo number
};

}  // namespace hfload
