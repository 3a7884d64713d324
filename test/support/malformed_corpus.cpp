#include "test/support/malformed_corpus.h"

#include "test/support/checkpoint_builder.h"
#include "test/support/malformed_json.h"

namespace hfload::test {
namespace {

using enum ErrorCode;

constexpr uint64_t kLengthPrefixBytes = 8;

/// In texts below, ^ stands before the byte that the error must point to, and is no part of the text.
constexpr char kMark = '^';

class Corpus {
 public:
  std::vector<MalformedCase> take() { return std::move(cases_); }

  /// A safetensors file with this header, a true length prefix and that many bytes of data.
  void header(std::string name, ErrorCode code, std::string tensor, std::string text,
              uint64_t data_bytes = 0) {
    const std::optional<uint64_t> mark = take_mark(text);
    add(DocumentKind::safetensors, std::move(name), code, std::move(tensor),
        mark ? std::optional(kLengthPrefixBytes + *mark) : std::nullopt,
        safetensors_bytes(text, std::string(data_bytes, 'd')));
  }
  /// A header of one tensor "a" whose entry is as given.
  void entry(std::string name, ErrorCode code, const std::string& entry, uint64_t data_bytes = 4) {
    header(std::move(name), code, "a", R"({"a":)" + entry + "}", data_bytes);
  }
  void shape(std::string name, ErrorCode code, const std::string& shape, uint64_t data_bytes = 4) {
    entry(std::move(name), code,
          R"({"dtype":"F32","shape":)" + shape + R"(,"data_offsets":[0,)" + std::to_string(data_bytes) + "]}",
          data_bytes);
  }
  void offsets(std::string name, ErrorCode code, const std::string& offsets, uint64_t data_bytes = 4) {
    entry(std::move(name), code, R"({"dtype":"F32","shape":[1],"data_offsets":)" + offsets + "}", data_bytes);
  }
  /// A header with an unknown field of tensor "a", whose value nobody needs.
  void ignored(std::string name, ErrorCode code, const std::string& value) {
    entry(std::move(name), code, R"({"x":)" + value + R"(,"dtype":"F32","shape":[1],"data_offsets":[0,4]})");
  }
  void metadata(std::string name, ErrorCode code, const std::string& metadata) {
    header(std::move(name), code, "",
           R"({"__metadata__":)" + metadata + R"(,"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4);
  }
  void file(std::string name, ErrorCode code, std::optional<uint64_t> offset, std::string bytes,
            std::string tensor = {}) {
    add(DocumentKind::safetensors, std::move(name), code, std::move(tensor), offset, std::move(bytes));
  }
  void index(std::string name, ErrorCode code, std::string tensor, std::string text) {
    const std::optional<uint64_t> mark = take_mark(text);
    add(DocumentKind::shard_index, std::move(name), code, std::move(tensor), mark, std::move(text));
  }
  /// An index that maps tensor "a" to this shard, given as JSON.
  void shard(std::string name, ErrorCode code, const std::string& json) {
    index(std::move(name), code, "a", R"({"weight_map":{"a":^)" + json + "}}");
  }
  void config(std::string name, ErrorCode code, std::string text) {
    const std::optional<uint64_t> mark = take_mark(text);
    add(DocumentKind::model_config, std::move(name), code, "", mark, std::move(text));
  }

 private:
  void add(DocumentKind kind, std::string name, ErrorCode code, std::string tensor,
           std::optional<uint64_t> offset, std::string bytes) {
    cases_.push_back({kind, std::move(name), code, std::move(tensor), offset, std::move(bytes)});
  }

  static std::optional<uint64_t> take_mark(std::string& text) {
    const size_t at = text.find(kMark);
    if (at == std::string::npos) return std::nullopt;
    text.erase(at, 1);
    return at;
  }

  std::vector<MalformedCase> cases_;
};

const std::string kEntry = R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})";

std::string valid_file() { return safetensors_bytes(R"({"a":)" + kEntry + "}", "data"); }

