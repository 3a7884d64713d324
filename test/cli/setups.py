"""Models that cases are run on, made in an empty directory: `setup = "name"` in a case calls the function of that name."""

import json
import pathlib

import safetensors_writer

LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 16,
    "dtype": "float16",
    "tie_word_embeddings": False,
}

# Of LLAMA: what LlamaForCausalLM saves, in the order of its modules.
LLAMA_TENSORS = (
    [("model.embed_tokens.weight", "F16", [16, 8])]
    + [
        (f"model.layers.{i}.{name}.weight", "F16", shape)
        for i in range(2)
        for name, shape in [
            ("self_attn.q_proj", [8, 8]),
            ("self_attn.k_proj", [4, 8]),
            ("self_attn.v_proj", [4, 8]),
            ("self_attn.o_proj", [8, 8]),
            ("mlp.gate_proj", [12, 8]),
            ("mlp.up_proj", [12, 8]),
            ("mlp.down_proj", [8, 12]),
            ("input_layernorm", [8]),
            ("post_attention_layernorm", [8]),
        ]
    ]
    + [("model.norm.weight", "F16", [8]), ("lm_head.weight", "F16", [16, 8])]
)


def write_llama(directory, tensors=LLAMA_TENSORS, **changes):
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps({**LLAMA, **changes}))
    if tensors is not None:
        safetensors_writer.write(directory / "model.safetensors", tensors, {"format": "pt"})


def llama(work: pathlib.Path):
    write_llama(work / "llama")


def llama_config_only(work):
    write_llama(work / "llama", None)


def llama_with_missing_tensors(work):
    write_llama(work / "llama", [t for t in LLAMA_TENSORS if t[0] not in ("model.norm.weight", "lm_head.weight")])


def llama_with_mismatched_tensor(work):
    write_llama(work / "llama", [(n, d, [9] if n == "model.norm.weight" else s) for n, d, s in LLAMA_TENSORS])


def llama_with_missing_and_mismatched_tensors(work):
    tensors = [(n, d, [9] if n == "model.norm.weight" else s) for n, d, s in LLAMA_TENSORS if n != "lm_head.weight"]
    write_llama(work / "llama", tensors)


def llama_with_all_faults(work):
    tensors = [(n, d, [9] if n == "model.norm.weight" else s) for n, d, s in LLAMA_TENSORS if n != "lm_head.weight"]
    write_llama(work / "llama", [*tensors, ("adapter.weight", "F32", [2])])


def llama_with_two_mismatched_tensors(work):
    shapes = {"model.norm.weight": [9], "lm_head.weight": [15, 8]}
    write_llama(work / "llama", [(n, d, shapes.get(n, s)) for n, d, s in LLAMA_TENSORS])


def llama_tied(work):
    write_llama(work / "llama", [t for t in LLAMA_TENSORS if t[0] != "lm_head.weight"], tie_word_embeddings=True)


def llama_with_unexpected_tensor(work):
    write_llama(work / "llama", [*LLAMA_TENSORS, ("adapter.weight", "F32", [2])])


def llama_without_its_second_shard(work):
    directory = work / "llama"
    write_llama(directory, None)
    first, second = LLAMA_TENSORS[:10], LLAMA_TENSORS[10:]
    shards = {
        "model-00001-of-00002.safetensors": ([t[0] for t in first], first),
        "model-00002-of-00002.safetensors": ([t[0] for t in second], None),
    }
    safetensors_writer.write_sharded(directory, shards, 2048)


def llama_in_hdf5(work):
    write_llama(work / "llama", None)
    (work / "llama" / "tf_model.h5").write_bytes(b"\x89HDF and so on")


def llama_with_variant(work):
    write_llama(work / "llama", None)
    safetensors_writer.write(work / "llama" / "model.fp16.safetensors", LLAMA_TENSORS)


def dangling_link(work):
    (work / "link").symlink_to("absent/model")


def directory_without_model(work):
    (work / "empty").mkdir()


def two_variants(work):
    """Of each of two models, weights in two variants, and in a folder below; those of fp16 are equal."""
    for model, rows in (("a", 2), ("b", 3)):
        (work / model / "sub").mkdir(parents=True)
        safetensors_writer.write(work / model / "model.safetensors", [("w", "F32", [rows])])
        safetensors_writer.write(work / model / "model.fp16.safetensors", [("w", "F16", [5])])
        safetensors_writer.write(work / model / "sub" / "model.safetensors", [("v", "F32", [4])])
        safetensors_writer.write(work / model / "sub" / "model.fp16.safetensors", [("v", "F16", [rows])])


def llama_in_subfolder(work):
    write_llama(work / "pipeline" / "text_encoder")


