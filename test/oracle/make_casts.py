"""What torch's `.to()` makes of float32, float16 and bfloat16 bit patterns.

Makes test/fixtures/casts/casts.json:
- `hashes`: for each 16-bit source, FNV-1a-64 over the little-endian output of converting the patterns 0x0000 to
  0xffff in order. A NaN's payload is not torch's promise, so every NaN output counts as the canonical quiet NaN
  (`canonical_nan`).
- `float32`: [input, as float16, as bfloat16] in hexadecimal, NaN outputs canonical too.
Versions: requirements.txt. Run: python test/oracle/make_casts.py
"""

import random

import numpy as np
import torch

from common import DTYPES, FIXTURES, dtype_name, write_table

BITS = {torch.float32: np.uint32, torch.float16: np.uint16, torch.bfloat16: np.uint16}
VIEWS = {torch.float32: torch.int32, torch.float16: torch.int16, torch.bfloat16: torch.int16}
CANONICAL_NAN = {torch.float32: 0x7FC00000, torch.float16: 0x7E00, torch.bfloat16: 0x7FC0}


def convert(patterns, source, target):
    signed = np.int32 if source == torch.float32 else np.int16
    values = torch.from_numpy(np.asarray(patterns, BITS[source]).view(signed).copy()).view(source)
    converted = values.to(target)
    assert torch.equal(values.isnan(), converted.isnan())
    bits = converted.view(VIEWS[target]).numpy().view(BITS[target]).copy()
    bits[converted.isnan().numpy()] = CANONICAL_NAN[target]
    return bits


def fnv1a64(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def bits_of(value):
    return int(np.float32(value).view(np.uint32))


def interesting_float32():
    rng = random.Random(0)
    magnitudes = set(range(4)) | {0x7FFFFF, 0x800000, 0x800001, 0x7F7FFFFF, 0x7F800000, 0x7F800001, 0x7FC00000,
                                  0x7FFFFFFF, 0x7FA00000, bits_of(1), bits_of(1 / 3), bits_of(2) - 1}

    # around float16's overflow (65520 rounds to infinity), smallest normal, and half of its smallest denormal
    for value in (65504, 65519.996, 65520, 65536, 2.0**-14, 2.0**-15, 2.0**-24, 2.0**-25, 2.0**-26, 1.5 * 2.0**-24):
        magnitudes |= {bits_of(value) + step for step in (-1, 0, 1)}
    # around bfloat16's overflow, and the denormals, where float32 and bfloat16 share the exponent
    for pattern in (0x7F7F0000, 0x7F7F7FFF, 0x7F7F8000, 0x7F7F8001, 0x00008000, 0x00018000, 0x00007FFF, 0x007F8000):
        magnitudes |= {pattern + step for step in (-1, 0, 1)}

    # halfway between two neighbours of each format, and one step to either side: ties to even, both ways
    for _ in range(40):
        low = rng.randrange(0x7BFF)
        pair = np.array([low, low + 1], np.uint16).view(np.float16).astype(np.float32)
        middle = bits_of(pair.sum() / 2)
        magnitudes |= {middle - 1, middle, middle + 1}
        middle = rng.randrange(0x7F7F) << 16 | 0x8000
        magnitudes |= {middle - 1, middle, middle + 1}
    magnitudes |= {rng.randrange(bits_of(2.0**-25), bits_of(70000)) for _ in range(120)}
    magnitudes |= {rng.randrange(0x80000000) for _ in range(60)}

    patterns = set()
    for magnitude in magnitudes:
        patterns |= {magnitude} if rng.random() < 0.4 else {magnitude | 0x80000000}
    return sorted(patterns | {0x80000000, 0xFF800000, 0xFFC00000})


def main():
    patterns = np.arange(0x10000, dtype=np.uint16)
    hashes = [
        {"from": dtype_name(source), "to": dtype_name(target),
         "fnv1a64": fnv1a64(convert(patterns, source, target).astype(BITS[target]).tobytes())}
        for source in (torch.float16, torch.bfloat16)
        for target in DTYPES.values() if target != source
    ]
    inputs = interesting_float32()
    half = convert(inputs, torch.float32, torch.float16)
    brain = convert(inputs, torch.float32, torch.bfloat16)
    rows = [[f"{i:08x}", f"{h:04x}", f"{b:04x}"] for i, h, b in zip(inputs, half, brain)]
    canonical = {dtype_name(dtype): f"{bits:0{8 if dtype == torch.float32 else 4}x}"
                 for dtype, bits in CANONICAL_NAN.items()}
    write_table(FIXTURES / "casts" / "casts.json", "float32", rows, canonical_nan=canonical, hashes=hashes)


if __name__ == "__main__":
    main()
