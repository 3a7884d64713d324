"""What verify says of weights that are damaged, of second copies, and of what lies beside a model: formulas and files made here."""

import json
import os
import struct

import running
import safetensors_writer
import setups
from scenarios.checks import codes, document, run
from scenarios.conversions import convert


def findings(binary, work, *arguments, status):
    report = document(binary, work, "verify", *arguments, status=status)
    return {f["code"]: f["names"] for f in report["findings"]}


def halves(count, first=1):
    """float16 values that count up, all different and finite."""
    return struct.pack(f"<{count}H", *range(first, first + count))


def llama(changes=None, layers=2):
    """The tensors of setups.LLAMA with values that are finite, and with other data for some: {name: data}."""
    names = {f"model.layers.{i}." for i in range(layers)}
    tensors = [t for t in setups.LLAMA_TENSORS if ".layers." not in t[0] or t[0][:15] in names]
    return [(name, dtype, shape, (changes or {}).get(name, halves(safetensors_writer.element_count(shape)))) for name, dtype, shape in tensors]


def tied(head, dtype="F16"):
    return [t for t in llama() if t[0] != "lm_head.weight"] + [("lm_head.weight", dtype, [16, 8], head)]


def test_tied_weights_that_differ_are_a_fault(binary, work):
    equal, other = halves(128), bytearray(halves(128))
    other[-1] ^= 1
    setups.write_llama(work / "equal", tied(equal), tie_word_embeddings=True)
    assert findings(binary, work, "equal", status=0) == {"tied_weights_saved": ["lm_head.weight"]}
    assert "lm_head" not in run(binary, work, "load", "equal", "--device-map", "cpu").stderr
    setups.write_llama(work / "other", tied(other), tie_word_embeddings=True)
    assert findings(binary, work, "other", status=1) == {"tied_weights_differ": ["lm_head.weight"]}
    load = run(binary, work, "load", "other", "--device-map", "cpu", "--json")
    said = "lm_head.weight is dropped: model.embed_tokens.weight fills its place, as the two are tied, and the checkpoint holds other values for it"
    assert f"warning: {said}" in load.stderr and said in json.loads(load.stdout)["warnings"], load
    assert "dropped" not in run(binary, work, "load", "other", "--device-map", "cpu", "--subset", "model.layers.*").stderr
    # One is in another shard, or in a file of PyTorch's, where the two are storages of their own.
    convert(binary, work, "other", "sharded", "--max-shard-size", "1KB", "-q")
    convert(binary, work, "other", "torch", "--format", "pytorch", "-q")
    for name in ("sharded", "torch"):
        assert "tied_weights_differ" in findings(binary, work, name, status=1), name
    # Not tied: two parameters.
    setups.write_llama(work / "untied", tied(other))
    assert findings(binary, work, "untied", status=0) == {}


def test_copies_of_other_dtypes_are_equal_as_far_as_the_narrower_one_goes(binary, work):
    values = struct.unpack("<128e", halves(128, 0x3C00))  # 1, and what follows it in float16
    near = struct.pack("<128f", *(value + 2.0**-12 for value in values))
    far = struct.pack("<128f", *(value + (2.0**-8 if i == 77 else 0) for i, value in enumerate(values)))
    for data, status in ((struct.pack("<128f", *values), 0), (near, 0), (far, 1)):
        tensors = [(n, d, s, halves(128, 0x3C00)) if n == "model.embed_tokens.weight" else (n, d, s, v) for n, d, s, v in tied(data, "F32")]
        setups.write_llama(work / "m", tensors, tie_word_embeddings=True)
        expected = "tied_weights_differ" if status else "tied_weights_saved"
        assert findings(binary, work, "m", status=status) == {expected: ["lm_head.weight"]}
        assert ("dropped" in run(binary, work, "load", "m", "--device-map", "cpu").stderr) == bool(status)


def test_a_second_set_of_weights_is_named(binary, work):
    safetensors = work / "m" / "model.safetensors"
    setups.write_llama(work / "m", llama())
    convert(binary, work, "m", "sharded", "--max-shard-size", "1KB", "-q")
    safetensors.rename(work / "sharded" / "model.safetensors")
    report = document(binary, work, "verify", "sharded", status=1)
    assert codes(report) == ["two_sets_of_weights"] and "model.safetensors.index.json with " in report["findings"][0]["message"], report
    # The user chose the other set.
    assert findings(binary, work, "sharded/model.safetensors.index.json", status=0) == {"other_weights": ["model.safetensors"]}