void add_length_prefixes(Corpus& c) {
  const std::string valid = valid_file();
  const std::string rest = valid.substr(kLengthPrefixBytes);
  const auto declares = [&](std::string name, ErrorCode code, uint64_t bytes) {
    c.file(std::move(name), code, code == header_too_large ? 0 : valid.size(),
           safetensors_bytes(bytes, rest, ""));
  };
  c.file("empty-file", header_too_small, 0, "");
  c.file("seven-bytes", header_too_small, 7, valid.substr(0, 7));
  c.file("prefix-only-zero", invalid_json, 8, safetensors_bytes(0, "", ""));
  c.file("prefix-only", header_truncated, 8, valid.substr(0, 8));
  declares("length-all-ones", header_too_large, UINT64_MAX);
  declares("length-2-63", header_too_large, uint64_t{1} << 63);
  declares("length-2-32", header_too_large, uint64_t{1} << 32);
  declares("length-limit-plus-one", header_too_large, 100'000'001);
  declares("length-limit", header_truncated, 100'000'000);
  declares("length-1000", header_truncated, 1000);
  declares("length-file-size", header_truncated, valid.size());
  declares("length-file-size-minus-7", header_truncated, valid.size() - 7);
  c.file("length-big-endian", header_too_large, 0,
         std::string(6, '\0') + '\1' + '\0' + std::string(256, ' '));
  c.file("length-short-by-one", invalid_json, kLengthPrefixBytes + rest.size() - 5,
         safetensors_bytes(rest.size() - 5, rest, ""));
  c.file("length-long-by-one", invalid_json, kLengthPrefixBytes + rest.size() - 4,
         safetensors_bytes(rest.size() - 3, rest, ""));
  c.file("zip-archive", header_too_large, 0, std::string("PK\3\4\0\0\10\10\0\0", 10) + std::string(64, 'x'));
  c.file("hdf5", header_too_large, 0, "\x89HDF\r\n\x1a\n" + std::string(64, '\0'));
  c.file("gguf", header_too_large, 0, "GGUF" + std::string("\3\0\0\0", 4) + std::string(64, '\0'));
  c.file("pickle", header_too_large, 0, "\x80\2}q\1(X\5" + std::string(64, '\0'));
  c.file("html-page", header_too_large, 0, "<!DOCTYPE html><html><head><title>404</title></head></html>");
  c.file("bare-json", header_too_large, 0, R"({"a":)" + kEntry + "}");
  c.file("lfs-pointer", lfs_pointer, 0,
         "version https://git-lfs.github.com/spec/v1\noid sha256:" + std::string(64, '0') + "\nsize 35838\n");
}

