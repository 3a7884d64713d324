#pragma once

// What a scan knows of a pickle's values: enough to show the arguments of a call, and to find the size of an
// array whose bytes stand in the pickle.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hfload {

/// A value on the stack or in the memo, in 32 bits, as a pickle may have millions of them.
struct ScannedValue {
  enum class Kind : uint32_t {
    unknown,
    mark,
    text,    ///< `id` counts the scan's texts
    shown,   ///< bytes, or a text that is too long for a name: `id` counts texts, which say how to show it
    global,  ///< `id` counts the scan's names
    none,
    yes,
    no,
    integer,  ///< `id` is the number and 2^27
    wide,     ///< a larger integer of 64 bits
    tuple,
    list,
    dict,   ///< its members are key, value, key, value, …
    call,   ///< its members are the callable and the arguments
    dtype,  ///< of numpy
  };
  Kind kind : 4;
  uint32_t id : 28;

  ScannedValue() : kind(Kind::unknown), id(0) {}

  static constexpr uint32_t kIds = 1 << 28;
  static ScannedValue of(Kind kind, size_t id = 0) {
    ScannedValue value;
    value.kind = kind;
    value.id = static_cast<uint32_t>(id) % kIds;
    return value;
  }
};

/// A dtype of numpy, as its arguments and its state make it.
struct ScannedDtype {
  std::string name;                    ///< "f8", "V16"
  std::optional<uint64_t> item_bytes;  ///< nothing where it is not known
  bool has_objects = false;
};

/// Tuples, lists, dicts, calls and dtypes. Of the first four it keeps the 4096 that were made last, and of
/// each the first 16 members: a value that is no longer there is unknown.
class ScannedValues {
 public:
  using Value = ScannedValue;
  using Kind = ScannedValue::Kind;
  static constexpr size_t kMostMembers = 16;

  Value make(Kind kind, const std::vector<Value>& members);
  Value make_integer(int64_t value);
  /// The dtype is unknown where there are 4096 already.
  Value make_dtype(ScannedDtype dtype);

  /// Appends to a list or dict that is still there.
  void append(Value to, Value member);
  void append(Value to, const std::vector<Value>& members);

  /// Null for a value that has no members or is no longer there.
  const std::vector<Value>* members(Value value) const;
  /// Whether `members` leaves some out.
  bool has_more(Value value) const;
  std::optional<int64_t> integer(Value value) const;
  /// Null for what is no dtype.
  ScannedDtype* dtype(Value value);
  const ScannedDtype* dtype(Value value) const;

 private:
  static constexpr size_t kKept = 4096, kMostDtypes = 4096, kMostWide = 4096;

  struct Composite {
    uint32_t id = UINT32_MAX;
    std::vector<Value> members;
    bool has_more = false;
  };
  const Composite* find(Value value) const;
  void append_to(Composite& composite, Value member);

  std::vector<Composite> ring_;
  uint32_t next_ = 0;
  std::vector<ScannedDtype> dtypes_;
  std::vector<int64_t> wide_;
};

/// The longest text that begins with `text`, has at most `most_bytes` and does not end within a character of
/// UTF-8.
std::string_view cut_text(std::string_view text, size_t most_bytes);

/// As Python writes a text: 'true', with quotes, backslashes and control characters escaped, and bytes that
/// are no UTF-8 as \xNN.
std::string quote_python_text(std::string_view text);

}  // namespace hfload
