#include "core/format/npy_header.h"

#include <algorithm>
#include <charconv>
#include <span>
#include <string>
#include <vector>

#include "core/base/checked.h"
#include "core/base/error.h"

namespace hfload {
namespace {

constexpr uint64_t kMostHeaderBytes = 1 << 20;
constexpr unsigned kMostDepth = 32;

Error invalid(std::string message, uint64_t offset) {
  return Error(ErrorCode::invalid_npy, std::move(message))
      .with_offset(offset)
      .with_hint("The file is damaged: download or export it again.");
}

/// A Python literal, as far as headers have them.
struct Literal {
  enum class Kind : uint8_t { word, text, tuple, list, dict } kind = Kind::word;
  std::string_view text;         ///< of a word (True, 12) or a text, without quotes
  std::vector<Literal> members;  ///< of a dict: key, value, key, value, …
};

/// Reads what numpy writes, and nothing that Python reads besides: no escapes, prefixes or comments.
class LiteralParser {
 public:
  LiteralParser(std::string_view text, uint64_t offset) : text_(text), offset_(offset) {}

  Literal parse() {
    Literal literal = value(0);
    space();
    if (at_ != text_.size()) throw unreadable();
    return literal;
  }

 private:
  Error unreadable() const {
    return invalid("the header of the .npy file is not a dict of descr, fortran_order and shape",
                   offset_ + at_);
  }
  void space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
  }
  char peek() {
    space();
    if (at_ == text_.size()) throw unreadable();
    return text_[at_];
  }

  Literal value(unsigned depth) {
    if (depth > kMostDepth) throw unreadable();
    const char c = peek();
    if (c == '\'' || c == '"') return text(c);
    if (c == '(') return members(Literal::Kind::tuple, ')', depth);
    if (c == '[') return members(Literal::Kind::list, ']', depth);
    if (c == '{') return members(Literal::Kind::dict, '}', depth);
    const size_t begin = at_;
    while (at_ < text_.size() && text_.find_first_of(",:)]} \n\t", at_) != at_) ++at_;
    if (at_ == begin) throw unreadable();
    return {Literal::Kind::word, text_.substr(begin, at_ - begin), {}};
  }
  Literal text(char quote) {
    const size_t begin = ++at_, end = text_.find(quote, begin);
    if (end == std::string_view::npos) throw unreadable();
    at_ = end + 1;
    const std::string_view found = text_.substr(begin, end - begin);
    if (found.find('\\') != std::string_view::npos) throw unreadable();
    return {Literal::Kind::text, found, {}};
  }
  Literal members(Literal::Kind kind, char close, unsigned depth) {
    Literal literal{kind, {}, {}};
    ++at_;
    while (peek() != close) {
      literal.members.push_back(value(depth + 1));
      const bool is_key = kind == Literal::Kind::dict && literal.members.size() % 2 == 1;
      const char c = peek();
      if (is_key ? c != ':' : c != ',' && c != close) throw unreadable();
      if (c != close) ++at_;
    }
    ++at_;
    if (kind == Literal::Kind::dict && literal.members.size() % 2 == 1) throw unreadable();
    return literal;
  }

