"""Checksums of what torch loads from the files of make_torch_files.py, cast to each dtype.

Makes test/fixtures/torch/loads.jsonl: for each file and dtype, `hashes`, the checksum of kernels/hash.h of every tensor's contiguous
little-endian bytes; those of float32, float16 and bfloat16 cast by `.to()`, all others as they are. Without complex32 and complex128,
which safetensors and hfload lack, and casts of NaN, whose payload depends on the processor. Run after make_torch_files.py:
python test/oracle/make_torch_loads.py
"""

import json
import warnings

import torch

from common import DTYPES, FIXTURES, write_lines
from make_hashes import tensor_hash

FOLDER = FIXTURES / "torch"


def bytes_of(tensor):
    contiguous = tensor.detach().resolve_conj().resolve_neg().contiguous()
    return contiguous.reshape(-1).view(torch.uint8).numpy().tobytes() if contiguous.numel() else b""


def hashes(state, dtype):
    found = {}
    for name, tensor in state.items():
        if not isinstance(tensor, torch.Tensor) or tensor.dtype in (torch.complex32, torch.complex128):
            continue
        cast = tensor.to(dtype) if tensor.dtype in DTYPES.values() else tensor
        if cast.dtype == tensor.dtype or not cast.isnan().any():
            found[name] = f"{tensor_hash(bytes_of(cast)):016x}"
    return found


def main():
    warnings.filterwarnings("ignore")
    rows = []
    for line in (FOLDER / "expected.jsonl").read_text().splitlines():
        file = json.loads(line)["file"]
        # torch leaves big-endian uint16, uint32 and uint64 as they are: what was meant is in the little-endian file.
        state = torch.load(FOLDER / file.replace("_big_endian", ""), weights_only=False)
        rows += [{"file": file, "dtype": dtype, "hashes": found} for dtype in DTYPES if (found := hashes(state, DTYPES[dtype]))]
    write_lines(FOLDER / "loads.jsonl", rows)


if __name__ == "__main__":
    main()
