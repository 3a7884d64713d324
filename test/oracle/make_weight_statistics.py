"""Statistics of tensors and differences of two checkpoints, by numpy in float64 and by torch's own conversions.

Makes test/fixtures/checks/:
- `statistics.safetensors`: a tensor for every dtype, with NaN, infinities, denormals, zeros and extremes, where the dtype has
  them (all 256 patterns of 8-bit ones); `statistics.json`: what `hfload verify` should find.
- `a.safetensors`, `b.safetensors`: tensors that are equal, near, far apart, of other dtypes and shapes; `differences.json`:
  what `hfload diff` should find.
Versions: requirements.txt. Run: python test/oracle/make_weight_statistics.py
"""

import json
import math

import numpy as np
import torch
from safetensors.torch import save_file

from common import FIXTURES

OUT = FIXTURES / "checks"
FLOATS8 = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu")


def from_bits(patterns, dtype):
    return torch.from_numpy(np.array(patterns)).view(dtype)


def tensors():
    rng = np.random.default_rng(5)
    bits16 = np.unique(np.concatenate([np.arange(0, 65536, 37), [0x8000, 0x7C00, 0xFC00, 0x7E00, 0x7F80, 0xFF80, 0x7FC0, 1, 0x8001]])).astype(np.uint16)
    edges32 = np.array([0, 0x80000000, 1, 0x80000001, 0x7FFFFF, 0x800000, 0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000, 0xFF800000, 0x7FC00000, 0xFFFFFFFF, 0x7F800001], np.uint32)
    edges64 = np.array([0, 1 << 63, 1, (1 << 63) + 1, (1 << 52) - 1, 1 << 52, 0x7FF << 52, 0xFFF << 52, (0x7FF << 52) + 1], np.uint64)
    yield "float16", from_bits(bits16.view(np.int16), torch.float16)
    yield "bfloat16", from_bits(bits16.view(np.int16), torch.bfloat16)
    yield "float32", from_bits(np.concatenate([edges32.view(np.float32), rng.normal(0, 3, 1001).astype(np.float32)]), torch.float32)
    yield "float64", from_bits(np.concatenate([edges64.view(np.float64), rng.normal(0, 3, 503), [1e300, -1e299]]), torch.float64)
    yield "complex64", torch.from_numpy((rng.normal(0, 1, 20) + 1j * rng.normal(0, 1, 20)).astype(np.complex64))
    for name in FLOATS8:
        yield name, from_bits(np.arange(256, dtype=np.uint8), getattr(torch, name))
    for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"):
        info = np.iinfo(name)
        values = np.concatenate([np.array([info.min, info.max, 0, 0], name), rng.integers(info.min, info.max, 100, dtype=name)])
        yield name, torch.from_numpy(values)
    yield "bool", torch.tensor([True, False, True])
    yield "zeros", torch.zeros(4, 3, dtype=torch.bfloat16)
    yield "empty", torch.zeros(0, 3)
    yield "nan_alone", torch.full((2,), math.nan)
    yield "one", torch.tensor(2.5, dtype=torch.float16)


def tiny(dtype):
    return 0.0 if dtype == torch.float8_e8m0fnu else torch.finfo(dtype).smallest_normal


def statistics(name, tensor):
    row = {"name": name, "shape": list(tensor.shape)}
    if tensor.dtype.is_complex:
        tensor = torch.view_as_real(tensor)
    if not tensor.dtype.is_floating_point:
        values = tensor.numpy()
        return row | {"values": values.size, "nan": 0, "infinite": 0, "denormal": 0, "zero": int((values == 0).sum()),
                      "min": int(values.min()), "max": int(values.max()), "mean": float(math.fsum(map(int, values.reshape(-1))) / values.size)}
    # float32 holds every value of the narrower dtypes.
    values = (tensor if tensor.dtype in (torch.float64, torch.float32) else tensor.to(torch.float32)).numpy().astype(np.float64)
    finite = values[np.isfinite(values)]
    return row | {"values": values.size, "nan": int(np.isnan(values).sum()), "infinite": int(np.isinf(values).sum()),
                  "denormal": int(((finite != 0) & (np.abs(finite) < tiny(tensor.dtype))).sum()), "zero": int((values == 0).sum()),
                  "min": float(finite.min()) if finite.size else None, "max": float(finite.max()) if finite.size else None,
                  "mean": math.fsum(finite) / finite.size if finite.size else None}