void add_headers(Corpus& c) {
  add_json_faults(
      3,
      [&](std::string name, ErrorCode code, const std::string& members) {
        // Faults of the bytes are found before anything is known of tensors.
        const bool in_bytes =
            code == invalid_utf8 || members.find_first_of(std::string("\n\x1b\0", 3)) != std::string::npos;
        if (in_bytes) {
          c.header(std::move(name), code, "", R"({"a":{)" + members + "}}", 4);
        } else {
          c.ignored(std::move(name), code, "{" + members + "}");
        }
      },
      1,
      [&](std::string name, ErrorCode code, std::string text) {
        // A member of the root is a tensor's entry, so that these texts stand where one is due.
        const bool is_entry = text.starts_with(R"({"x")");
        if (is_entry) text.insert(0, R"({"a":)");
        c.header(std::move(name), code, is_entry ? "a" : "", std::move(text));
      });
  c.header("root-array", invalid_json, "", "^[]");
  c.ignored("nan", invalid_json, "^NaN");
  c.ignored("infinity", invalid_json, "[0,^-Infinity]");
  c.header("duplicate-tensor-same-offsets", duplicate_key, "a",
           R"({"a":)" + kEntry + R"(,^"a":)" + kEntry + "}", 4);
  c.header("duplicate-tensor-other-offsets", duplicate_key, "a",
           R"({"a":)" + kEntry + R"(,^"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8);
  c.header("duplicate-tensor-escaped", duplicate_key, "a",
           R"({"a":)" + kEntry + R"(,^"\u0061":)" + kEntry + "}", 4);
  c.header(
      "duplicate-tensor-zero-size", duplicate_key, "a",
      R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},^"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}})");
  std::string many = "{";
  for (int i = 0; i < 1000; ++i)
    many += "\"t" + std::to_string(i) + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)";
  c.header("duplicate-tensor-among-1000", duplicate_key, "t500",
           many + R"(^"t500":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})");
  c.header("duplicate-metadata", duplicate_key, "",
           R"({"__metadata__":{},"a":)" + kEntry + R"(,^"__metadata__":{}})", 4);
  c.entry("duplicate-dtype", duplicate_key,
          R"({"dtype":"F32","shape":[1],"data_offsets":[0,4],^"dtype":"F32"})");
  c.entry("duplicate-shape", duplicate_key,
          R"({"dtype":"F32","shape":[1],^"shape":[1],"data_offsets":[0,4]})");
  c.entry("duplicate-data-offsets", duplicate_key,
          R"({"dtype":"F32","shape":[1],"data_offsets":[0,4],^"data_offsets":[0,4]})");
  c.metadata("metadata-array", invalid_metadata, "^[]");
  c.metadata("metadata-string", invalid_metadata, R"(^"pt")");
  c.metadata("metadata-number", invalid_metadata, R"({"format":^1})");
  c.metadata("metadata-null-value", invalid_metadata, R"({"format":^null})");
  c.metadata("metadata-boolean", invalid_metadata, R"({"format":^true})");
  c.metadata("metadata-nested", invalid_metadata, R"({"format":^{"a":"b"}})");
  c.metadata("metadata-list", invalid_metadata, R"({"format":^["pt"]})");
  c.metadata("metadata-duplicate-key", duplicate_key, R"({"format":"pt",^"format":"tf"})");
}

void add_entries(Corpus& c) {
  c.entry("entry-array", invalid_tensor_entry, R"(^["F32",[1],[0,4]])");
  c.entry("entry-string", invalid_tensor_entry, R"(^"F32")");
  c.entry("entry-null", invalid_tensor_entry, "^null");
  c.entry("entry-number", invalid_tensor_entry, "^0");
  c.entry("entry-empty", invalid_tensor_entry, "^{}");
  c.entry("entry-no-dtype", invalid_tensor_entry, R"(^{"shape":[1],"data_offsets":[0,4]})");
  c.entry("entry-no-shape", invalid_tensor_entry, R"(^{"dtype":"F32","data_offsets":[0,4]})");
  c.entry("entry-no-data-offsets", invalid_tensor_entry, R"(^{"dtype":"F32","shape":[1]})");
  c.entry("dtype-number", invalid_tensor_entry, R"({"dtype":^32,"shape":[1],"data_offsets":[0,4]})");
  c.entry("dtype-null", invalid_tensor_entry, R"({"dtype":^null,"shape":[1],"data_offsets":[0,4]})");
  c.shape("shape-null", invalid_tensor_entry, "^null");
  c.shape("shape-number", invalid_tensor_entry, "^1");
  c.shape("shape-object", invalid_tensor_entry, "^{}");
  c.shape("shape-nested", invalid_tensor_entry, "[^[1]]");
  c.shape("shape-string", invalid_tensor_entry, R"([^"1"])");
  c.shape("shape-boolean", invalid_tensor_entry, "[^true]");
  c.offsets("offsets-string", invalid_tensor_entry, R"(^"0,4")");
  c.offsets("offsets-object", invalid_tensor_entry, R"(^{"begin":0,"end":4})");
  c.offsets("offsets-none", invalid_tensor_entry, "^[]");
  c.offsets("offsets-one", invalid_tensor_entry, "^[4]");
  c.offsets("offsets-three", invalid_tensor_entry, "^[0,4,4]");
  c.offsets("offsets-null", invalid_tensor_entry, "[0,^null]");
  c.offsets("offsets-strings", invalid_tensor_entry, R"([^"0","4"])");
  c.shape("shape-fraction", invalid_number, "[^1.0]");
  c.shape("shape-exponent", invalid_number, "[^1e0]");
  c.shape("shape-minus-zero", invalid_number, "[^-0]");
  c.shape("shape-negative", invalid_number, "[1,^-1]");
  c.shape("shape-leading-zero", invalid_number, "[^01]");
  c.shape("shape-2-64", invalid_number, "[^18446744073709551616]");
  c.shape("shape-400-digits", invalid_number, "[^" + repeat("9", 400) + "]");
  c.shape("shape-hexadecimal", invalid_number, "[^0x1]");
  c.offsets("offsets-fraction", invalid_number, "[0,^4.0]");
  c.offsets("offsets-exponent", invalid_number, "[0,^4e0]");
  c.offsets("offsets-minus-zero", invalid_number, "[^-0,4]");
  c.offsets("offsets-negative", invalid_number, "[^-4,4]");
  c.offsets("offsets-2-64", invalid_number, "[0,^18446744073709551616]");
  c.offsets("offsets-2-64-as-double", invalid_number, "[0,^1.8446744073709552e19]");
}

