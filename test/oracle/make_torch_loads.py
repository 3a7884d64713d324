"""Checksums of what torch loads from the files of make_torch_files.py, as it is and in other dtypes.

Makes test/fixtures/torch/loads.jsonl: for each file and dtype, `hashes`, the checksum of kernels/hash.h of every tensor's contiguous
little-endian bytes. `auto`: each in its own dtype; else cast by `.to()`, of those that are float32, float16 or bfloat16. Without
complex32 and complex128, which safetensors and hfload lack. Run after make_torch_files.py: python test/oracle/make_torch_loads.py
"""

import json
import warnings

import torch

from common import DTYPES, FIXTURES, write_lines
from make_hashes import tensor_hash

FOLDER = FIXTURES / "torch"


def bytes_of(tensor):
    contiguous = tensor.detach().contiguous()
    return contiguous.reshape(-1).view(torch.uint8).numpy().tobytes() if contiguous.numel() else b""


def hashes(state, dtype):
    chosen = {n: t for n, t in state.items() if isinstance(t, torch.Tensor) and t.dtype not in (torch.complex32, torch.complex128)}
    if dtype != "auto":
        chosen = {n: t.to(DTYPES[dtype]) for n, t in chosen.items() if t.dtype in DTYPES.values()}
    return {n: f"{tensor_hash(bytes_of(t)):016x}" for n, t in chosen.items()}


def main():
    warnings.filterwarnings("ignore")
    rows = []
    for line in (FOLDER / "expected.jsonl").read_text().splitlines():
        file = json.loads(line)["file"]
        # torch leaves big-endian uint16, uint32 and uint64 as they are: what was meant is in the little-endian file.
        state = torch.load(FOLDER / file.replace("_big_endian", ""), weights_only=False)
        rows += [{"file": file, "dtype": dtype, "hashes": found} for dtype in ("auto", *DTYPES) if (found := hashes(state, dtype))]
    write_lines(FOLDER / "loads.jsonl", rows)


if __name__ == "__main__":
    main()
