#include "core/format/scanned_call.h"

#include <fmt/core.h>

namespace hfload {
namespace {

constexpr size_t kShownBytes = 200;
constexpr unsigned kMostShownDepth = 8;

class Writer {
  using Value = ScannedValue;
  using Kind = ScannedValue::Kind;

 public:
  Writer(const ScannedValues& values, const std::vector<const std::string*>& texts,
         const std::vector<ScannedGlobal>& globals)
      : values_(values), texts_(texts), globals_(globals) {}

  void show(Value value, unsigned depth, std::string& into) {
    if (into.size() > kMaxCallBytes) return;
    if (depth > kMostShownDepth) {
      into += "…";
      return;
    }
    switch (value.kind) {
      case Kind::text: {
        const std::string& text = *texts_[value.id];
        const std::string_view start = cut_text(text, kShownBytes);
        into += quote_python_text(start) + (start.size() < text.size() ? "…" : "");
        return;
      }
      case Kind::shown:
        into += *texts_[value.id];
        return;
      case Kind::global:
        into += globals_[value.id].module + "." + globals_[value.id].name;
        return;
      case Kind::none:
        into += "None";
        return;
      case Kind::yes:
      case Kind::no:
        into += value.kind == Kind::yes ? "True" : "False";
        return;
      case Kind::integer:
      case Kind::wide:
        into += std::to_string(*values_.integer(value));
        return;
      case Kind::dtype:
        into += fmt::format("numpy.dtype({})",
                            quote_python_text(cut_text(values_.dtype(value)->name, kShownBytes)));
        return;
      case Kind::tuple:
        return show_members(value, "(", ")", depth, into);
      case Kind::list:
        return show_members(value, "[", "]", depth, into);
      case Kind::dict:
        return show_members(value, "{", "}", depth, into);
      case Kind::call:
        return show_members(value, "", ")", depth, into);
      case Kind::unknown:
      case Kind::mark:
        into += "?";
    }
  }
  void show_members(Value value, std::string_view open, std::string_view close, unsigned depth,
                    std::string& into) {
    const auto* const members = values_.members(value);
    if (members == nullptr) {
      into += "…";
      return;
    }
    const bool is_call = value.kind == Kind::call, is_dict = value.kind == Kind::dict;
    into += open;
    for (size_t i = 0; i < members->size(); ++i) {
      if (i > (is_call ? 1U : 0U)) into += is_dict && i % 2 == 1 ? ": " : ", ";
      show((*members)[i], depth + 1, into);
      if (is_call && i == 0) into += "(";
    }
    if (values_.has_more(value)) into += ", …";
    if (value.kind == Kind::tuple && members->size() == 1) into += ",";
    into += close;
  }

 private:
  const ScannedValues& values_;
  const std::vector<const std::string*>& texts_;
  const std::vector<ScannedGlobal>& globals_;
};

}  // namespace

std::string show_call(ScannedValue call, const ScannedValues& values,
                      const std::vector<const std::string*>& texts,
                      const std::vector<ScannedGlobal>& globals) {
  std::string text;
  Writer(values, texts, globals).show(call, 0, text);
  return text.size() <= kMaxCallBytes ? text : std::string(cut_text(text, kMaxCallBytes)) + "…";
}

}  // namespace hfload
