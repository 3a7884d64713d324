#include "core/format/torch_container.h"

#include <fmt/core.h>

#include <algorithm>

#include "core/base/error.h"
#include "core/base/name_hash.h"
#include "core/format/lfs_pointer.h"

namespace hfload {
namespace {

// torch.serialization: MAGIC_NUMBER as a pickled integer, PROTOCOL_VERSION.
constexpr std::string_view kMagic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
constexpr int64_t kProtocol = 1001;
constexpr uint64_t kTarMagicOffset = 257, kMaxRecordBytes = 16;
constexpr std::string_view kDataPickle = "data.pkl";

Error unsupported(std::string message, std::string hint) {
  return Error(ErrorCode::unsupported_format, std::move(message)).with_hint(std::move(hint));
}

std::string read_text(const ByteSource& source, uint64_t offset, uint64_t at_most) {
  std::string text(std::min(at_most, source.bytes() - offset), '\0');
  source.read(offset, std::as_writable_bytes(std::span(text)));
  return text;
}

Error invalid_storage(std::string message, uint64_t offset) {
  return Error(ErrorCode::invalid_storage, std::move(message))
      .with_offset(offset)
      .with_hint("The file is damaged: download or export it again.");
}

void check_crc(const ByteSource& source, const ZipMember& member) {
  if (zip_member_crc(source, member) == member.crc) return;
  throw Error(ErrorCode::invalid_zip, fmt::format("the checksum of member '{}' is wrong", member.name))
      .with_offset(member.data_offset)
      .with_hint("The file is damaged: download or export it again.");
}

}  // namespace

TorchContainer::TorchContainer(const ByteSource& source) : source_(source) {
  const std::string start = read_text(source, 0, kTarMagicOffset + 5);
  refuse_lfs_pointer(start);
  if (is_zip(start)) {
    open_zip();
    return;
  }
  if (start.size() == kTarMagicOffset + 5 && start.ends_with("ustar"))
    throw unsupported("the file is a tar archive, as torch wrote before its version 0.2",
                      "Load it with an old release of torch and save it again.");
  if (start.empty() || start[0] != '\x80')
    throw Error(ErrorCode::invalid_pickle, "the file is neither a zip archive nor a pickle")
        .with_offset(0)
        .with_hint("It was not written by torch.save, or the download went wrong.");
  open_legacy();
}

void TorchContainer::open_zip() {
  layout_ = TorchLayout::zip;
  archive_ = read_zip_archive(source_);
  if (archive_.comment_bytes > 0)
    notes_.push_back(fmt::format("the archive has a comment of {} bytes, which torch.save does not write",
                                 archive_.comment_bytes));
  if (archive_.trailing_bytes > 0)
    notes_.push_back(
        fmt::format("{} bytes follow the end of the archive, and are not read", archive_.trailing_bytes));
  const ZipMember* data = nullptr;
  bool is_script = false;
  for (const ZipMember& member : archive_.members) {
    const size_t slash = member.name.find('/');
    if (slash == std::string::npos) continue;
    const std::string_view rest = std::string_view(member.name).substr(slash + 1);
    is_script |= rest == "constants.pkl" || rest.starts_with("code/");
    if (rest != kDataPickle) continue;
    if (data != nullptr)
      throw Error(ErrorCode::invalid_zip, "the archive has two members of the name data.pkl")
          .with_offset(std::max(data->header_offset, member.header_offset));
    data = &member;
    top_ = member.name.substr(0, slash + 1);
  }
  if (is_script)
    throw unsupported("the file is a TorchScript program, not a state dict",
                      "Load it with torch.jit.load and save its state_dict().");
  if (data == nullptr)
    throw unsupported("the file is a zip archive that torch.save did not write", "It holds no data.pkl.");
  check_crc(source_, *data);
  if (const ZipMember* order = archive_.find(top_ + "byteorder")) {
    check_crc(source_, *order);
    const std::string text = order->bytes <= kMaxRecordBytes
                                 ? read_text(source_, order->data_offset, order->bytes)
                                 : std::string();
    if (text != "little" && text != "big")
      throw Error(ErrorCode::invalid_zip, "the archive's byte order is neither little nor big")
          .with_offset(order->data_offset);
    big_endian_ = text == "big";
  }
  const uint64_t end = data->data_offset + data->bytes;
  pickle_ = parse_pickle(source_, data->data_offset, end);
  if (pickle_.end != end)
    throw Error(ErrorCode::invalid_pickle, "bytes follow the pickle's end").with_offset(pickle_.end);
}

void TorchContainer::open_legacy() {
  layout_ = TorchLayout::legacy;
  const uint64_t size = source_.bytes();
  const ParsedPickle magic = parse_pickle(source_, 0, size);
  const PickleTree& number = magic.tree;
  if (number.kind(number.root()) != PickleKind::big_integer || number.text(number.root()) != kMagic)
    throw unsupported("the file is a pickle that torch.save did not write",
                      "Save the state dict with torch.save or as safetensors.");
  const ParsedPickle protocol = parse_pickle(source_, magic.end, size);
  const PickleTree& version = protocol.tree;
  if (version.kind(version.root()) != PickleKind::integer || version.integer(version.root()) != kProtocol)
    throw unsupported("the file has a protocol of torch.save other than 1001",
                      "Load it with the release of torch that wrote it and save it again.");
  // What it says of the writing machine's byte order has no bearing: storages are little-endian in this
  // layout.
  const ParsedPickle system = parse_pickle(source_, protocol.end, size);
  pickle_ = parse_pickle(source_, system.end, size);
}

std::vector<TorchStorage> TorchContainer::locate(const std::vector<StorageClaim>& claims) const {
  return layout_ == TorchLayout::zip ? locate_in_zip(claims) : locate_in_legacy(claims);
}

std::vector<TorchStorage> TorchContainer::locate_in_zip(const std::vector<StorageClaim>& claims) const {
  std::vector<TorchStorage> storages;
  storages.reserve(claims.size());
  for (const StorageClaim& claim : claims) {
    const ZipMember* member = archive_.find(fmt::format("{}data/{}", top_, claim.key));
    if (member == nullptr)
      throw invalid_storage(fmt::format("the archive has no storage '{}'", claim.key), claim.offset);
    if (member->bytes != claim.bytes())
      throw invalid_storage(
          fmt::format("storage '{}' has {} bytes; {} elements of {} bytes are {}", claim.key, member->bytes,
                      claim.elements, claim.element_bytes, claim.bytes()),
          member->data_offset);
    storages.push_back({std::string(claim.key), member->data_offset, member->bytes, member->crc});
  }
  return storages;
}

std::vector<TorchStorage> TorchContainer::locate_in_legacy(const std::vector<StorageClaim>& claims) const {
  const uint64_t size = source_.bytes();
  const ParsedPickle listed = parse_pickle(source_, pickle_.end, size);
  const PickleTree& tree = listed.tree;
  if (tree.kind(tree.root()) != PickleKind::list)
    throw invalid_storage("the file has no list of its storages", tree.offset(tree.root()));
  NameMap<size_t> index_of;
  for (size_t i = 0; i < claims.size(); ++i) index_of.emplace(claims[i].key, i);
  std::vector<TorchStorage> storages(claims.size());
  std::vector<bool> found(claims.size(), false);
  uint64_t at = listed.end;
  tree.visit_members(tree.root(), [&](PickleId id) {
    const auto it = tree.kind(id) == PickleKind::string ? index_of.find(tree.text(id)) : index_of.end();
    if (it == index_of.end() || found[it->second])
      throw invalid_storage("the list of storages has one that no tensor uses, or one twice",
                            tree.offset(tree.has_offset(id) ? id : tree.root()));
    const StorageClaim& claim = claims[it->second];
    if (size - at < 8) throw invalid_storage("the file ends before its last storage", size);
    const uint64_t elements = ByteReader(source_, at, size).little_endian(8);
    if (elements != claim.elements)
      throw invalid_storage(
          fmt::format("storage '{}' has {} elements and should have {}", claim.key, elements, claim.elements),
          at);
    at += 8;
    if (claim.bytes() > size - at)
      throw Error(
          ErrorCode::data_truncated,
          fmt::format("the file ends within storage '{}', which needs {} bytes", claim.key, claim.bytes()))
          .with_offset(size)
          .with_hint("The file is incomplete: download or export it again.");
    storages[it->second] = {std::string(claim.key), at, claim.bytes(), std::nullopt};
    found[it->second] = true;
    at += claim.bytes();
  });
  const auto absent = std::ranges::find(found, false);
  if (absent != found.end()) {
    const StorageClaim& claim = claims[static_cast<size_t>(absent - found.begin())];
    throw invalid_storage(fmt::format("storage '{}' is not in the file's list", claim.key), claim.offset);
  }
  if (at != size)
    throw Error(ErrorCode::trailing_bytes, fmt::format("{} bytes follow the last storage", size - at))
        .with_offset(at)
        .with_hint("The file was changed after it was written: download or export it again.");
  return storages;
}

}  // namespace hfload
