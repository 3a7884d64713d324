#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace hfload {

/// Takes a text in parts, in order, as its writer makes it: large texts need not be in memory.
using TextSink = std::function<void(std::string_view)>;

/// A text that goes to a sink whenever so much of it has come together. To be flushed at its end.
class BufferedText {
 public:
  explicit BufferedText(const TextSink& sink) : sink_(sink) {}

  /// For appending to; what was appended before may be gone by the next call.
  std::string& text() {
    constexpr size_t kMostBytes = 64 << 10;
    if (text_.size() >= kMostBytes) flush();
    return text_;
  }
  void flush() {
    if (!text_.empty()) sink_(text_);
    text_.clear();
  }

 private:
  const TextSink& sink_;
  std::string text_;
};

}  // namespace hfload
