"""Checkpoints to time loads with: bfloat16 weights of normal distribution, written with nothing but numpy.

    python3 checkpoints.py llama DIRECTORY BYTES           a Llama-shaped model of about that size, in shards of 1 GiB at most
    python3 checkpoints.py small DIRECTORY TENSORS [KIB]   one file of that many tensors of KIB KiB each; 50 unless given
"""

import json
import sys
from pathlib import Path

import numpy

HIDDEN, INTERMEDIATE, VOCABULARY, HEADS = 2048, 5632, 32000, 32
SHARD_BYTES = 2**30


def llama_shapes(layers):
    yield "model.embed_tokens.weight", (VOCABULARY, HIDDEN)
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        for name in "qkvo":
            yield f"{prefix}self_attn.{name}_proj.weight", (HIDDEN, HIDDEN)
        yield f"{prefix}mlp.gate_proj.weight", (INTERMEDIATE, HIDDEN)
        yield f"{prefix}mlp.up_proj.weight", (INTERMEDIATE, HIDDEN)
        yield f"{prefix}mlp.down_proj.weight", (HIDDEN, INTERMEDIATE)
        yield f"{prefix}input_layernorm.weight", (HIDDEN,)
        yield f"{prefix}post_attention_layernorm.weight", (HIDDEN,)
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (VOCABULARY, HIDDEN)


def bytes_of(shape):
    return 2 * int(numpy.prod(shape, dtype=numpy.int64))


def write_shard(path, tensors, generator):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors:
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + bytes_of(shape)]}
        offset += bytes_of(shape)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        left = offset // 2
        while left:
            count = min(left, 2**24)
            values = generator.standard_normal(count, dtype=numpy.float32) * numpy.float32(0.02)
            file.write((values.view(numpy.uint32) >> 16).astype(numpy.uint16).tobytes())
            left -= count


def write_llama(directory, wanted_bytes):
    directory = Path(directory)
    directory.mkdir(parents=True)
    fixed = sum(bytes_of(shape) for _, shape in llama_shapes(0))
    layer = sum(bytes_of(shape) for _, shape in llama_shapes(1)) - fixed
    layers = max(1, round((wanted_bytes - fixed) / layer))
    shards, used = [[]], 0
    for name, shape in llama_shapes(layers):
        if used + bytes_of(shape) > SHARD_BYTES and shards[-1]:
            shards.append([])
            used = 0
        shards[-1].append((name, shape))
        used += bytes_of(shape)
    generator = numpy.random.Generator(numpy.random.PCG64(0))
    weight_map = {}
    for index, tensors in enumerate(shards):
        file = f"model-{index + 1:05}-of-{len(shards):05}.safetensors"
        write_shard(directory / file, tensors, generator)
        weight_map |= {name: file for name, _ in tensors}
    total = fixed + layers * layer
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE, "num_attention_heads": HEADS, "num_key_value_heads": HEADS,
        "num_hidden_layers": layers, "vocab_size": VOCABULARY, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
    }  # fmt: skip
    (directory / "config.json").write_text(json.dumps(config, indent=2))


def write_small_tensors(directory, count, kib=50):
    directory = Path(directory)
    directory.mkdir(parents=True)
    tensors = [(f"layers.{i}.weight", (kib * 512,)) for i in range(count)]
    write_shard(directory / "model.safetensors", tensors, numpy.random.Generator(numpy.random.PCG64(1)))
    (directory / "config.json").write_text(json.dumps({"model_type": "many_small_tensors"}))


if __name__ == "__main__":
    {"llama": write_llama, "small": write_small_tensors}[sys.argv[1]](sys.argv[2], *map(int, sys.argv[3:]))
