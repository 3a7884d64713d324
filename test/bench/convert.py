"""Times `hfload convert` beside a probe that only reads and writes the same bytes on all cores, and beside transformers doing the same.

    python3 -m venv ../bench-venv && ../bench-venv/bin/pip install -r test/bench/requirements.txt
    cmake --preset release && cmake --build --preset release --target hfload hfload_probes
    ../bench-venv/bin/python test/bench/convert.py --work /some/disk/with/20GB

Every sample is a process of its own and ends with its files on the disk (the probe and hfload flush them; transformers does not, so
`sync` is counted to it). Inputs are in the page cache. The contenders take turns in random order; what counts is the median over rounds
of the ratio within a round, with its bootstrap 95 % confidence interval, and the peak of anonymous memory. Prints Markdown.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import checkpoints
from sampling import median_with_interval, warm

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}

PYTHON = """
import os, sys, torch, transformers
source, target, dtype = sys.argv[1:4]
model = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=getattr(torch, dtype))
model.save_pretrained(target)
os.sync()
"""


def sample(command):
    """Seconds of the whole process, and its peak of anonymous memory in bytes."""
    begin = time.perf_counter()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    most = 0
    while process.poll() is None:
        try:
            text = Path(f"/proc/{process.pid}/status").read_text()
            most = max([most, *(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("RssAnon"))])
        except (FileNotFoundError, ProcessLookupError):
            pass
        time.sleep(0.002)
    if process.returncode != 0:
        sys.exit(f"{command} failed with exit status {process.returncode}")
    return time.perf_counter() - begin, most


def interval(ratios):
    return "{:.2f} [{:.2f}, {:.2f}]".format(*median_with_interval(ratios))


def compare(options, source, dtype):
    tensor_bytes = sum(path.stat().st_size for path in source.glob("*.safetensors"))
    source_dtype = json.loads((source / "config.json").read_text())["torch_dtype"]
    wanted = tensor_bytes // BYTES[source_dtype] * BYTES[dtype]
    target = options.work / "target"
    commands = {
        "probe": [options.probes, "copy", source, target, wanted, os.cpu_count()],
        "hfload": [options.hfload, "convert", source, target, "--dtype", dtype, "--quiet"],
    }
    if not options.without_python:
        commands["transformers"] = [sys.executable, "-c", PYTHON, source, target, dtype]
    seconds, memory = {name: [] for name in commands}, {name: 0 for name in commands}
    for _ in range(options.rounds):
        for name in random.sample(list(commands), len(commands)):
            if target.exists():
                shutil.rmtree(target) if target.is_dir() else target.unlink()
            os.sync()
            warm(list(source.glob("*.safetensors")))
            taken, most = sample(commands[name])
            seconds[name].append(taken)
            memory[name] = max(memory[name], most)
    print(f"\n### {source_dtype} to {dtype}, {tensor_bytes / 1e9:.2f} GB read, {wanted / 1e9:.2f} GB written\n")
    print("| | seconds (median) | probe ÷ it | it ÷ hfload | anonymous memory |\n|---|---:|---:|---:|---:|")
    for name in commands:
        to_probe = interval([p / s for p, s in zip(seconds["probe"], seconds[name])])
        to_hfload = interval([s / h for s, h in zip(seconds[name], seconds["hfload"])])
        print(f"| {name} | {statistics.median(seconds[name]):.2f} | {to_probe} | {to_hfload} | {memory[name] / 2**20:.0f} MiB |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--hfload", type=Path, default=ROOT / "build" / "release" / "hfload")
    parser.add_argument("--probes", type=Path, default=ROOT / "build/release/test/bench/hfload_probes")
    parser.add_argument("--bytes", type=int, default=4 * 2**30, help="of the bfloat16 checkpoint")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--without-python", action="store_true")
    options = parser.parse_args()
    source = options.work / f"llama-{options.bytes}"
    if not source.exists():
        checkpoints.write_llama(source, options.bytes)
    wide = options.work / f"llama-{options.bytes}-float32"
    if not wide.exists():
        subprocess.run([options.hfload, "convert", source, wide, "--dtype", "float32", "--quiet"], check=True, stdout=subprocess.DEVNULL)
    for folder, dtype in [(source, "float16"), (wide, "bfloat16"), (source, "bfloat16")]:
        compare(options, folder, dtype)


if __name__ == "__main__":
    main()
