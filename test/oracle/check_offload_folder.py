"""Whether accelerate works with the folders that `hfload load --offload-folder` leaves.

For each tiny checkpoint, dtype and placement: `OffloadedWeightsLoader(save_folder=...)` gives every tensor on the disk as
`from_pretrained` loads it, bit for bit; and the model, dispatched by accelerate with all modules on the disk and the folder as its
`offload_dir`, computes what the loaded model computes. Run: python test/oracle/check_offload_folder.py HFLOAD
"""

import json
import logging
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from accelerate import dispatch_model, init_empty_weights
from accelerate.utils import OffloadedWeightsLoader
from safetensors.torch import load_file

from common import DTYPES, FIXTURES

CHECKPOINTS = FIXTURES / "checkpoints"


def offload(hfload, model, dtype, device_map, folder):
    command = [hfload, "load", model, "--dtype", dtype, "--device-map", json.dumps(device_map), "--max-memory", "cpu=1GB",
               "--offload-folder", folder, "--verify", "--quiet"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.contiguous().view(-1).view(torch.uint8), b.contiguous().view(-1).view(torch.uint8))


def logits(model):
    ids = torch.arange(6)[None]
    inputs = {"input_ids": ids, **({"decoder_input_ids": ids} if model.config.is_encoder_decoder else {})}
    with torch.no_grad():
        return model(**inputs)[0]


def check_checkpoint(hfload, source, dtype):
    config = transformers.AutoConfig.from_pretrained(source)
    model_class = getattr(transformers, config.architectures[0])
    model = model_class.from_pretrained(source, dtype=DTYPES[dtype]).eval()
    children = [name for name, _ in model.named_children()]
    for on_disk in (children, children[-1:]):
        with tempfile.TemporaryDirectory() as folder:
            offload(hfload, source, dtype, {name: "disk" if name in on_disk else "cpu" for name in children}, folder)
            # A head that is tied to an embedding elsewhere is there with it, and leaves nothing on the disk.
            weights = OffloadedWeightsLoader(save_folder=folder) if (Path(folder) / "index.json").exists() else {}
            state_dict = model.state_dict()
            wanted = {n for n in state_dict if n.split(".")[0] in on_disk} if on_disk == children else set(weights)
            assert set(weights) == wanted and wanted <= set(state_dict), (source.name, set(weights) ^ wanted)
            for name in weights:
                assert same(weights[name], state_dict[name]), (source.name, dtype, name)
            if on_disk == children:
                with init_empty_weights():
                    empty = model_class._from_config(config, dtype=DTYPES[dtype]).eval()
                for name, parameter in empty.named_parameters():
                    parameter.data = parameter.data.to(state_dict[name].dtype)  # what a class keeps in float32
                dispatched = dispatch_model(empty, {name: "disk" for name in children}, main_device="cpu", offload_dir=folder)
                assert same(logits(dispatched), logits(model)), (source.name, dtype)
    return len(state_dict)


def check_mixed(hfload, dtype):
    """Tensors of several dtypes, a scalar and an empty one."""
    source = FIXTURES / "offload" / "weights.safetensors"
    with tempfile.TemporaryDirectory() as folder:
        offload(hfload, source, dtype, {"": "disk"}, folder)
        weights = OffloadedWeightsLoader(save_folder=folder)
        stored = load_file(source)
        assert set(weights) == set(stored)
        for name, tensor in stored.items():
            wanted = tensor.to(DTYPES[dtype]) if tensor.is_floating_point() else tensor
            assert same(weights[name], wanted), (dtype, name)
    return len(stored)


def main():
    logging.disable(logging.WARNING)
    hfload, tensors, folders = str(Path(sys.argv[1]).resolve()), 0, 0
    for dtype in DTYPES:
        tensors += check_mixed(hfload, dtype)
        for source in sorted(path for path in CHECKPOINTS.iterdir() if path.is_dir()):
            tensors += check_checkpoint(hfload, source, dtype)
            folders += 2
    print(f"{tensors} tensors in {folders + len(DTYPES)} folders are what accelerate and transformers load")


if __name__ == "__main__":
    main()
