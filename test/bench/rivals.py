"""One load by a Python package in a process of its own: `rivals.py numpy|torch|fastsafetensors|runai|to_float32 MODEL_DIRECTORY`.

Prints {"seconds": ..., "again": ..., "bytes": ..., ...}: the first load, and a second one in the same process once the first is
freed. As in hfload, every byte ends in memory that the process owns: numpy's tensors are copies already, torch's are views of the
mapped file and are cloned; fastsafetensors (no GPUDirect Storage, device cpu) and Run:ai's streamer read into buffers of their own, of
which the tensors are views. to_float32 is load_file and `.to(float32)`, tensor by tensor. `rivals.py header FILE` only opens a file and
lists its tensors. Imports are not timed. With `--checksum`, after the timing, the sum of all 16-bit words of all tensors is printed as
well.
"""

import json
import resource
import sys
import time
from pathlib import Path


def load_numpy(paths):
    import ml_dtypes  # numpy has no bfloat16 of its own  # noqa: F401
    from safetensors import safe_open

    def load():
        tensors = {}
        for path in paths:
            with safe_open(path, framework="np") as file:
                for name in file.keys():
                    tensors[name] = file.get_tensor(name)
        return tensors

    return load


def load_torch(paths):
    import torch  # noqa: F401
    from safetensors.torch import load_file

    def load():
        tensors = {}
        for path in paths:
            for name, tensor in load_file(path).items():
                tensors[name] = tensor.clone()
        return tensors

    return load


def load_fastsafetensors(paths):
    import torch  # noqa: F401
    from fastsafetensors import SafeTensorsFileLoader, SingleGroup

    def load():
        loader = SafeTensorsFileLoader(SingleGroup(), device="cpu", nogds=True)
        loader.add_filenames({0: paths})
        buffers = loader.copy_files_to_device()
        tensors = {name: buffers.get_tensor(name) for name in loader.get_keys()}
        return KeptAlive(tensors, loader, buffers)

    return load


def load_runai(paths):
    import torch  # noqa: F401
    from runai_model_streamer import SafetensorsStreamer

    def load():
        streamer = SafetensorsStreamer()
        streamer.__enter__()
        streamer.stream_files(paths)
        return KeptAlive(dict(streamer.get_tensors()), streamer)

    return load


def read_header(path, repeats=31):
    """Median seconds of safe_open and its list of keys."""
    from safetensors import safe_open

    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        with safe_open(path, framework="np") as file:
            file.keys()
        seconds.append(time.perf_counter() - begin)
    return sorted(seconds)[repeats // 2]


def load_to_float32(paths):
    import torch
    from safetensors.torch import load_file

    def load():
        return {name: tensor.to(torch.float32) for path in paths for name, tensor in load_file(path).items()}

    return load


class KeptAlive(dict):
    """Tensors, with the objects that own their memory."""

    def __init__(self, tensors, *owners):
        super().__init__(tensors)
        self.owners = owners


def checksum(tensors):
    import numpy

    total = 0
    for tensor in tensors.values():
        if not isinstance(tensor, numpy.ndarray):
            import torch

            tensor = tensor.view(torch.int16).numpy()
        words = numpy.ascontiguousarray(tensor).reshape(-1).view(numpy.uint16)
        total += int(words.sum(dtype=numpy.uint64))
    return total % 2**64


def main():
    kind, directory = sys.argv[1:3]
    if kind == "header":
        print(json.dumps({"seconds": read_header(directory)}))
        return
    paths = sorted(str(path) for path in Path(directory).glob("*.safetensors"))
    load = {"numpy": load_numpy, "torch": load_torch, "fastsafetensors": load_fastsafetensors, "runai": load_runai,
            "to_float32": load_to_float32}[kind](paths)

    def timed():
        begin = time.perf_counter()
        tensors = load()
        return time.perf_counter() - begin, tensors

    first, tensors = timed()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    begin = time.perf_counter()
    tensors = None
    again, tensors = timed()
    second = {"again": again, "again_and_freeing": time.perf_counter() - begin}
    result = {"seconds": first, **second, "peak_bytes": peak, "bytes": sum(tensor.nbytes for tensor in tensors.values())}
    if "--checksum" in sys.argv:
        result["checksum"] = checksum(tensors)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
