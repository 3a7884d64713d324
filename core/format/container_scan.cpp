#include "core/format/container_scan.h"

#include <fmt/core.h>
#include <simdjson.h>

#include <algorithm>

#include "core/format/lfs_pointer.h"
#include "core/format/npy_header.h"
#include "core/format/scanned_values.h"
#include "core/format/tar_members.h"

namespace hfload {
namespace {

constexpr uint64_t kStartBytes = 64;
// Of memory, and one for each byte of the file.
constexpr uint64_t kMaxNameBytes = 24 << 20;
constexpr size_t kMostFaults = 100, kMaxLabelBytes = 1024;
constexpr uint64_t kMostPadding = 1 << 20;
// A stream that two bytes of a text happen to begin, and that is damaged before it has unpacked to so many,
// is none.
constexpr uint64_t kLeastOfWeakStream = 4096;
constexpr std::string_view kPackedNames[] = {".gz", ".gzip", ".bz2", ".xz", ".lzma", ".z", ".zlib", ".zz"};
constexpr std::string_view kHint = "Unpack it, and scan what comes out.";

std::string read_start(const ByteSource& source, uint64_t offset, uint64_t bytes) {
  std::string start(std::min(kStartBytes, bytes), '\0');
  source.read(offset, std::as_writable_bytes(std::span(start)));
  return start;
}

Error not_looked_into(std::string message, uint64_t offset) {
  return Error(ErrorCode::unsupported_format, std::move(message))
      .with_offset(offset)
      .with_hint(std::string(kHint));
}

/// Valid UTF-8 of a bounded length.
std::string printable(std::string_view name) {
  std::string text(cut_text(name, kMaxLabelBytes));
  if (simdjson::validate_utf8(text.data(), text.size())) return text;
  std::ranges::replace_if(
      text, [](char c) { return static_cast<uint8_t>(c) >= 0x80; }, '?');
  return text;
}

std::string without_packed_ending(const std::string& name) {
  for (const std::string_view ending : kPackedNames) {
    if (name.ends_with(ending)) return name.substr(0, name.size() - ending.size());
  }
  return name;
}

}  // namespace

Error fault_in(const std::string& member, const Error& fault) {
  if (member.empty()) return fault;
  Error named(fault.code(), fmt::format("in {}: {}", member, fault.message()));
  if (fault.offset()) named.with_offset(*fault.offset());
  if (!fault.hint().empty()) named.with_hint(fault.hint());
  return named;
}

ContainerScanner::Part ContainerScanner::Part::in(std::string_view member_name, uint64_t from,
                                                  uint64_t to) const {
  const std::string label = printable(member_name);
  std::string path = member.empty() ? label : std::string(cut_text(member, kMaxLabelBytes)) + ":" + label;
  return {source, from, to, std::move(path), std::string(member_name), depth + 1, packed_depth};
}

ContainerScanner::Part ContainerScanner::Part::rest(uint64_t from) const {
  return {source, from, end, member, {}, depth + 1, packed_depth};
}

ContainerScanner::ContainerScanner(const ByteSource& file)
    : file_(file), most_kept_bytes_(kMaxNameBytes + file.bytes()) {
  const uint64_t per_byte =
      std::min(file.bytes(), UINT64_MAX / 64 / kMaxUnpackedPerByte) * kMaxUnpackedPerByte;
  budget_ = {kMaxUnpackedBytes + per_byte, 16 * (kMaxUnpackedBytes + per_byte), kMaxHeldBytes};
}

FileScan ContainerScanner::run(std::string_view name) && {
  const Part whole{file_, 0, file_.bytes(), {}, std::string(name), 0, 0};
  try {
    refuse_lfs_pointer(read_start(file_, 0, file_.bytes()));
    look_into(whole);
  } catch (const Error& error) {
    if (error.exit_status() != 3 && error.exit_status() != 4) throw;
    add_fault(whole, error);
  }
  found_.is_container = containers_ > 0;
  return std::move(found_);
}

void ContainerScanner::add_fault(const Part& part, const Error& fault) {
  if (found_.faults.size() < kMostFaults) found_.faults.push_back(fault_in(part.member, fault));
}

void ContainerScanner::look_into(const Part& part) {
  if (is_full_) return;
  if (part.depth > kMaxContainerDepth) {
    add_fault(part, not_looked_into("containers nest more than 16 deep here", part.begin));
    return;
  }
  try {
    const std::string start = read_start(part.source, part.begin, part.end - part.begin);
    const Container container = find_container(part.source, part.begin, part.end);
    const bool is_container = container.kind != ContainerKind::none;
    // A tar archive, whose first bytes are a name, and others too may be pickles besides.
    const bool is_pickle = scan_pickles(part, container);
    // In this order, each byte of a stream that is too long to be held is unpacked once.
    if (is_container) {
      look_into_container(part, container);
    } else if (ends_like_zip(part.source, part.begin, part.end)) {
      ++containers_;
      scan_zips(part, !is_pickle);
    } else if (!is_pickle) {
      look_behind_zeros(part, start);
    }
  } catch (const Error& error) {
    if (error.exit_status() != 3 && error.exit_status() != 4) throw;
    add_fault(part, error);
  }
}

void ContainerScanner::look_into_container(const Part& part, const Container& container) {
  if (!container.is_weak) ++containers_;
  switch (container.kind) {
    case ContainerKind::zip:
      return scan_zips(part, true);
    case ContainerKind::tar:
      return scan_tar(part);
    case ContainerKind::npy:
      return scan_npy(part);
    case ContainerKind::packed:
      return scan_packed(part, container);
    case ContainerKind::unread:
      throw not_looked_into(fmt::format("{}, which the scan does not look into", container.name), part.begin);
    case ContainerKind::none:
      return;
  }
}

/// The first byte that is not zero, from `from` on, or part.end; nothing where more than a mebibyte are zero.
std::optional<uint64_t> ContainerScanner::after_zeros(const Part& part, uint64_t from) const {
  ByteReader reader(part.source, from, part.end);
  while (reader.remaining() > 0) {
    const uint64_t at = reader.position();
    if (at - from > kMostPadding) return std::nullopt;
    if (reader.next() != 0) return at;
  }
  return part.end;
}

void ContainerScanner::look_behind_zeros(const Part& part, std::string_view start) {
  if (start.starts_with('\0')) look_into_rest(part, part.begin);
}

void ContainerScanner::look_into_rest(const Part& part, uint64_t from) {
  const std::optional<uint64_t> at = after_zeros(part, from);
  if (at && *at < part.end) look_into(part.rest(*at));
}

void ContainerScanner::add_pickle(const Part& part, uint64_t begin, PickleScan scan) {
  kept_bytes_ += sizeof(ScannedPickle) + part.member.size();
  for (const ScannedGlobal& global : scan.globals) kept_bytes_ += global.bytes();
  found_.pickles.push_back({part.member, begin, std::move(scan)});
  is_full_ = true;
  if (found_.pickles.size() >= kMaxScannedPickles)
    throw Error(ErrorCode::invalid_pickle, "the file holds more than 10,000 pickles").with_offset(begin);
  if (kept_bytes_ > most_kept_bytes_)
    throw Error(ErrorCode::invalid_pickle,
                "the names in the file's pickles take more than 24 MiB and a byte for each byte of the file")
        .with_offset(begin);
  is_full_ = false;
}

void ContainerScanner::scan_tar(const Part& part) {
  TarReader reader(part.source, part.begin, part.end);
  struct OldTorchMember {
    Part part;
    bool is_storages;
  };
  std::vector<OldTorchMember> old_torch;
  bool has_pickle = false;
  while (const std::optional<TarMember> member = reader.next()) {
    if (is_full_) return;
    if (!member->is_file || member->bytes == 0) continue;
    const Part inside = part.in(member->name, member->data_offset, member->data_offset + member->bytes);
    if (member->is_sparse) {
      add_fault(inside,
                not_looked_into("a sparse member, which the scan does not look into", member->data_offset));
      continue;
    }
    // torch's layout before 0.2: sys_info, pickle, tensors, storages.
    has_pickle = has_pickle || member->name == "pickle";
    if (member->name == "storages" || member->name == "tensors") {
      if (old_torch.size() < 2) old_torch.push_back({inside, member->name == "storages"});
    } else {
      look_into(inside);
    }
  }
  for (const OldTorchMember& member : old_torch) {
    try {
      has_pickle ? scan_old_torch_member(member.part, member.is_storages) : look_into(member.part);
    } catch (const Error& error) {
      if (error.exit_status() != 3 && error.exit_status() != 4) throw;
      add_fault(member.part, error);
    }
  }
  look_into_rest(part, reader.position());
}

void ContainerScanner::scan_npy(const Part& part) {
  for (uint64_t at = part.begin; at < part.end && !is_full_;) {
    const NpyHeader header = read_npy_header(part.source, at, part.end);
    Part data = part;
    data.begin = header.data_offset;
    if (header.has_objects) {
      add_pickle(data, data.begin, scan_pickle(part.source, data.begin, part.end));
      if (found_.pickles.back().scan.fault) return;
      at = found_.pickles.back().scan.end;
    } else if (!header.is_known || !header.data_bytes) {
      data.name.clear();
      scan_pickles(data, {});
      throw not_looked_into(
          "the array has a dtype that the scan does not know; its data were not looked into", at);
    } else if (*header.data_bytes > part.end - data.begin) {
      throw Error(ErrorCode::invalid_npy, "the .npy file ends within its data")
          .with_offset(part.end)
          .with_hint("The file is incomplete: download or export it again.");
    } else {
      at = data.begin + *header.data_bytes;
    }
    // numpy.save writes any number of arrays to one file.
    if (at == part.end) return;
    if (!read_start(part.source, at, part.end - at).starts_with(kNpyMagic)) return look_into_rest(part, at);
  }
}

void ContainerScanner::scan_packed(const Part& part, const Container& container) {
  if (part.packed_depth == kMaxPackedDepth)
    throw not_looked_into("compressed streams nest more than 4 deep here", part.begin);
  if (budget_.first == 0)
    throw not_looked_into("what the file's streams unpack to is beyond what a scan looks into", part.begin);
  const size_t before = findings();
  const UnpackedSource unpacked(part.source, part.begin + container.stream_offset, part.end,
                                container.packing, budget_);
  const bool found = scan_unpacked(part, unpacked, fmt::format("({})", to_string(container.packing)));
  if (container.is_weak) {
    const bool is_none = unpacked.fault() && unpacked.fault()->code() == ErrorCode::invalid_stream &&
                         unpacked.bytes() < kLeastOfWeakStream && !found && findings() == before &&
                         !has_pickle_name(part.name);
    if (is_none) return;
    ++containers_;
  }
  if (unpacked.fault()) return add_fault(part, *unpacked.fault());
  look_into_rest(part, unpacked.packed_end());
}

bool ContainerScanner::scan_unpacked(const Part& part, const UnpackedSource& unpacked,
                                     std::string_view step) {
  const bool is_cut = unpacked.fault() && unpacked.fault()->code() == ErrorCode::unsupported_format;
  const size_t pickles = found_.pickles.size(), faults = found_.faults.size(), before = findings();
  Part inside{unpacked, 0, unpacked.bytes(), {}, {}, part.depth + 1, part.packed_depth + 1};
  inside.member = part.in(step, 0, 0).member;
  inside.name = without_packed_ending(part.name);
  if (step.empty()) {  // a member of an archive, whose name the part has already
    inside.member = part.member;
    inside.name = part.name;
  }
  if (unpacked.fault() && unpacked.bytes() == 0) return false;
  look_into(inside);
  if (is_cut) {  // what is missing at its end is missing here
    found_.faults.resize(std::min(found_.faults.size(), faults), Error(ErrorCode::internal, ""));
    for (size_t i = pickles; i < found_.pickles.size(); ++i) found_.pickles[i].scan.fault.reset();
  }
  return findings() != before;
}

}  // namespace hfload
