#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace hfload {

/// Names in the order in which they were added, each kept without what it begins with like the one before it:
/// the names of a model's tensors, in the order of its modules, take a third of their text.
class PackedNames {
 public:
  void add(std::string_view name);

  /// Calls `visit` with each name, in order; the text is valid during the call only.
  void for_each(const std::function<void(std::string_view name)>& visit) const;

 private:
  /// Of each name: bytes shared, bytes of its own (both LEB128), its own bytes. In blocks, as one text that
  /// grows has its old self beside it.
  std::vector<std::string> blocks_;
  std::string last_;
};

}  // namespace hfload
