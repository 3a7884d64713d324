#include "core/format/unpack.h"

#include <bzlib.h>
#include <fmt/core.h>
#include <lzma.h>
#include <zlib.h>

#include <algorithm>
#include <new>
#include <string>

#include "core/base/error.h"

namespace hfload {
namespace {

constexpr size_t kWindowBytes = 64 << 10;
constexpr size_t kMostStartBytes = 6;

enum class Step : uint8_t { more, end, damaged, too_much_memory };

/// Whether a further stream of that format begins with these bytes, kMostStartBytes of them.
bool is_start_of(Packing packing, std::string_view start) {
  switch (packing) {
    case Packing::gzip:
      return start.starts_with("\x1f\x8b\x08");
    case Packing::bzip2:
      return start.starts_with("BZh") && start[3] >= '1' && start[3] <= '9';
    case Packing::xz:
      return start == std::string_view("\xfd\x37zXZ\0", 6);
    case Packing::zlib:
      return start[0] == '\x78' && (0x7800 + static_cast<uint8_t>(start[1])) % 31 == 0;
    case Packing::deflate:
    case Packing::lzma_alone:
      return false;
  }
  return false;
}

}  // namespace

/// What the three libraries have in common: takes bytes from the front of `in`, puts bytes to the front of
/// `out`, and shortens both spans by them.
class StreamDecoder {
 public:
  virtual ~StreamDecoder() = default;
  virtual Step step(std::span<const std::byte>& in, std::span<std::byte>& out) = 0;

 protected:
  template <class In, class Out>
  static void advance(std::span<const std::byte>& in, std::span<std::byte>& out, In in_left, Out out_left) {
    in = in.last(in_left);
    out = out.last(out_left);
  }
};

namespace {

class ZlibDecoder final : public StreamDecoder {
 public:
  explicit ZlibDecoder(Packing packing) {
    const int window_bits = packing == Packing::deflate ? -15 : packing == Packing::gzip ? 16 + 15 : 15;
    if (inflateInit2(&stream_, window_bits) != Z_OK) throw std::bad_alloc();
  }
  ~ZlibDecoder() override { inflateEnd(&stream_); }

  Step step(std::span<const std::byte>& in, std::span<std::byte>& out) override {
    // zlib takes no constant pointers, and changes nothing behind this one.
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(in.data()));
    stream_.avail_in = static_cast<uInt>(in.size());
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(out.size());
    const int status = inflate(&stream_, Z_NO_FLUSH);
    advance(in, out, stream_.avail_in, stream_.avail_out);
    if (status == Z_MEM_ERROR) throw std::bad_alloc();
    return status == Z_STREAM_END                    ? Step::end
           : status == Z_OK || status == Z_BUF_ERROR ? Step::more
                                                     : Step::damaged;
  }

 private:
  z_stream stream_{};
};

class Bzip2Decoder final : public StreamDecoder {
 public:
  Bzip2Decoder() {
    if (BZ2_bzDecompressInit(&stream_, 0, 0) != BZ_OK) throw std::bad_alloc();
  }
  ~Bzip2Decoder() override { BZ2_bzDecompressEnd(&stream_); }

  Step step(std::span<const std::byte>& in, std::span<std::byte>& out) override {
    stream_.next_in = reinterpret_cast<char*>(const_cast<std::byte*>(in.data()));
    stream_.avail_in = static_cast<unsigned>(in.size());
    stream_.next_out = reinterpret_cast<char*>(out.data());
    stream_.avail_out = static_cast<unsigned>(out.size());
    const int status = BZ2_bzDecompress(&stream_);
    advance(in, out, stream_.avail_in, stream_.avail_out);
    if (status == BZ_MEM_ERROR) throw std::bad_alloc();
    return status == BZ_STREAM_END ? Step::end : status == BZ_OK ? Step::more : Step::damaged;
  }

 private:
  bz_stream stream_{};
};

class LzmaDecoder final : public StreamDecoder {
 public:
  explicit LzmaDecoder(Packing packing) {
    const lzma_ret status = packing == Packing::xz ? lzma_stream_decoder(&stream_, kMaxUnpackMemory, 0)
                                                   : lzma_alone_decoder(&stream_, kMaxUnpackMemory);
    if (status != LZMA_OK) throw std::bad_alloc();
  }
  ~LzmaDecoder() override { lzma_end(&stream_); }

  Step step(std::span<const std::byte>& in, std::span<std::byte>& out) override {
    stream_.next_in = reinterpret_cast<const uint8_t*>(in.data());
    stream_.avail_in = in.size();
    stream_.next_out = reinterpret_cast<uint8_t*>(out.data());
    stream_.avail_out = out.size();
    const lzma_ret status = lzma_code(&stream_, LZMA_RUN);
    advance(in, out, stream_.avail_in, stream_.avail_out);
    if (status == LZMA_MEM_ERROR) throw std::bad_alloc();
    if (status == LZMA_MEMLIMIT_ERROR) return Step::too_much_memory;
    return status == LZMA_STREAM_END                       ? Step::end
           : status == LZMA_OK || status == LZMA_BUF_ERROR ? Step::more
                                                           : Step::damaged;
  }

