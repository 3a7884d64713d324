// Pickles, and the members of torch's layout before its version 0.2: declared in container_scan.h.

#include <algorithm>

#include "core/format/container_scan.h"

namespace hfload {
namespace {

// torch.save's legacy layout: magic number, protocol, system, object, keys; then raw storages.
constexpr size_t kLegacyPickles = 5;

}  // namespace

bool ContainerScanner::scan_pickles(const Part& part, const Container& container) {
  const bool is_container = container.kind != ContainerKind::none;
  const bool must_be_pickle = !is_container && has_pickle_name(part.name);
  // The first bytes of the other containers are no pickle that Python reads.
  if (is_container && container.kind != ContainerKind::tar && !container.is_weak) return false;
  if (part.begin == part.end && !must_be_pickle) return false;
  std::string start(std::min<uint64_t>(2, part.end - part.begin), '\0');
  part.source.read(part.begin, std::as_writable_bytes(std::span(start)));
  PickleScan first = scan_pickle(part.source, part.begin, part.end);
  uint64_t at = first.end;
  const bool is_whole = !first.fault;
  const bool is_legacy = first.is_legacy_magic;
  if (is_container && !first.calls_denied_name && !(is_whole && first.names_denied)) return false;
  const bool is_pickle = must_be_pickle || is_container || starts_like_pickle(start) ||
                         first.calls_denied_name || (is_whole && (!first.globals.empty() || at == part.end));
  // One without names says nothing alone: it may be a text that begins with a full stop.
  if (!is_pickle && !is_whole) return false;
  std::vector<std::pair<uint64_t, PickleScan>> scans;
  scans.emplace_back(part.begin, std::move(first));
  uint64_t rest_at = part.end;
  while (!scans.back().second.fault && at < part.end) {
    if (is_legacy && scans.size() == kLegacyPickles) break;
    const uint64_t next = after_zeros(part, at).value_or(at);
    if (next == part.end) break;
    const Container behind = find_container(part.source, next, part.end);
    if (behind.kind != ContainerKind::none && !behind.is_weak) {
      rest_at = next;
      break;
    }
    if (found_.pickles.size() + scans.size() >= kMaxScannedPickles) break;
    scans.emplace_back(next, scan_pickle(part.source, next, part.end));
    at = scans.back().second.end;
  }
  const bool all_whole =
      std::ranges::none_of(scans, [](const auto& scan) { return scan.second.fault.has_value(); });
  if (!is_pickle && !all_whole) return false;
  const bool is_cut = found_.pickles.size() + scans.size() >= kMaxScannedPickles && at < part.end;
  for (auto& [begin, scan] : scans) add_pickle(part, begin, std::move(scan));
  if (is_cut)
    throw Error(ErrorCode::invalid_pickle, "the file holds more than 10,000 pickles").with_offset(at);
  if (rest_at < part.end) look_into(part.rest(rest_at));
  return true;
}

/// torch/serialization.py, legacy_load: a pickled count; then for each storage or tensor a pickle and raw
/// numbers behind it; in `storages` at last a pickle of views.
void ContainerScanner::scan_old_torch_member(const Part& part, bool is_storages) {
  const auto cut_off = [&] {
    return Error(ErrorCode::invalid_storage, "the file ends within a storage or the sizes of a tensor")
        .with_offset(part.end)
        .with_hint("The file is incomplete: download it again.");
  };
  bool is_first = true;
  for (uint64_t at = part.begin; at < part.end && !is_full_; is_first = false) {
    PickleScan scan = scan_pickle(part.source, at, part.end);
    const uint64_t begin = std::exchange(at, scan.end);
    const bool is_bad = scan.fault.has_value();
    uint64_t element_bytes = 0;
    for (const ScannedGlobal& global : scan.globals) {
      const GlobalSymbol symbol = find_pickle_global(global.module, global.name);
      if (symbol.kind == GlobalKind::storage) element_bytes = symbol.dtype->element_bytes;
    }
    add_pickle(part, begin, std::move(scan));
    if (is_bad) return;
    if (is_first) continue;
    ByteReader reader(part.source, at, part.end);
    uint64_t skipped = 0;
    if (is_storages) {
      if (element_bytes == 0) return look_into_rest(part, at);  // the views
      if (reader.remaining() < 8) throw cut_off();
      const uint64_t elements = reader.little_endian(8);
      if (elements > reader.remaining() / element_bytes) throw cut_off();
      skipped = 8 + elements * element_bytes;
    } else {
      if (reader.remaining() < 8) throw cut_off();
      const uint64_t dimensions = reader.little_endian(4);
      skipped = 8 + 16 * dimensions + 8;
    }
    if (skipped > part.end - at) throw cut_off();
    at += skipped;
  }
}

}  // namespace hfload
