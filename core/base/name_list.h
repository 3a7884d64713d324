#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace hfload {

/// Names in the order in which they were added, each kept without what it begins with like the one before it:
/// the names of a model's tensors, in the order of its modules, take a third of their text.
class NameList {
 public:
  void add(std::string_view name);
  void shrink_to_fit();

  /// Calls `visit` with each name, in order; the text is valid during the call only.
  void for_each(const std::function<void(std::string_view name)>& visit) const;

 private:
  std::string packed_;  ///< of each name: bytes shared, bytes of its own (both LEB128), its own bytes
  std::string last_;
};

}  // namespace hfload
