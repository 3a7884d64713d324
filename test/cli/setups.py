"""Models that cases are run on, made in an empty directory: `setup = "name"` in a case calls the function of that name."""

import io
import json
import pathlib
import zipfile

import hostile_pickles
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


def llama_and_another(work):
    llama(work)
    write_llama(work / "other")


def llama_and_directories_called_like_files(work):
    llama(work)
    for name in ("one.bin", "one.safetensors"):
        (work / name).mkdir()


def llama_config_only(work):
    write_llama(work / "llama", None)


def llama_saved_as_base_model(work):
    tensors = [(n.removeprefix("model."), d, s) for n, d, s in LLAMA_TENSORS if n != "lm_head.weight"]
    write_llama(work / "llama", tensors, tie_word_embeddings=True)


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


def llama_tied_and_saved_twice(work):
    """The head holds the bytes of the embedding, which is the first tensor of its file."""
    tensors = [t for t in LLAMA_TENSORS if t[0] in ("model.embed_tokens.weight", "lm_head.weight")]
    write_llama(work / "llama", tensors, tie_word_embeddings=True)
    file = work / "llama" / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:-256] + content[-512:-256])


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
    (work / "printed.txt").write_text("{'model': 0,\n 'lm_head': 'cpu'}\n")
    (work / "cut.txt").write_text("{'model': 0")
    (work / "device.json").write_text('{"model": "gpu"}')
    for command in ("plan", "load", "inspect"):
        document = {"schema": f"hfload.{command}/1", "dtype": "float16", "hf_device_map": {"model": 0, "lm_head": "cpu"}, "warnings": []}
        (work / f"{command}.json").write_text(json.dumps(document))


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


def downloads(work):
    """Two files that hold no pickle, and one that does."""
    (work / "README.md").write_text("# A model\n")
    safetensors_writer.write(work / "model.safetensors", [("w", "F32", [2])])
    (work / "clean.pt").write_bytes(b"\x80\x02}.")


def pickles_of_other_names(work):
    """By their content: one of protocol 0, written by hand, alone and with bytes after it; an archive with a denied one."""
    protocol_0 = b"cos\nsystem\n(S'true'\ntR."
    (work / "payload").write_bytes(protocol_0)
    (work / "payload.dat").write_bytes(protocol_0 + b"# and more")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("archive/data.pkl", b"\x80\x02cos\nsystem\n.")
    (work / "0a1b2c").write_bytes(archive.getvalue())
    # Words that are opcodes one by one, and no pickle.
    (work / "labels.txt").write_bytes(b"cat\ndog\nbird\n")
    (work / "ignore").write_bytes(b".DS_Store\nN.\n")
    (work / "text.bin").write_text("# no pickle, whatever its name says\n")


def weights_that_are_not_read(work):
    write_llama(work / "llama", None)
    noise = bytes(range(255, 0, -1))
    (work / "llama" / "tf_model.h5").write_bytes(noise)
    (work / "w.gguf").write_bytes(b"GGUF" + noise)
    (work / "passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")


def index_with_a_shard_that_is_not_read(work):
    (work / "model").mkdir()
    safetensors_writer.write_sharded(work / "model", {"a.safetensors": (["a"], [("a", "U8", [8])]), "b.h5": (["b"], None)}, 16)
    (work / "model" / "b.h5").write_bytes(b"\x89HDF\r\n\x1a\n and so on")


def two_shards_that_are_not_there(work):
    (work / "model").mkdir()
    safetensors_writer.write_sharded(work / "model", {"a.safetensors": (["a"], None), "b.safetensors": (["b"], None)}, 16)


def llama_with_variant_beside(work):
    write_llama(work / "llama")
    safetensors_writer.write(work / "llama" / "model.fp16.safetensors", LLAMA_TENSORS)
    safetensors_writer.write(work / "llama" / "model.int8-00001-of-00002.safetensors", LLAMA_TENSORS[:1])


def files_of_other_names(work):
    """Weights that only their first bytes tell, as in the blobs of the hub cache; and files that are neither weights nor a config."""
    (work / "blobs").mkdir()
    safetensors_writer.write(work / "blobs" / "aa11", [("w", "F32", [2, 3])])
    (work / "blobs" / "bb22").write_bytes(hostile_pickles.archive(hostile_pickles.state_dict(), bytes(16)))
    (work / "blobs" / "cc33").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 10\n")
    (work / "generation_config.json").write_text('{"eos_token_id": 2, "transformers_version": "4.57.6"}')
    (work / "x.json").write_text("{}")


def deepseek_with_grouped_queries(work):
    """As Kimi K2 with remote code names the classes of DeepSeek-V3."""
    (work / "model").mkdir()
    config = {"model_type": "kimi_k2", "architectures": ["DeepseekV3ForCausalLM"], "group_query_attention": True}
    (work / "model" / "config.json").write_text(json.dumps(config))
    safetensors_writer.write(work / "model" / "model.safetensors", [("model.layers.0.self_attn.q_proj.weight", "F32", [2, 2])])


def llama_of_a_hidden_size_that_is_no_number(work):
    write_llama(work / "llama", hidden_size="8")


def llama_of_a_model_type_that_is_no_text(work):
    write_llama(work / "llama", model_type=7)


def llama_with_rotary_frequencies(work):
    """As older releases of transformers saved them, of one layer and of both."""
    names = [f"model.layers.{i}.self_attn.rotary_emb.inv_freq" for i in range(2)]
    write_llama(work / "one", [*LLAMA_TENSORS, (names[0], "F32", [2])])
    write_llama(work / "both", [*LLAMA_TENSORS, *((name, "F32", [2]) for name in names)])


def no_onednn(work):
    """A libdnnl.so.2 that the loader finds first, and that is none."""
    (work / "libdnnl.so.2").write_bytes(b"")