std::string u8_entry(uint64_t begin, uint64_t end) {
  return R"({"dtype":"U8","shape":[)" + std::to_string(end - begin) + R"(],"data_offsets":^[)" +
         std::to_string(begin) + "," + std::to_string(end) + "]}";
}

std::string without_mark(std::string text) {
  std::erase(text, kMark);
  return text;
}

void add_layouts(Corpus& c) {
  const std::string first = R"({"a":)" + without_mark(u8_entry(0, 4)) + ",\"b\":";
  c.offsets("reversed", offset_reversed, "^[4,0]");
  c.offsets("reversed-extreme", offset_reversed, "^[18446744073709551615,0]");
  c.header("reversed-after-good", offset_reversed, "b",
           first + R"({"dtype":"U8","shape":[0],"data_offsets":^[8,4]}})", 8);
  c.header("gap-at-start", offset_gap, "a", R"({"a":)" + u8_entry(4, 8) + "}", 8);
  c.header("gap-between", offset_gap, "b", first + u8_entry(5, 8) + "}", 8);
  c.header("gap-before-zero-size", offset_gap, "b", first + u8_entry(8, 8) + "}", 8);
  c.header("gap-near-2-64", offset_gap, "b", first + u8_entry(UINT64_MAX - 1, UINT64_MAX) + "}", 8);
  c.header("overlap-partial", offset_overlap, "b", first + u8_entry(3, 8) + "}", 8);
  c.header("overlap-same-range", offset_overlap, "b", first + u8_entry(0, 4) + "}", 4);
  c.header("overlap-contained", offset_overlap, "b", first + u8_entry(1, 3) + "}", 4);
  c.header("overlap-listed-backwards", offset_overlap, "b",
           R"({"b":)" + u8_entry(3, 8) + R"(,"a":)" + without_mark(u8_entry(0, 4)) + "}", 8);
  c.header("overlap-zero-size-inside", offset_overlap, "b", first + u8_entry(2, 2) + "}", 4);
  std::string attack = "{";
  for (int i = 0; i < 10; ++i) {
    attack += "\"weight_" + std::to_string(i) + R"(":{"dtype":"F32","shape":[2,2],"data_offsets":)" +
              (i == 1 ? "^" : "") + "[0,16]}" + (i < 9 ? "," : "}");
  }
  c.header("overlap-ten-tensors", offset_overlap, "weight_1", attack, 16);

  const auto sized = [&](std::string name, ErrorCode code, const std::string& dtype, const std::string& shape,
                         uint64_t bytes, bool at_shape) {
    c.entry(std::move(name), code,
            "{\"dtype\":\"" + dtype + "\",\"shape\":" + (at_shape ? "^" : "") + shape +
                ",\"data_offsets\":" + (at_shape ? "" : "^") + "[0," + std::to_string(bytes) + "]}",
            bytes);
  };
  sized("overflow-2-32-squared", shape_overflow, "F32", "[4294967296,4294967296]", 0, true);
  sized("overflow-2-63-twice", shape_overflow, "U8", "[9223372036854775808,2]", 0, true);
  sized("overflow-to-minus-4", shape_overflow, "F32", "[2,18446744073709551614]", 16, true);
  sized("overflow-in-bits", shape_overflow, "F32", "[2,9223372036854775807]", 16, true);
  sized("overflow-before-zero", shape_overflow, "U8", "[9223372036854775808,2,0]", 0, true);
  sized("overflow-float64", shape_overflow, "F64", "[288230376151711744]", 0, true);
  sized("overflow-many-dimensions", shape_overflow, "U8", "[" + repeat("2,", 64) + "2]", 0, true);
  sized("overflow-unknown-dtype", shape_overflow, "F128", "[4294967296,4294967296]", 4, true);
  sized("misaligned-f4", misaligned_dtype, "F4", "[1]", 1, true);
  sized("misaligned-f4-odd", misaligned_dtype, "F4", "[3,5]", 8, true);
  sized("misaligned-f6-e2m3", misaligned_dtype, "F6_E2M3", "[3]", 3, true);
  sized("misaligned-f6-e3m2", misaligned_dtype, "F6_E3M2", "[2]", 2, true);
  sized("misaligned-f4-scalar", misaligned_dtype, "F4", "[]", 1, true);
  sized("size-too-small", size_mismatch, "F32", "[2]", 4, false);
  sized("size-too-large", size_mismatch, "F32", "[1]", 8, false);
  sized("size-scalar", size_mismatch, "F32", "[]", 8, false);
  sized("size-zero-with-bytes", size_mismatch, "F32", "[0]", 4, false);
  sized("size-zero-times-huge", size_mismatch, "U8", "[0,18446744073709551615]", 4, false);
  sized("size-without-bytes", size_mismatch, "F32", "[1]", 0, false);
  sized("size-f4", size_mismatch, "F4", "[4]", 4, false);
  sized("size-complex", size_mismatch, "C64", "[1]", 4, false);

  const std::string valid = valid_file();
  const uint64_t size = valid.size();
  c.file("data-one-byte-short", data_truncated, size - 1, valid.substr(0, size - 1), "a");
  c.file("data-two-bytes-short", data_truncated, size - 2, valid.substr(0, size - 2), "a");
  c.file("data-absent", data_truncated, size - 4, valid.substr(0, size - 4), "a");
  const std::string short_second = safetensors_bytes(without_mark(first + u8_entry(4, 8) + "}"), "123456");
  c.file("data-second-tensor-short", data_truncated, short_second.size(), short_second, "b");
  c.file("data-2-60-bytes", data_truncated, std::nullopt,
         safetensors_bytes(without_mark(R"({"a":)" + u8_entry(0, uint64_t{1} << 60) + "}"), "data"), "a");
  c.file("data-most-bytes-of-64-bits", data_truncated, std::nullopt,
         safetensors_bytes(without_mark(R"({"a":)" + u8_entry(0, (uint64_t{1} << 61) - 1) + "}"), "data"),
         "a");
  c.file("data-end-overflows-file-offset", data_truncated, std::nullopt,
         safetensors_bytes(R"({"a":{"dtype":"F128","shape":[1],"data_offsets":[0,18446744073709551615]}})",
                           "data"),
         "a");
  c.file("trailing-byte", trailing_bytes, size, valid + "x");
  c.file("trailing-nul", trailing_bytes, size, valid + std::string(1, '\0'));
  c.file("trailing-zip-polyglot", trailing_bytes, size, valid + "PK\5\6" + std::string(18, '\0'));
  c.file("trailing-without-tensors", trailing_bytes, 10, safetensors_bytes("{}", "x"));
  const std::string zero_size =
      safetensors_bytes(R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}})");
  c.file("trailing-after-zero-size", trailing_bytes, zero_size.size(), zero_size + "x");
}

