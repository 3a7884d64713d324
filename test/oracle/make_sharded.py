"""What `load_sharded_checkpoint` makes of tiny sharded checkpoints, and `from_pretrained` of the same folders.

Makes test/fixtures/loading/sharded.jsonl.xz. A case is a recipe and the answers. Recipe: the config.json of `checkpoint`;
`shards`, {file: {"names": those that model.safetensors.index.json places in it, "tensors": [[name, dtype, shape]] that it
holds, or null for a file that does not exist}}; `torch_names`, {name: file} of a pytorch_model.bin.index.json beside it, if
there is one. Answers: `strict` and `default`, of load_sharded_checkpoint(strict=True and False), hold the lists of keys,
sorted, and `filled`, the names of which the model then holds the file's elements; or, where Python raises, `raises`, its
`message`, and `mismatched_keys`, [name, shape in the checkpoint, shape in the model] of those that the message names.
`from_pretrained`, with ignore_mismatched_sizes where a shape differs, is as in keys.jsonl (make_keys.py). Versions:
requirements.txt. Run: python test/oracle/make_sharded.py
"""

import json
import re
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import modeling_utils

from common import FIXTURES, write_xz_lines
from make_keys import CHECKPOINTS, loading_info

DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32, "BOOL": torch.bool}
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
FILLED, UNTOUCHED = 0.0, 1.0