  std::string_view text_;
  uint64_t offset_;
  size_t at_ = 0;
};

std::optional<uint64_t> number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  return fault == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

std::optional<uint64_t> product(const Literal& shape) {
  if (shape.kind == Literal::Kind::word) return number(shape.text);
  std::optional<uint64_t> count = 1;
  for (const Literal& member : shape.members) {
    const std::optional<uint64_t> size = number(member.text);
    if (member.kind != Literal::Kind::word || !size) return std::nullopt;
    count = checked_mul(*count, *size);
    if (!count) return std::nullopt;
  }
  return count;
}

struct Element {
  bool is_known = false, has_objects = false;
  uint64_t bytes = 0;  ///< of an element without objects
};

/// "<f8", "|S5", "<U3" (4 bytes a character), "<M8[ns]", "|O".
Element element_of_name(std::string_view name) {
  if (!name.empty() && std::string_view("<>|=").find(name[0]) != std::string_view::npos)
    name.remove_prefix(1);
  if (name.empty()) return {};
  const char kind = name[0];
  name.remove_prefix(1);
  if (kind == 'O' && (name.empty() || number(name))) return {true, true, 0};
  if (kind == 'm' || kind == 'M') name = name.substr(0, name.find('['));
  const std::optional<uint64_t> bytes =
      kind == '?' && name.empty() ? std::optional<uint64_t>(1) : number(name);
  if (!bytes || *bytes > INT32_MAX || std::string_view("?biufcmMSaUV").find(kind) == std::string_view::npos)
    return {};
  return {true, false, kind == 'U' ? 4 * *bytes : *bytes};
}

Element repeated(Element element, const Literal& shape) {
  const std::optional<uint64_t> count = product(shape);
  const std::optional<uint64_t> bytes = count ? checked_mul(*count, element.bytes) : std::nullopt;
  return {element.is_known && bytes && *bytes <= INT32_MAX, element.has_objects, bytes.value_or(0)};
}

/// A name, a list of fields (name, dtype) or (name, dtype, shape), or (dtype, shape).
Element element_of(const Literal& descr) {
  if (descr.kind == Literal::Kind::text) return element_of_name(descr.text);
  if (descr.kind == Literal::Kind::tuple && descr.members.size() == 2)
    return repeated(element_of(descr.members[0]), descr.members[1]);
  if (descr.kind != Literal::Kind::list) return {};
  Element all{true, false, 0};
  for (const Literal& field : descr.members) {
    const size_t members = field.members.size();
    if (field.kind != Literal::Kind::tuple || members < 2 || members > 3) return {};
    Element element = element_of(field.members[1]);
    if (members == 3) element = repeated(element, field.members[2]);
    all.is_known = all.is_known && element.is_known;
    all.has_objects = all.has_objects || element.has_objects;
    all.bytes += element.bytes;
  }
  return all;
}

}  // namespace

NpyHeader read_npy_header(const ByteSource& source, uint64_t begin, uint64_t end) {
  ByteReader reader(source, begin, end);
  constexpr uint64_t kLeast = 10;
  if (end - begin < kLeast) throw invalid("the .npy file ends within its header", end);
  reader.skip(kNpyMagic.size());
  const uint8_t major = reader.next();
  reader.skip(1);
  if (major < 1 || major > 3)
    throw Error(ErrorCode::unsupported_format, "the .npy file has a version other than 1, 2 and 3")
        .with_offset(begin);
  if (major > 1 && reader.remaining() < 4) throw invalid("the .npy file ends within its header", end);
  const uint64_t bytes = reader.little_endian(major == 1 ? 2 : 4);
  if (bytes > reader.remaining()) throw invalid("the .npy file ends within its header", end);
  if (bytes > kMostHeaderBytes)
    throw Error(ErrorCode::unsupported_format, "the .npy file has a header of more than 1 MiB")
        .with_offset(begin);
  std::string text;
  const uint64_t text_at = reader.position();
  reader.append_to(text, bytes);
  const Literal header = LiteralParser(text, text_at).parse();
  NpyHeader found{reader.position(), false, false, std::nullopt};
  std::optional<uint64_t> count;
  Element element;
  for (size_t i = 0; header.kind == Literal::Kind::dict && i < header.members.size(); i += 2) {
    const std::string_view key = header.members[i].text;
    if (key == "descr") element = element_of(header.members[i + 1]);
    if (key == "shape") count = product(header.members[i + 1]);
  }
  found.is_known = element.is_known;
  found.has_objects = element.has_objects;
  if (element.is_known && !element.has_objects && count)
    found.data_bytes = checked_mul(*count, element.bytes);
  return found;
}

}  // namespace hfload
