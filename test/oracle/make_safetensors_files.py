"""Files as the safetensors package writes them.

Makes test/fixtures/save/safetensors_files.jsonl.xz, one case a line: `tensors` ([name, dtype, shape] in a random order) and `file`, the
whole file in hexadecimal. The data of a tensor are bytes that count up from the length of its name. The package is given the metadata
{"format": "pt"}, as by save_pretrained; every dtype that it can write is among them.
Versions: requirements.txt. Run: python test/oracle/make_safetensors_files.py
"""

import ctypes
import random

from safetensors import TensorSpec, serialize

from common import FIXTURES, write_xz_lines
from make_shard_splits import ODD_NAMES

CASES = 300
BITS = {"bool": 8, "float4_e2m1fn_x2": 4, "uint8": 8, "int8": 8, "float8_e5m2": 8, "float8_e4m3fn": 8, "float8_e8m0fnu": 8,
        "int16": 16, "uint16": 16, "float16": 16, "bfloat16": 16, "int32": 32, "uint32": 32, "float32": 32, "complex64": 64, "float64": 64,
        "int64": 64, "uint64": 64}


def random_tensor(rng, used):
    while (name := rng.choice(ODD_NAMES) if rng.random() < 0.2 else ".".join(rng.choice("abcxyz") for _ in range(rng.randrange(1, 5)))) in used:
        pass
    used.add(name)
    dtype = rng.choice(list(BITS)) if rng.random() < 0.6 else rng.choice(["float32", "bfloat16"])
    shape = [rng.choice([0, 1, 2, 3, 5]) for _ in range(rng.randrange(4))]
    if dtype == "float4_e2m1fn_x2":
        shape.append(4)
    return name, dtype, shape


def data_of(name, dtype, shape):
    bits = BITS[dtype]
    for dimension in shape:
        bits *= dimension
    return bytes((len(name.encode()) + i) % 256 for i in range(bits // 8))


def written(tensors):
    buffers = {name: ctypes.create_string_buffer(data) for name, *_ in tensors for data in [data_of(name, *_)]}
    # Of packed 4-bit floats the package takes torch's shape, which counts pairs, and doubles the last dimension.
    shapes = {n: [*s[:-1], s[-1] // 2] if d == "float4_e2m1fn_x2" else s for n, d, s in tensors}
    specs = {n: TensorSpec(dtype=d, shape=shapes[n], data_ptr=ctypes.addressof(buffers[n]), data_len=len(data_of(n, d, s)))
             for n, d, s in tensors}
    return bytes(serialize(specs, {"format": "pt"}))


def main():
    rng, lines = random.Random(6), []
    for _ in range(CASES):
        used = set()
        tensors = [random_tensor(rng, used) for _ in range(rng.choice([0, 1, 2, 5, 12]))]
        lines.append({"tensors": tensors, "file": written(tensors).hex()})
    write_xz_lines(FIXTURES / "save" / "safetensors_files.jsonl.xz", lines)


if __name__ == "__main__":
    main()
