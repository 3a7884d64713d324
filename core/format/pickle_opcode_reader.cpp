#include "core/format/pickle_opcode_reader.h"

#include <fmt/core.h>

#include <algorithm>

namespace hfload {

PickleOpcodeReader::PickleOpcodeReader(const ByteSource& source, uint64_t begin, uint64_t limit,
                                       uint64_t most_bytes)
    : reader_(source, begin, begin + std::min(limit - begin, most_bytes)),
      cut_by_limit_(limit - begin > most_bytes) {}

Error PickleOpcodeReader::fail(ErrorCode code, std::string_view message) const {
  const std::string sentence = opcode_name_.empty()
                                   ? std::string(message)
                                   : fmt::format("the pickle's opcode {}: {}", opcode_name_, message);
  return Error(code, sentence).with_offset(at_);
}

Error PickleOpcodeReader::invalid(std::string_view message) const {
  return fail(ErrorCode::invalid_pickle, message)
      .with_hint("The file is damaged, or was not written by torch.save.");
}

const PickleOpcodeInfo& PickleOpcodeReader::next_opcode() {
  at_ = reader_.position();
  if (frame_end_ == at_) frame_end_.reset();
  opcode_name_ = {};
  need(1);
  const uint8_t byte = reader_.next();
  const PickleOpcodeInfo* info = find_pickle_opcode(byte);
  if (info == nullptr) throw invalid(fmt::format("{:#04x} is no opcode of a pickle", byte));
  opcode_name_ = info->name;
  if (++opcodes_ > kMaxPickleOpcodes) throw invalid("the pickle has more than 50,000,000 opcodes");
  return *info;
}

void PickleOpcodeReader::need(uint64_t bytes) const {
  if (bytes > reader_.remaining()) {
    throw invalid(cut_by_limit_ ? "the pickle is longer than 512 MiB"
                                : "the pickle ends before it is complete");
  }
  if (frame_end_ && bytes > *frame_end_ - reader_.position())
    throw invalid("it straddles the end of its frame");
}

uint64_t PickleOpcodeReader::number(unsigned bytes) {
  need(bytes);
  return reader_.little_endian(bytes);
}

std::string PickleOpcodeReader::line(uint64_t most_bytes) {
  std::string text;
  for (const uint64_t begin = reader_.position();;) {
    if (reader_.position() - begin > kMaxPickleBytes) throw invalid("a line of it is longer than 512 MiB");
    need(1);
    const char c = static_cast<char>(reader_.next());
    if (c == '\n') return text;
    if (text.size() < most_bytes) text.push_back(c);
  }
}

}  // namespace hfload