def llama_of_another_class(work):
    write_llama(work / "llama", None, architectures=["LlamaForTokenTagging"])


def unknown_architecture(work):
    write_llama(work / "model", [("tower.block.0.weight", "F32", [4]), ("tower.block.1.weight", "F32", [4]),
                                 ("head.weight", "F32", [2])], model_type="obelisk", architectures=["ObeliskModel"])


def single_file(work):
    safetensors_writer.write(work / "weights.safetensors", [("a.weight", "F32", [2, 3]), ("a.bias", "BF16", [2])],
                             {"format": "pt", "made by": "hand"})


def float8_alone(work):
    safetensors_writer.write(work / "float8.safetensors", [("a.weight", "F8_E4M3", [2, 3]), ("b.weight", "F8_E5M2", [2])])


HOSTILE_NAME = "evil\x1b]0;owned\x07.\r\u202egnp.\x9bweight"


def hostile_names(work):
    safetensors_writer.write(work / "hostile.safetensors", [(HOSTILE_NAME, "F32", [1])], {"k\x1b[2J": "v\u2066"})


def hostile_class(work):
    write_llama(work / "llama", None, model_type="x\x1b[31m", architectures=["\x1b[2J"])


def largest_integers(work):
    """A size that no double holds: 2^53 + 8 bytes, in a sparse file."""
    safetensors_writer.write(work / "large.safetensors", [("x", "U8", [2**42 + 1])], sparse=True)


def beyond_memory(work):
    (work / "llama").mkdir()
    (work / "llama" / "config.json").write_text("{}")
    safetensors_writer.write(work / "llama" / "model.safetensors", [("x", "U8", [2**43])], sparse=True)


def gap_in_offsets(work):
    header = json.dumps({"a": {"dtype": "U8", "shape": [4], "data_offsets": [4, 8]}}).encode()
    (work / "gap.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))


def lfs_pointer(work):
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 10\n"
    (work / "pointer.safetensors").write_text(text)


def escaping_weight_map(work):
    (work / "model").mkdir()
    index = {"metadata": {}, "weight_map": {"a": "../outside.safetensors"}}
    (work / "model" / "model.safetensors.index.json").write_text(json.dumps(index))


def device_map_files(work):
    write_llama(work / "llama")
    (work / "map.json").write_text('{"model": 0, "lm_head": "cpu"}')
    (work / "twice.json").write_text('{"model": 0, "model": 1, "lm_head": 0}')
    (work / "partial.json").write_text('{"model.layers": 0, "lm_head": 0}')


# What GPTQ stores for a linear layer in groups of 16 columns: words of eight 4-bit weights along the input and of eight zero points
# along the output, half-precision scales, and the group of each column.
def gptq_tensors(name, rows, columns):
    return [(f"{name}.qweight", "I32", [columns // 8, rows]), (f"{name}.qzeros", "I32", [columns // 16, rows // 8]),
            (f"{name}.scales", "F16", [columns // 16, rows]), (f"{name}.g_idx", "I32", [columns])]


GPTQ_TENSORS = [
    tensor
    for name, dtype, shape in LLAMA_TENSORS
    for tensor in (gptq_tensors(name.removesuffix(".weight"), 32, 32) if "_proj" in name else [(name, dtype, [32 for _ in shape])])
]
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 16}
GPTQ_LLAMA = {"hidden_size": 32, "intermediate_size": 32, "num_key_value_heads": 2, "vocab_size": 32, "quantization_config": GPTQ}


def llama_in_gptq(work):
    write_llama(work / "llama", GPTQ_TENSORS, **GPTQ_LLAMA)


def llama_in_gptq_without_shards(work):
    write_llama(work / "llama", None, **GPTQ_LLAMA)
    safetensors_writer.write_sharded(work / "llama", {"model-00001-of-00001.safetensors": ([t[0] for t in GPTQ_TENSORS], None)}, 15616)


def llama_in_gptq_of_no_bits(work):
    write_llama(work / "llama", GPTQ_TENSORS, **{**GPTQ_LLAMA, "quantization_config": {**GPTQ, "bits": 0}})


def pickles(work):
    """One that names os.system and torch.Size, by hand; one that is cut off; and one with a name that steers a terminal."""
    (work / "denied.pkl").write_bytes(b"\x80\x02cos\nsystem\nctorch\nSize\nK\x02\x85\x85R.")
    (work / "cut.pkl").write_bytes(b"\x80\x02}q")
    (work / "steers.pkl").write_bytes(b"\x80\x02c\x1b[2J\nx\n.")
    (work / "clean.pkl").write_bytes(b"\x80\x02}.")


def no_onednn(work):
    """A libdnnl.so.2 that the loader finds first, and that is none."""
    (work / "libdnnl.so.2").write_bytes(b"")
