// Zip archives: declared in container_scan.h.

#include <fmt/core.h>

#include <algorithm>
#include <vector>

#include "core/base/crc32.h"
#include "core/format/container_scan.h"
#include "core/format/zip_archive.h"

namespace hfload {
namespace {

constexpr size_t kMostArchives = 10'000;
constexpr uint16_t kStored = 0, kDeflate = 8, kBzip2 = 12, kXz = 95;

std::optional<Packing> packing_of(uint16_t method) {
  switch (method) {
    case kDeflate:
      return Packing::deflate;
    case kBzip2:
      return Packing::bzip2;
    case kXz:
      return Packing::xz;
    default:
      return std::nullopt;
  }
}

Error damaged(std::string message, uint64_t offset) {
  return Error(ErrorCode::invalid_zip, std::move(message))
      .with_offset(offset)
      .with_hint("The file is damaged or was tampered with: download or export it again.");
}

/// The folder, with its slash, in which torch.save's data.pkl lies; empty where there is none.
std::string torch_folder(const LooseZip& zip) {
  for (const LooseZipMember& member : zip.members) {
    const size_t slash = member.name.find('/');
    if (slash != std::string::npos && member.name.substr(slash + 1) == "data.pkl")
      return member.name.substr(0, slash + 1);
  }
  return {};
}

}  // namespace

/// Archives one after the other, as in the files of torch.distributed.checkpoint; mostly it is one.
/// `look_before` says whether to look into what stands before the first.
void ContainerScanner::scan_zips(const Part& part, bool look_before) {
  std::vector<LooseZip> zips;
  uint64_t end = part.end;
  while (end > part.begin && zips.size() < kMostArchives) {
    std::optional<LooseZip> zip = read_last_zip(part.source, part.begin, end);
    if (!zip) break;
    end = zip->begin;
    zips.push_back(std::move(*zip));
  }
  if (zips.empty()) {
    read_zip_archive(RangeSource(part.source, part.begin, part.end));  // says what is wrong
    throw damaged("the archive has no central directory", part.begin);
  }
  if (look_before && end > part.begin) {
    Part first = part.rest(part.begin);
    first.end = end;
    look_into(first);
  }
  for (size_t i = zips.size(); i-- > 0 && !is_full_;) scan_zip(part, zips[i]);
  if (zips.front().end < part.end) look_into_rest(part, zips.front().end);
}

void ContainerScanner::scan_zip(const Part& part, const LooseZip& zip) {
  for (const Error& fault : zip.faults) add_fault(part, fault);
  const std::string torch = torch_folder(zip);
  for (const LooseZipMember& member : zip.members) {
    if (is_full_) return;
    const bool is_storage =
        !torch.empty() && member.name.starts_with(torch + "data/") && !has_pickle_name(member.name);
    if (is_storage || (member.packed_bytes == 0 && !has_pickle_name(member.name))) continue;
    Part inside = part.in(member.name, member.data_offset, member.data_offset + member.packed_bytes);
    try {
      scan_zip_member(inside, member);
    } catch (const Error& error) {
      if (error.exit_status() != 3 && error.exit_status() != 4) throw;
      add_fault(inside, error);
    }
  }
  if (zip.faults.empty()) judge_zip(part, zip);
}

void ContainerScanner::scan_zip_member(const Part& part, const LooseZipMember& member) {
  const auto unsupported = [&](std::string message) {
    return Error(ErrorCode::unsupported_format, std::move(message))
        .with_offset(part.begin)
        .with_hint("Unpack the archive, and scan what comes out.");
  };
  if (member.is_encrypted) throw unsupported("an encrypted member, which the scan cannot look into");
  if (member.method == kStored) return look_into(part);
  const std::optional<Packing> packing = packing_of(member.method);
  if (!packing)
    throw unsupported(
        fmt::format("a member compressed by method {}, which the scan does not look into", member.method));
  if (part.packed_depth == kMaxPackedDepth)
    throw unsupported("compressed streams nest more than 4 deep here");
  if (budget_.first == 0)
    throw unsupported("what the file's streams unpack to is beyond what a scan looks into");
  const UnpackedSource unpacked(part.source, part.begin, part.end, *packing, budget_);
  scan_unpacked(part, unpacked, "");
  if (unpacked.fault()) {
    add_fault(part, *unpacked.fault());
  } else if (unpacked.bytes() != member.bytes || unpacked.crc() != member.crc) {
    add_fault(part,
              damaged("the member unpacks to another size or checksum than the archive says", part.begin));
  }
}

/// The strict reader finds what lets two readers see two archives in one file.
void ContainerScanner::judge_zip(const Part& part, const LooseZip& zip) {
  const bool is_plain = std::ranges::all_of(
      zip.members, [](const LooseZipMember& m) { return m.method == kStored && !m.is_encrypted; });
  try {
    read_zip_archive(RangeSource(part.source, zip.begin, zip.end));
  } catch (const Error& error) {
    if (error.exit_status() != 3 && error.exit_status() != 4) throw;
    if (error.code() == ErrorCode::unsupported_format && !is_plain) return;
    Error moved(error);
    if (error.offset()) moved.with_offset(*error.offset() + zip.begin);
    add_fault(part, moved);
  }
}

}  // namespace hfload
