"""What accelerate leaves in an offload folder, and what transformers records of tensors offloaded in place.

Makes in test/fixtures/offload/:
  weights.safetensors   tensors of several dtypes, a scalar, an empty one, and values that round, overflow or are denormal
  float32/, float16/, bfloat16/   the folder that accelerate's `offload_state_dict` writes for those tensors of it that
                        change when floats become that dtype
  in_place.json         {checkpoint: offload_index of `from_pretrained` with every module on the disk}, its files relative to
                        test/fixtures/checkpoints

Versions: requirements.txt. Run: python test/oracle/make_offload.py
"""

import json
import shutil

import torch
import transformers
from accelerate.utils.offload import offload_state_dict
from safetensors.torch import save_file
from transformers import modeling_utils

from common import DTYPES, FIXTURES, write_versions

FOLDER = FIXTURES / "offload"
CHECKPOINTS = FIXTURES / "checkpoints"


def tensors():
    generator = torch.Generator().manual_seed(20)
    # No NaN: its payload after a conversion depends on the processor.
    special = torch.tensor([0.0, -0.0, 1 / 3, 65504, 65520, 1e30, -1e-8, 6e-8, 1e-40, 3.3895314e38, float("inf"), float("-inf")])
    result = {
        "matrix.weight": torch.randn(37, 11, generator=generator),
        "special.weight": special,
        "half.weight": torch.cat([torch.randn(5, generator=generator), special]).to(torch.float16),
        "brain.weight": torch.cat([torch.randn(6, generator=generator), special]).to(torch.bfloat16),
        "scalar": torch.tensor(1.5703125),
        "empty.weight": torch.zeros(0, 3),
        "cube": torch.randn(2, 1, 2, generator=generator),
        "count": torch.tensor(7),
        "mask": torch.tensor([True, False]),
    }
    return result


def converted(state_dict, dtype):
    floats = (torch.float32, torch.float16, torch.bfloat16)
    return {n: t.to(dtype) for n, t in state_dict.items() if t.dtype in floats and t.dtype != dtype}


def offload_index(folder):
    """What `from_pretrained` hands to accelerate's `dispatch_model` as the offload index."""
    seen = []
    original = modeling_utils.dispatch_model
    modeling_utils.dispatch_model = lambda model, **kwargs: seen.append(kwargs["offload_index"])
    try:
        config = transformers.AutoConfig.from_pretrained(folder)
        model_class = getattr(transformers, config.architectures[0])
        # {"": "disk"} makes transformers 4.57 open the file on a device of that name.
        device_map = {name: "disk" for name, _ in model_class(config).named_children()}
        model_class.from_pretrained(folder, dtype="auto", device_map=device_map)
    finally:
        modeling_utils.dispatch_model = original
    (index,) = seen
    for entry in index.values():
        entry["safetensors_file"] = entry["safetensors_file"].removeprefix(str(CHECKPOINTS) + "/")
    return dict(sorted(index.items()))


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    write_versions(FOLDER)
    state_dict = tensors()
    save_file(state_dict, FOLDER / "weights.safetensors", {"format": "pt"})
    for name, dtype in DTYPES.items():
        offload_state_dict(FOLDER / name, converted(state_dict, dtype))
    folders = sorted(path for path in CHECKPOINTS.iterdir() if path.is_dir())
    rows = (f"{json.dumps(f.name)}:{json.dumps(offload_index(f), separators=(',', ':'))}" for f in folders)
    (FOLDER / "in_place.json").write_text("{" + ",\n".join(rows) + "}\n")


if __name__ == "__main__":
    main()