def pairs():
    rng = np.random.default_rng(6)
    base = torch.from_numpy(rng.normal(0, 1, 700).astype(np.float32))
    yield "equal", base, base.clone()
    near = base.clone().view(torch.int32)
    near[::7] += 1
    near[::50] += 5
    near[3] += 1000
    yield "near", base, near.view(torch.float32)
    yield "cast_bf16", base, base.to(torch.bfloat16)
    yield "half", base.half(), (base * 1.001).half()
    yield "brain", base.bfloat16(), (base * 1.02).bfloat16()
    yield "double", base.double(), base.double() * (1 + 1e-9)
    yield "signed_zero", torch.tensor([0.0, 1.0]), torch.tensor([-0.0, 1.0])
    yield "across_zero", torch.tensor([1e-45, -1e-45]), torch.tensor([-1e-45, 1e-45])
    yield "nan", torch.tensor([math.nan, 1.0, math.nan]), torch.tensor([math.nan, math.nan, 2.0])
    yield "infinity", torch.tensor([math.inf, math.inf, 1.0]), torch.tensor([math.inf, -math.inf, 1.0])
    yield "integers", torch.tensor([1, 2, -(2**62)]), torch.tensor([1, 5, -(2**62) + 1])
    yield "shape", torch.zeros(2, 3), torch.zeros(3, 2)
    yield "only_a", torch.zeros(2), None
    yield "only_b", None, torch.zeros(2)


def ordinal(tensor):
    bits = tensor.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()]).numpy()
    top = 1 << (8 * tensor.element_size() - 1)
    return [int(b) if b >= 0 else -(int(b) + top) for b in bits]


def difference(name, a, b):
    row = {"name": name}
    if a.shape != b.shape:
        return row | {"compared": False}
    x, y = ((t if t.dtype == torch.int64 else t.to(torch.float64)).numpy() for t in (a, b))
    both_nan, one_nan = np.isnan(x) & np.isnan(y), np.isnan(x) != np.isnan(y)
    numbers = ~(both_nan | one_nan)
    gaps = [0.0 if p == q else abs(float(p - q)) for p, q in zip(x[numbers], y[numbers])]
    scales = [max(abs(float(p)), abs(float(q))) for p, q in zip(x[numbers], y[numbers])]
    same_bits = [p == q and math.copysign(1, p) == math.copysign(1, q) for p, q in zip(x, y)]
    finite = np.isfinite(x) & np.isfinite(y)
    u, v = x[finite].astype(np.float64), y[finite].astype(np.float64)
    norm = math.sqrt(math.fsum(u * u)) * math.sqrt(math.fsum(v * v))
    row |= {"compared": True, "differing": sum(not s and not n for s, n in zip(same_bits, both_nan)), "nan_mismatches": int(one_nan.sum()),
            "max_absolute": max(gaps, default=0.0) if math.isfinite(max(gaps, default=0.0)) else None,
            "max_relative": max((g / s for g, s in zip(gaps, scales) if 0 < s < math.inf), default=0.0),
            "cosine": math.fsum(u * v) / norm if norm else None, "ulps": None}
    if a.dtype == b.dtype and a.dtype.is_floating_point:
        counts = {}
        for p, q, use in zip(ordinal(a), ordinal(b), numbers):
            gap = abs(p - q)
            bound = 0 if gap == 0 else 1 << (gap - 1).bit_length()
            if use:
                counts[bound] = counts.get(bound, 0) + 1
        row["ulps"] = [{"at_most": k, "values": counts[k]} for k in sorted(counts)]
    return row


def write(path, rows):
    path.write_text("[\n" + ",\n".join(json.dumps(row, allow_nan=False) for row in rows) + "\n]\n")


def main():
    OUT.mkdir(exist_ok=True)
    everything = dict(tensors())
    save_file(everything, OUT / "statistics.safetensors")
    write(OUT / "statistics.json", [statistics(n, t) for n, t in everything.items()])
    both = list(pairs())
    save_file({n: a.clone() for n, a, _ in both if a is not None}, OUT / "a.safetensors")
    save_file({n: b for n, _, b in both if b is not None}, OUT / "b.safetensors")
    write(OUT / "differences.json", [difference(*p) for p in both if p[1] is not None and p[2] is not None])


if __name__ == "__main__":
    main()
