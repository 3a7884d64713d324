"""What `from_pretrained(..., dtype=...)` resolves to.

Makes test/fixtures/transformers_dtype.json. Each case: `argument` (null when the user passes none), `config` (the
dtype keys of config.json), `tensors` ([[name, dtype], ...] per shard), `metadata` (the index's metadata, or null for
one file), and `expected` (the dtype resolved to) with `loaded` (the dtype each checkpoint tensor ends up with), or
`error`. Versions: requirements.txt. Run: python test/oracle/make_dtypes.py
"""

import json
import tempfile
from pathlib import Path
from unittest import mock

import torch
import transformers
from safetensors.torch import save_file
from transformers import modeling_utils
from transformers.modeling_utils import _get_dtype as get_dtype

from common import FIXTURES, dtype_name, write_table
from make_checkpoints import LLAMA

TINY = dict(LLAMA, vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=1, model_type="llama", architectures=["LlamaModel"])

ONE = [[["embed_tokens.weight", "float16"], ["norm.weight", "float16"]]]
INTEGERS_FIRST = [[["a_counter", "int64"], ["embed_tokens.weight", "bfloat16"]]]
ONLY_INTEGERS = [[["a_counter", "int64"]]]
MIXED = [[["embed_tokens.weight", "bfloat16"], ["norm.weight", "float32"]]]
MIXED_REVERSED = [[["embed_tokens.weight", "float32"], ["norm.weight", "bfloat16"]]]
FLOAT8 = [[["embed_tokens.weight", "float8_e4m3fn"], ["norm.weight", "bfloat16"]]]
DOUBLE = [[["embed_tokens.weight", "float64"], ["norm.weight", "float64"]]]
TWO_SHARDS = [[["norm.weight", "float16"]], [["embed_tokens.weight", "bfloat16"]]]
INTEGER_SHARD_FIRST = [[["a_counter", "int64"]], [["embed_tokens.weight", "bfloat16"]]]
SHARDED = {"total_size": 144}

# (argument, config keys, tensors per shard, index metadata)
CASES = [
    (argument, config, tensors, None)
    for tensors in (ONE, INTEGERS_FIRST, MIXED, MIXED_REVERSED, FLOAT8, DOUBLE)
    for config in ({}, {"torch_dtype": "bfloat16"}, {"dtype": "float32"})
    for argument in ("auto", None)
] + [
    ("auto", {"torch_dtype": "float16", "dtype": "bfloat16"}, ONE, None),
    ("auto", {"torch_dtype": None}, ONE, None),
    ("auto", {"dtype": None}, ONE, None),
    ("auto", {"torch_dtype": "torch.bfloat16"}, ONE, None),
    ("auto", {"torch_dtype": "float64"}, ONE, None),
    ("auto", {"torch_dtype": "int8"}, ONE, None),
    ("auto", {"torch_dtype": "float8_e4m3fn"}, ONE, None),
    ("auto", {"torch_dtype": "nonsense"}, ONE, None),
    ("auto", {}, ONLY_INTEGERS, None),
    ("auto", {"torch_dtype": "bfloat16"}, ONLY_INTEGERS, None),
    ("float16", {"torch_dtype": "bfloat16"}, MIXED, None),
    ("bfloat16", {}, ONE, None),
    ("float32", {"torch_dtype": "bfloat16"}, ONE, None),
    ("float8_e4m3fn", {}, ONE, None),
    ("int8", {}, ONE, None),
    ("half", {}, MIXED, None),
    ("torch.float16", {}, MIXED, None),
    ("nonsense", {"torch_dtype": "bfloat16"}, MIXED, None),
    ("auto", {}, TWO_SHARDS, SHARDED),
    ("auto", {"torch_dtype": "float32"}, TWO_SHARDS, SHARDED),
    ("auto", {}, TWO_SHARDS, dict(SHARDED, dtype="float32")),
    ("auto", {}, TWO_SHARDS, dict(SHARDED, dtype="torch.float32")),
    ("auto", {"torch_dtype": "bfloat16"}, TWO_SHARDS, dict(SHARDED, dtype="float32")),
    ("auto", {}, TWO_SHARDS, {}),
    ("auto", {}, INTEGER_SHARD_FIRST, SHARDED),
    (None, {}, TWO_SHARDS, SHARDED),
    ("float16", {}, TWO_SHARDS, dict(SHARDED, dtype="float32")),
]

SHAPES = {"embed_tokens.weight": (8, 8), "norm.weight": (8,), "a_counter": (1,)}


def resolve(argument, config, shards, metadata):
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "config.json").write_text(json.dumps(TINY | config))
        weight_map = {}
        for index, tensors in enumerate(shards, 1):
            file = "model.safetensors" if metadata is None else f"model-{index:05}-of-{len(shards):05}.safetensors"
            weight_map |= {name: file for name, _ in tensors}
            values = {name: torch.zeros(SHAPES[name], dtype=getattr(torch, dtype)) for name, dtype in tensors}
            save_file(values, folder / file, {"format": "pt"})
        if metadata is not None:
            index = {"metadata": metadata, "weight_map": weight_map}
            (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        arguments = {} if argument is None else {"dtype": argument}
        resolved = []

        def spy(*args):
            config, dtype, previous = get_dtype(*args)
            resolved.append(dtype_name(dtype or config.dtype))
            return config, dtype, previous

        try:
            with mock.patch.object(modeling_utils, "_get_dtype", spy):
                model = transformers.LlamaModel.from_pretrained(folder, **arguments)
            loaded = [[n, dtype_name(p.dtype)] for n, p in model.named_parameters() if n in weight_map]
            return {"expected": resolved[0], "loaded": loaded}
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}"}
        finally:
            torch.set_default_dtype(torch.float32)


def main():
    rows = [
        {"argument": argument, "config": config, "tensors": shards, "metadata": metadata,
         **resolve(argument, config, shards, metadata)}
        for argument, config, shards, metadata in CASES
    ]
    write_table(FIXTURES / "transformers_dtype.json", "cases", rows)


if __name__ == "__main__":
    main()