def test_keys_that_the_class_ignores_are_no_fault_and_parameters_are_no_buffers(binary, work):
    (work / "m").mkdir()
    config = {"model_type": "gpt_neox", "architectures": ["GPTNeoXModel"], "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
              "intermediate_size": 8, "vocab_size": 8, "max_position_embeddings": 8, "torch_dtype": "float16"}
    (work / "m" / "config.json").write_text(json.dumps(config))
    layer = "layers.0."
    saved = {"embed_in.weight": [8, 8], "final_layer_norm.weight": [8], "final_layer_norm.bias": [8]}
    for name, shape in {"input_layernorm": [8], "post_attention_layernorm": [8], "attention.query_key_value": [24, 8], "attention.dense": [8, 8],
                        "mlp.dense_h_to_4h": [8, 8], "mlp.dense_4h_to_h": [8, 8]}.items():
        saved |= {f"{layer}{name}.weight": shape, f"{layer}{name}.bias": shape[:1]}
    # What GPT-NeoX saved once, and an attention's bias that a class of this name does not have.
    saved |= {layer + "attention.rotary_emb.inv_freq": [2], layer + "attention.masked_bias": []}
    tensors = [(n, "F16", s, halves(safetensors_writer.element_count(s))) for n, s in saved.items()]
    safetensors_writer.write(work / "m" / "model.safetensors", [*tensors, (layer + "attention.bias", "BOOL", [1, 1, 8, 8])])
    legacy = [layer + name for name in ("attention.bias", "attention.masked_bias", "attention.rotary_emb.inv_freq")]
    assert findings(binary, work, "m", status=0) == {"legacy_buffers": legacy}
    safetensors_writer.write(work / "m" / "model.safetensors", [*tensors, (layer + "attention.bias", "F16", [8])])
    assert findings(binary, work, "m", status=0) == {"legacy_buffers": legacy[1:], "ignored_keys": legacy[:1]}
    # Llama ignores no such names, and has no such buffers.
    extra = "model.layers.0.self_attn.attention.bias"
    setups.write_llama(work / "llama", [*llama(), (extra, "F16", [8])])
    assert findings(binary, work, "llama", status=1) == {"unexpected_keys": [extra]}


def test_tensors_without_elements(binary, work):
    tensors = [("a.bias", "F32", [0]), ("b", "BF16", [0, 5]), ("c", "F16", [5, 0]), ("x", "U8", [3])]
    safetensors_writer.write(work / "e.safetensors", tensors)
    report = document(binary, work, "verify", "e.safetensors")
    assert [(f["code"], f["names"], f["fault"]) for f in report["findings"]] == [("empty_tensors", ["a.bias", "b", "c"], False)], report
    for found in report["tensors"][:3]:
        assert (found["values"], found["mean"], found["min"], found["all_zero"], found["constant"]) == (0, None, None, False, False), found
    for target, flags in (("e2.safetensors", []), ("e.pt", ["--format", "pytorch"])):
        convert(binary, work, "e.safetensors", target, "-q", *flags)
        run(binary, work, "diff", "e.safetensors", target)
        run(binary, work, "load", target, "--device-map", "cpu", "--verify")
    safetensors_writer.write(work / "z.safetensors", [("layer.weight", "F32", [0]), ("x", "U8", [3])])
    assert findings(binary, work, "z.safetensors", status=1) == {"empty_weights": ["layer.weight"]}


def test_zeroed_matrices_are_a_fault_and_norms_of_one_value_are_none(binary, work):
    lost = sorted(f"model.layers.{i}.{name}.weight" for i, name in ((0, "mlp.up_proj"), (1, "self_attn.q_proj"), (1, "mlp.down_proj")))
    shapes = {name: shape for name, _, shape in setups.LLAMA_TENSORS}
    constant = {name: bytes(2 * safetensors_writer.element_count(shapes[name])) for name in lost}
    ones = {name: b"\0\x3c" * 8 for name, shape in shapes.items() if shape == [8]}
    setups.write_llama(work / "ones", llama(ones))
    assert findings(binary, work, "ones", status=0) == {}
    setups.write_llama(work / "m", llama({**constant, **ones}))
    convert(binary, work, "m", "torch", "--format", "pytorch", "-q")
    for name in ("m", "torch"):
        assert findings(binary, work, name, status=1) == {"constant_weights": lost}, name


def test_zeros_that_are_right_stay_clean_when_holes_take_their_place(binary, work):
    """RoBERTa's token types are zeros; cp --sparse makes holes of whole blocks of zeros."""
    hidden, types = 4096, "embeddings.token_type_embeddings.weight"
    tensors = [("embeddings.word_embeddings.weight", "F16", [64, hidden]), (types, "F16", [2, hidden], bytes(4 * hidden)), ("encoder.layer.0.output.dense.weight", "F16", [8, hidden])]
    tensors = [(n, d, s, *(data or [halves(safetensors_writer.element_count(s)) if safetensors_writer.element_count(s) < 2**15 else b""])) for n, d, s, *data in tensors]
    safetensors_writer.write(work / "m.safetensors", tensors)
    content = (work / "m.safetensors").read_bytes()
    with open(work / "sparse.safetensors", "wb") as file:
        for at in range(0, len(content), 4096):
            block = content[at : at + 4096]
            os.lseek(file.fileno(), at, os.SEEK_SET)
            if block.strip(b"\0"):
                os.write(file.fileno(), block)
        file.truncate(len(content))
    assert (work / "sparse.safetensors").read_bytes() == content
    for name in ("m.safetensors", "sparse.safetensors"):
        report = document(binary, work, "verify", name, status=1)
        assert {f["code"]: f["names"] for f in report["findings"] if f["code"] not in ("nan", "infinity")} == {"constant_tensors": [types]}, report


def test_a_large_file_of_zeros_is_a_fault(binary, work):
    safetensors_writer.write(work / "z.safetensors", [("embed.weight", "BF16", [32000, 1024]), *((f"layers.{i}.up.weight", "BF16", [4096, 1024]) for i in range(4))], sparse=True)
    report = document(binary, work, "verify", "z.safetensors", status=1)
    assert codes(report) == ["constant_file"] and len(report["findings"][0]["names"]) == 5, report