 private:
  lzma_stream stream_ = LZMA_STREAM_INIT;
};

std::unique_ptr<StreamDecoder> make_decoder(Packing packing) {
  switch (packing) {
    case Packing::deflate:
    case Packing::zlib:
    case Packing::gzip:
      return std::make_unique<ZlibDecoder>(packing);
    case Packing::bzip2:
      return std::make_unique<Bzip2Decoder>();
    case Packing::xz:
    case Packing::lzma_alone:
      return std::make_unique<LzmaDecoder>(packing);
  }
  throw Error(ErrorCode::internal, "a packing without a decoder");
}

Error damaged(Packing packing, std::string_view what, uint64_t offset) {
  return Error(ErrorCode::invalid_stream, fmt::format("the {} stream {}", to_string(packing), what))
      .with_offset(offset)
      .with_hint("The file is damaged: download or export it again.");
}

}  // namespace

std::string_view to_string(Packing packing) {
  switch (packing) {
    case Packing::deflate:
      return "deflate";
    case Packing::zlib:
      return "zlib";
    case Packing::gzip:
      return "gzip";
    case Packing::bzip2:
      return "bzip2";
    case Packing::xz:
      return "xz";
    case Packing::lzma_alone:
      return "lzma";
  }
  return "?";
}

Unpacker::Unpacker(const ByteSource& source, uint64_t begin, uint64_t end, Packing packing,
                   uint64_t most_bytes)
    : source_(source),
      end_(end),
      window_begin_(begin),
      most_bytes_(most_bytes),
      packing_(packing),
      decoder_(make_decoder(packing)) {}

Unpacker::~Unpacker() = default;

/// Moves what is left of the window to its start and reads on; false where the range has no more bytes.
bool Unpacker::fill() {
  const uint64_t at = window_begin_ + window_.size();
  const size_t more = static_cast<size_t>(std::min<uint64_t>(kWindowBytes, end_ - at));
  if (more == 0) return false;
  window_.erase(window_.begin(), window_.begin() + static_cast<ptrdiff_t>(used_));
  window_begin_ += used_;
  used_ = 0;
  const size_t kept = window_.size();
  window_.resize(kept + more);
  source_.read(at, std::span(window_).subspan(kept));
  return true;
}

/// Whether the window holds `count` unread bytes, reading on where it does not.
bool Unpacker::has(size_t count) {
  while (window_.size() - used_ < count && fill()) {
  }
  return window_.size() - used_ >= count;
}

bool Unpacker::is_zero(size_t count) {
  const auto begin = window_.begin() + static_cast<ptrdiff_t>(used_);
  return has(count) && std::all_of(begin, begin + static_cast<ptrdiff_t>(count),
                                   [](std::byte b) { return b == std::byte{0}; });
}

/// Whether a further stream of the format stands where one has ended. Passes over the zeros that may pad
/// xz's, by four, and gzip's.
bool Unpacker::begins_another() {
  const size_t padding = packing_ == Packing::xz ? 4 : packing_ == Packing::gzip ? 1 : 0;
  while (padding > 0 && has(padding) && is_zero(padding)) used_ += padding;
  if (!has(kMostStartBytes)) return false;
  const char* const rest = reinterpret_cast<const char*>(window_.data()) + used_;
  return is_start_of(packing_, {rest, kMostStartBytes});
}

/// One or more bytes, or none at the end and where there is a fault.
size_t Unpacker::read_piece(std::span<std::byte> into) {
  std::span<std::byte> out = into;
  while (out.size() == into.size() && !ended_ && !fault_) {
    const bool has_input = has(1);
    std::span<const std::byte> in = std::span<const std::byte>(window_).subspan(used_);
    const size_t in_before = in.size();
    const Step step = decoder_->step(in, out);
    used_ = window_.size() - in.size();
    const bool stands_still = in.size() == in_before && out.size() == into.size();
    if (step == Step::end) {
      ended_ = !begins_another();
      if (!ended_) decoder_ = make_decoder(packing_);
    } else if (step == Step::too_much_memory) {
      fault_ = Error(ErrorCode::unsupported_format,
                     fmt::format("the {} stream needs more than 80 MiB of memory", to_string(packing_)))
                   .with_offset(position());
    } else if (step == Step::more && stands_still && !has_input) {
      fault_ = damaged(packing_, "ends early", end_);
    } else if (step == Step::damaged || (step == Step::more && stands_still)) {
      fault_ = damaged(packing_, "is damaged", position());
    }
  }
  return into.size() - out.size();
}

size_t Unpacker::read(std::span<std::byte> into) {
  size_t done = 0;
  while (done < into.size()) {
    const uint64_t allowed = most_bytes_ - unpacked_;
    std::byte beyond{};
    const std::span<std::byte> room =
        allowed == 0 ? std::span(&beyond, 1)
                     : into.subspan(done, std::min<uint64_t>(into.size() - done, allowed));
    const size_t piece = read_piece(room);
    if (piece == 0) break;
    if (allowed == 0) {
      fault_ = Error(ErrorCode::unsupported_format, fmt::format("the {} stream unpacks to more than {} bytes",
                                                                to_string(packing_), most_bytes_))
                   .with_offset(position());
      break;
    }
    done += piece;
    unpacked_ += piece;
  }
  if (done == 0 && fault_) throw Error(*fault_);
  return done;
}

}  // namespace hfload