class Recipe:
    """A checkpoint of which the first half of the names, sorted, lies in the first shard."""

    def __init__(self, checkpoint):
        self.checkpoint = checkpoint
        tensors = []
        for path in sorted((CHECKPOINTS / checkpoint).glob("*.safetensors")):
            with safe_open(path, framework="pt") as file:
                slices = ((name, file.get_slice(name)) for name in file.keys())
                tensors += [[name, s.get_dtype(), s.get_shape()] for name, s in slices]
        tensors.sort()
        self.shards = {}
        for file, part in zip(SHARDS, (tensors[: len(tensors) // 2], tensors[len(tensors) // 2 :])):
            self.shards[file] = {"names": [name for name, _, _ in part], "tensors": part}
        self.torch_names = {}

    def file_of(self, name):
        (file,) = (file for file, shard in self.shards.items() if name in shard["names"])
        return file

    def without(self, *names):
        for name in names:
            shard = self.shards[self.file_of(name)]
            shard["names"].remove(name)
            shard["tensors"] = [t for t in shard["tensors"] if t[0] != name]
        return self

    def unindexed(self, name):
        self.shards[self.file_of(name)]["names"].remove(name)
        return self

    def lost(self, name):
        shard = self.shards[self.file_of(name)]
        shard["tensors"] = [t for t in shard["tensors"] if t[0] != name]
        return self

    def misplaced(self, name):
        self.shards[self.file_of(name)]["names"].remove(name)
        other = next(file for file in SHARDS if all(t[0] != name for t in self.shards[file]["tensors"]))
        self.shards[other]["names"].append(name)
        return self

    def added(self, name, dtype, shape, file=SHARDS[1], indexed=True):
        shard = self.shards.setdefault(file, {"names": [], "tensors": []})
        shard["tensors"].append([name, dtype, shape])
        if indexed:
            shard["names"].append(name)
        return self

    def renamed(self, old, new):
        shard = self.shards[self.file_of(old)]
        shard["names"] = [new if name == old else name for name in shard["names"]]
        shard["tensors"] = [[new if t[0] == old else t[0], *t[1:]] for t in shard["tensors"]]
        return self

    def reshaped(self, name, shape):
        for tensor in self.shards[self.file_of(name)]["tensors"]:
            if tensor[0] == name:
                tensor[2] = shape
        return self

    def absent(self, file):
        self.shards[file]["tensors"] = None
        return self

    def beside_torch(self, names):
        self.torch_names = names
        return self

    def write(self, folder):
        shutil.copy(CHECKPOINTS / self.checkpoint / "config.json", folder)
        weight_map = {}
        for file, shard in self.shards.items():
            weight_map.update({name: file for name in shard["names"]})
            if shard["tensors"] is not None:
                tensors = {n: torch.full(shape, FILLED, dtype=DTYPES[d]) for n, d, shape in shard["tensors"]}
                save_file(tensors, folder / file, {"format": "pt"})
        index = {"metadata": {}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        if self.torch_names:
            index = {"metadata": {}, "weight_map": self.torch_names}
            (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


NORM, UP, LAST = "model.norm.weight", "model.layers.0.mlp.up_proj.weight", "model.layers.1.mlp.up_proj.weight"
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def recipes():
    def llama():
        return Recipe("llama-tiny")

    def tied():
        return Recipe("llama-tiny-tied-sharded")

    yield "whole", llama()
    yield "one missing", llama().without(NORM)
    yield "one missing from each shard", llama().without(NORM, EMBEDDING)
    yield "one unexpected", llama().added("model.extra.weight", "F32", [3, 2])
    yield "one missing, one unexpected", llama().renamed(NORM, "model.final_norm.weight")
    yield "a layer too many", llama().added("model.layers.2.mlp.up_proj.weight", "BF16", [48, 32])
    yield "another shape", llama().reshaped(NORM, [16])
    yield "another rank", llama().reshaped(NORM, [32, 1])
    yield "two of another shape in one shard", llama().reshaped(NORM, [16]).reshaped(LAST, [32, 48])
    yield "another shape in each shard", llama().reshaped(UP, [32, 48]).reshaped(NORM, [16])
    yield "another shape, one missing", llama().reshaped(NORM, [16]).without(UP)
    yield "another shape, one unexpected", llama().reshaped(NORM, [16]).added("model.extra.weight", "F32", [3, 2])
    yield "all three", llama().reshaped(NORM, [16]).without(UP).added("model.extra.weight", "F32", [3, 2])
    yield "a shard that does not exist", llama().absent(SHARDS[1])
    yield "a shard that does not exist, one missing", llama().absent(SHARDS[1]).without(EMBEDDING)
    yield "a shard of unexpected keys that does not exist", llama().added("extra.weight", "F32", [3], "extra.safetensors").absent("extra.safetensors")
    yield "a shard holds a key of the model that the index does not name", llama().unindexed(NORM)
    yield "a shard holds an unexpected key that the index does not name", llama().added("extra.weight", "F32", [3], indexed=False)
    yield "a shard holds a key that the index places in the other", llama().added(EMBEDDING, "BF16", [96, 32], indexed=False)
    yield "the index names a key that no shard holds", llama().lost(NORM)
    yield "the index places a key in the wrong shard", llama().misplaced(NORM)
    yield "an index of PyTorch files beside it", llama().beside_torch({"extra.weight": "pytorch_model-00001-of-00001.bin"})

    yield "tied head not saved", tied()
    yield "tied head saved", tied().added(HEAD, "F16", [96, 32])
    yield "tied head saved in the other shard", tied().added(HEAD, "F16", [96, 32], SHARDS[0])
    yield "tied head saved instead of the embedding", tied().renamed(EMBEDDING, HEAD)
    yield "neither tied name saved", tied().without(EMBEDDING)
    yield "tied head saved in another shape", tied().added(HEAD, "F16", [90, 32])
    yield "tied embeddings of encoder and decoder not saved", Recipe("t5-v1_0-tiny")

    yield "old inv_freq", llama().added("model.layers.0.self_attn.rotary_emb.inv_freq", "F32", [4])
    yield "a buffer that is not saved", Recipe("gpt2-tiny").added(HEAD, "F32", [80, 16]).added("transformer.h.0.attn.bias", "BOOL", [1, 1, 24, 24])
    yield "legacy names", Recipe("bert-legacy-names-tiny")
    yield "names of the base model", base_names_in("llama-tiny")


def base_names_in(checkpoint):
    """The names as the base model has them, without the head, beside the config of the whole model."""
    recipe = Recipe(checkpoint).without(HEAD)
    for shard in recipe.shards.values():
        for name in list(shard["names"]):
            recipe.renamed(name, name.removeprefix("model."))
    return recipe


def model_of(folder):
    config = transformers.AutoConfig.from_pretrained(folder)
    return getattr(transformers, config.architectures[0])(config)


def raised(error, folder):
    message = str(error).replace(str(folder), "FOLDER")
    shapes = re.findall(r"size mismatch for (\S+): copying a param with shape torch\.Size\(\[([\d, ]*)\]\) from checkpoint, "
                        r"the shape in current model is torch\.Size\(\[([\d, ]*)\]\)", message)
    numbers = [[name, *([int(d) for d in s.split(", ")] for s in pair)] for name, *pair in shapes]
    return {"raises": type(error).__name__, "message": message, "mismatched_keys": sorted(numbers)}


def load_sharded(folder, strict):
    model = model_of(folder)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.fill_(UNTOUCHED)
    # Python's order of a set of names, in which shards are read and after which a wrong one ends the load, changes
    # from run to run.
    with mock.patch.object(modeling_utils, "set", lambda values: sorted(set(values)), create=True):
        try:
            keys = modeling_utils.load_sharded_checkpoint(model, folder, strict=strict)
        except Exception as error:
            return raised(error, folder)
    filled = [name for name, tensor in model.state_dict().items() if bool((tensor == FILLED).all())]
    return {"missing_keys": sorted(keys.missing_keys), "unexpected_keys": sorted(keys.unexpected_keys), "filled": sorted(filled)}


def from_pretrained(folder, ignore_mismatched_sizes):
    config = transformers.AutoConfig.from_pretrained(folder)
    info = loading_info(config.architectures[0], folder, ignore_mismatched_sizes)
    return {"error": info["error"].replace(str(folder), "FOLDER")} if "error" in info else info


def cases():
    for what, recipe in recipes():
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            recipe.write(folder)
            ignore = "another shape" in what or "another rank" in what or what == "all three"
            yield {"case": what, "checkpoint": recipe.checkpoint, "shards": recipe.shards, "torch_names": recipe.torch_names,
                   "strict": load_sharded(folder, True), "default": load_sharded(folder, False),
                   "from_pretrained": from_pretrained(folder, ignore)}


def main():
    write_xz_lines(FIXTURES / "loading" / "sharded.jsonl.xz", cases())


if __name__ == "__main__":
    main()
