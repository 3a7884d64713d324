"""convert against what Python's packages write and read, through the program; the packages' answers are fixtures."""

import hashlib
import json
import os
import stat
import struct
import subprocess
import time

import running
import safetensors_writer
import setups

CHECKPOINTS = running.FIXTURES / "checkpoints"


def convert(binary, work, *arguments, status=0):
    result = running.run(binary, ["convert", *map(str, arguments)], work)
    assert result.status == status, result
    return result


def document(binary, work, *arguments, status=0):
    return json.loads(convert(binary, work, *arguments, "--json", "--quiet", status=status).stdout)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def weights_of(folder):
    return {p.name: sha256(p) for p in sorted(folder.iterdir()) if p.name.startswith("model")}


def tree_of(folder):
    return {str(p.relative_to(folder)): sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def read_tensors(path):
    """{name: (dtype, shape, bytes)} of a file, by the format's specification."""
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    assert header.pop("__metadata__") == {"format": "pt"}
    data = content[8 + size :]
    return {n: (t["dtype"], t["shape"], data[slice(*t["data_offsets"])]) for n, t in header.items()}


def test_output_is_what_save_pretrained_writes(binary, work):
    cases = [json.loads(line) for line in (running.FIXTURES / "save" / "saved.jsonl").read_text().splitlines()]
    assert len(cases) > 60
    wrong = []
    for number, case in enumerate(cases):
        flags = ["--dtype", case["dtype"]] if case["dtype"] else []
        convert(binary, work, CHECKPOINTS / case["model"], f"out{number}", "--max-shard-size", case["max_shard_size"], "-q", *flags)
        if weights_of(work / f"out{number}") != case["files"]:
            wrong.append((case["model"], case["dtype"], case["max_shard_size"], sorted(case["files"]), sorted(weights_of(work / f"out{number}"))))
    assert not wrong, wrong[:3]