void add_indices(Corpus& c) {
  add_json_faults(
      2,
      [&](std::string name, ErrorCode code, const std::string& members) {
        c.index(std::move(name), code, "", R"({"weight_map":{"a":"f"},"y":{)" + members + "}}");
      },
      0,
      [&](std::string name, ErrorCode code, std::string json) {
        c.index(std::move(name), code, "", std::move(json));
      });
  c.index("nan", invalid_json, "", R"({"metadata":{"total_size":^NaN},"weight_map":{"a":"f"}})");
  c.index("lfs-pointer", lfs_pointer, "",
          "^version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n");
  c.index("root-array", invalid_index, "", "^[]");
  c.index("no-weight-map", invalid_index, "", R"(^{"metadata":{"total_size":0}})");
  c.index("weight-map-empty", invalid_index, "", R"({"weight_map":^{}})");
  c.index("weight-map-null", invalid_index, "", R"({"weight_map":^null})");
  c.index("weight-map-array", invalid_index, "", R"({"weight_map":^["a"]})");
  c.index("weight-map-string", invalid_index, "", R"({"weight_map":^"a"})");
  c.index("metadata-string", invalid_index, "", R"({"metadata":^"x","weight_map":{"a":"f"}})");
  c.index("metadata-array", invalid_index, "", R"({"metadata":^[],"weight_map":{"a":"f"}})");
  c.index("duplicate-weight-map", duplicate_key, "", R"({"weight_map":{"a":"f"},^"weight_map":{"a":"f"}})");
  c.index("duplicate-tensor", duplicate_key, "a", R"({"weight_map":{"a":"f",^"a":"g"}})");
  c.index("duplicate-tensor-same-shard", duplicate_key, "a", R"({"weight_map":{"a":"f",^"a":"f"}})");
  c.index("duplicate-tensor-escaped", duplicate_key, "a", R"({"weight_map":{"a":"f",^"\u0061":"f"}})");
  c.shard("shard-number", invalid_index, "1");
  c.shard("shard-null", invalid_index, "null");
  c.shard("shard-object", invalid_index, "{}");
  c.shard("shard-array", invalid_index, R"(["f"])");
  c.shard("path-empty", unsafe_path, R"("")");
  c.shard("path-dot", unsafe_path, R"(".")");
  c.shard("path-dot-dot", unsafe_path, R"("..")");
  c.shard("path-parent", unsafe_path, R"("../../etc/passwd")");
  c.shard("path-absolute", unsafe_path, R"("/etc/passwd")");
  c.shard("path-root", unsafe_path, R"("/")");
  c.shard("path-parent-inside", unsafe_path, R"("a/../../b")");
  c.shard("path-parent-last", unsafe_path, R"("a/..")");
  c.shard("path-parent-escaped", unsafe_path, R"("\u002e\u002e/b")");
  c.shard("path-dots-alone", unsafe_path, R"("././.")");
  c.shard("path-slash-last", unsafe_path, R"("a/")");
  c.shard("path-backslash", unsafe_path, R"("..\\x")");
  c.shard("path-network-share", unsafe_path, R"("\\\\host\\share")");
  c.shard("path-drive", unsafe_path, R"("C:/x")");
  c.shard("path-drive-relative", unsafe_path, R"("c:x")");
  c.shard("path-nul", unsafe_path, R"("a\u0000b")");
  c.shard("path-component-256", unsafe_path, "\"a/" + repeat("x", 256) + "\"");
}

void add_configs(Corpus& c) {
  add_json_faults(
      1,
      [&](std::string name, ErrorCode code, const std::string& members) {
        // A config may be whatever Python's json module reads, and it reads these.
        const bool is_half_a_pair = code == invalid_json && name.find("surrogate") != std::string::npos;
        if (code == duplicate_key || is_half_a_pair) return;
        c.config(std::move(name), code, "{" + members + "}");
      },
      0,
      [&](std::string name, ErrorCode code, std::string json) {
        c.config(std::move(name), code, std::move(json));
      });
  c.config("lfs-pointer", lfs_pointer,
           "^version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n");
  c.config("root-array", invalid_config, "^[]");
  c.config("nan-lower-case", invalid_json, R"({"x":^nan})");
  c.config("text-after", invalid_json, "{\"a\":1}\n^[core]\n\tbare = false\n");
}

}  // namespace

std::vector<MalformedCase> malformed_corpus() {
  Corpus corpus;
  add_length_prefixes(corpus);
  add_headers(corpus);
  add_entries(corpus);
  add_layouts(corpus);
  add_indices(corpus);
  add_configs(corpus);
  return corpus.take();
}

}  // namespace hfload::test
