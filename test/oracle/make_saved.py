"""What save_pretrained writes for the checkpoints of test/fixtures/checkpoints.

Makes test/fixtures/save/saved.jsonl, one case a line: `model`, `dtype` (null: the saved one), `max_shard_size`, and `files`, {name: SHA-256}
of the weight files and the index that transformers writes for the model that it loads from there.
Versions: requirements.txt. Run: python test/oracle/make_saved.py
"""

import hashlib
import json
import tempfile
from pathlib import Path

import torch
import transformers

from common import DTYPES, FIXTURES, write_lines

SIZES = ["2KB", "10KB", "20.5KB", "5GB"]


def load(folder, dtype):
    config = json.loads((folder / "config.json").read_text())
    cls = getattr(transformers, config["architectures"][0])
    return cls.from_pretrained(folder, dtype=DTYPES[dtype] if dtype else "auto")


def saved_files(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir()) if p.name.startswith("model")}


def cases():
    for folder in sorted((FIXTURES / "checkpoints").iterdir()):
        if not (folder / "config.json").exists():
            continue
        # transformers saves the old names of a checkpoint under new ones; a conversion keeps names. float16 keeps some of T5's in float32.
        if "legacy" in folder.name:
            continue
        for dtype in [None, "bfloat16"] if "t5" in folder.name else [None, "bfloat16", "float16", "float32"]:
            model = load(folder, dtype)
            for size in SIZES if dtype is None else SIZES[1:2]:
                with tempfile.TemporaryDirectory() as out:
                    model.save_pretrained(out, max_shard_size=size)
                    yield {"model": folder.name, "dtype": dtype, "max_shard_size": size, "files": saved_files(Path(out))}


def main():
    torch.set_grad_enabled(False)
    write_lines(FIXTURES / "save" / "saved.jsonl", cases())


if __name__ == "__main__":
    main()
