"""Which keys `from_pretrained(..., output_loading_info=True)` reports as missing, unexpected and mismatched.

Makes test/fixtures/loading/keys.jsonl from the tiny checkpoints. A case's `edit` is applied to the checkpoint's
tensors, in this order: remove [names], rename [[old, new]], add [[name, dtype, shape]], reshape [[name, shape]]; an
edited checkpoint is one file. Keys are sorted; a mismatched one is [name, shape in the checkpoint, shape in the model].
Where Python raises, `error` holds the text. Versions: requirements.txt. Run: python test/oracle/make_keys.py
"""

import json
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import modeling_utils

from common import FIXTURES, write_lines, write_versions

CHECKPOINTS = FIXTURES / "checkpoints"

CLASSES = {
    "t5": ["T5ForConditionalGeneration", "T5EncoderModel"],
    "llama": ["LlamaForCausalLM", "LlamaModel"],
    "mistral": ["MistralForCausalLM", "MistralModel"],
    "qwen2": ["Qwen2ForCausalLM", "Qwen2Model"],
    "gpt2": ["GPT2LMHeadModel", "GPT2Model"],
    "bert": ["BertModel", "BertForMaskedLM", "BertForSequenceClassification"],
}


def edit(remove=(), rename=(), add=(), reshape=()):
    parts = {"remove": remove, "rename": rename, "add": add, "reshape": reshape}
    return {name: part for name, part in parts.items() if part}


def extra(*names, dtype="float32", shape=(3, 2)):
    return edit(add=[[name, dtype, list(shape)] for name in names])


# checkpoint: [(what, edit)], each tried with every class of the family
EDITS = {
    "t5-v1_0-tiny": [
        ("head present", extra("lm_head.weight", shape=(64, 16))),
        ("all names of the shared embedding", extra("lm_head.weight", "encoder.embed_tokens.weight",
                                                    "decoder.embed_tokens.weight", shape=(64, 16))),
        ("embedding under another name", edit(rename=[["shared.weight", "encoder.embed_tokens.weight"]])),
        ("embedding under the head's name", edit(rename=[["shared.weight", "lm_head.weight"]])),
        ("no embedding", edit(remove=["shared.weight"])),
        ("ignored relative bias", extra("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",
                                        "decoder.block.1.layer.1.EncDecAttention.relative_attention_bias.weight")),
        ("a key with the base prefix", extra("transformer.extra.weight")),
        ("a key that starts like the base prefix", extra("transformers_note")),
        ("removed", edit(remove=["encoder.block.0.layer.0.SelfAttention.q.weight",
                                 "decoder.final_layer_norm.weight"])),
    ],
    "t5-v1_1-tiny-sharded": [
        ("no head", edit(remove=["lm_head.weight"])),
        ("no head, no embedding", edit(remove=["lm_head.weight", "shared.weight"])),
        ("encoder embedding only", edit(remove=["lm_head.weight"],
                                        rename=[["shared.weight", "encoder.embed_tokens.weight"]])),
        ("reshape", edit(reshape=[["shared.weight", [60, 16]], ["lm_head.weight", [60, 16]]])),
    ],
    "t5-encoder-tiny": [
        ("extra", extra("encoder.extra.weight", "extra.weight")),
        ("embedding under another name", edit(rename=[["shared.weight", "encoder.embed_tokens.weight"]])),
    ],
    "llama-tiny": [
        ("old inv_freq", extra("model.layers.0.self_attn.rotary_emb.inv_freq", "model.rotary_emb.inv_freq",
                               shape=(4,))),
        ("no head", edit(remove=["lm_head.weight"])),
        ("extra", extra("model.extra.weight", "extra.weight", "model.layers.2.mlp.up_proj.weight")),
        ("removed", edit(remove=["model.norm.weight", "model.layers.1.mlp.up_proj.weight"])),
        ("renamed", edit(rename=[["model.norm.weight", "model.final_norm.weight"]])),
        ("reshape", edit(reshape=[["model.embed_tokens.weight", [100, 32]], ["model.norm.weight", [16]]])),
        ("reshape head", edit(reshape=[["lm_head.weight", [100, 32]]])),
        ("rank changed", edit(reshape=[["model.norm.weight", [32, 1]]])),
        ("same count of elements", edit(reshape=[["model.layers.0.mlp.up_proj.weight", [32, 48]]])),
        ("other dtypes", extra("model.note", dtype="int64", shape=(1,))),
        ("weight norm names", extra("model.layers.0.weight_g", "lm_head.weight_v")),
    ],
    "llama-tiny-tied-sharded": [
        ("head present", extra("lm_head.weight", dtype="float16", shape=(96, 32))),
        ("head instead of embedding", edit(rename=[["model.embed_tokens.weight", "lm_head.weight"]])),
        ("neither", edit(remove=["model.embed_tokens.weight"])),
        ("head of another shape", extra("lm_head.weight", dtype="float16", shape=(90, 32))),
    ],
    "llama-base-tiny": [
        ("head without prefix", extra("lm_head.weight", dtype="bfloat16", shape=(96, 32))),
        ("a key that starts like the base prefix", extra("model_extra.weight")),
        ("a key with the base prefix", extra("model.extra.weight")),
        ("extra", extra("extra.weight", "layers.9.mlp.up_proj.weight")),
        ("old inv_freq", extra("layers.0.self_attn.rotary_emb.inv_freq", "rotary_emb.inv_freq", shape=(4,))),
        ("removed", edit(remove=["norm.weight", "layers.0.self_attn.k_proj.weight"])),
        ("reshape", edit(reshape=[["norm.weight", [16]]])),
    ],
    "mistral-tiny": [("removed and extra", edit(remove=["model.norm.weight"],
                                                add=[["model.norm.bias", "bfloat16", [32]]]))],
    "mistral-base-tiny": [("reshape", edit(reshape=[["embed_tokens.weight", [97, 32]]]))],
    "qwen2-tiny": [
        ("head present", extra("lm_head.weight", dtype="bfloat16", shape=(96, 32))),
        ("no biases", edit(remove=["model.layers.0.self_attn.q_proj.bias", "model.layers.1.self_attn.v_proj.bias"])),
        ("old inv_freq", extra("model.layers.1.self_attn.rotary_emb.inv_freq", shape=(4,))),
    ],
    "qwen2-base-tiny": [("extra", extra("lm_head.bias"))],
    "gpt2-tiny": [
        ("old masks", extra("transformer.h.0.attn.bias", "transformer.h.1.attn.bias", dtype="bool",
                            shape=(1, 1, 24, 24))),
        ("old masked_bias", extra("transformer.h.0.attn.masked_bias", "h.0.attn.masked_bias", shape=())),
        ("mask of a layer too many", extra("transformer.h.2.attn.bias", dtype="bool", shape=(1, 1, 24, 24))),
        ("mask of another size", extra("transformer.h.0.attn.bias", dtype="bool", shape=(1, 1, 32, 32))),
        ("head present", extra("lm_head.weight", shape=(80, 16))),
        ("head instead of embedding", edit(rename=[["transformer.wte.weight", "lm_head.weight"]])),
        ("neither", edit(remove=["transformer.wte.weight"])),
        ("reshape", edit(reshape=[["transformer.wpe.weight", [30, 16]], ["transformer.h.0.attn.c_attn.weight",
                                                                         [48, 16]]])),
    ],
    "gpt2-base-tiny": [
        ("old masks", edit(add=[["h.0.attn.bias", "bool", [1, 1, 24, 24]], ["h.0.attn.masked_bias", "float32", []],
                                ["h.1.attn.bias", "bool", [1, 1, 24, 24]]])),
        ("head without prefix", extra("lm_head.weight", shape=(80, 16))),
        ("removed", edit(remove=["ln_f.bias", "h.1.mlp.c_fc.weight"])),
    ],
    "bert-base-tiny": [
        ("old position_ids", extra("embeddings.position_ids", dtype="int64", shape=(1, 20))),
        ("no pooler", edit(remove=["pooler.dense.weight", "pooler.dense.bias"])),
        ("head without prefix", extra("cls.predictions.bias", shape=(72,))),
        ("classifier without prefix", extra("classifier.weight", "classifier.bias", shape=(2,))),
        ("other gamma", extra("encoder.layer.0.gamma", "encoder.layer.0.output.LayerNorm.gamma.extra",
                              "encoder.layer.0.output.LayerNorm.beta", shape=(16,))),
    ],
    "bert-mlm-tiny": [
        ("old position_ids", extra("bert.embeddings.position_ids", dtype="int64", shape=(1, 20))),
        ("decoder present", edit(add=[["cls.predictions.decoder.weight", "float32", [72, 16]],
                                      ["cls.predictions.decoder.bias", "float32", [72]]])),
        ("decoder bias under the other name", edit(rename=[["cls.predictions.bias",
                                                            "cls.predictions.decoder.bias"]])),
        ("no bias", edit(remove=["cls.predictions.bias"])),
        ("next-sentence head", extra("cls.seq_relationship.weight", "cls.seq_relationship.bias")),
        ("pooler present", extra("bert.pooler.dense.weight", shape=(16, 16))),
        ("reshape", edit(reshape=[["cls.predictions.bias", [70]], ["bert.embeddings.word_embeddings.weight",
                                                                   [70, 16]]])),
    ],
    "bert-cls-tiny": [
        ("more labels", edit(reshape=[["classifier.weight", [5, 16]], ["classifier.bias", [5]]])),
        ("no classifier", edit(remove=["classifier.weight", "classifier.bias"])),
        ("legacy names", edit(rename=[["bert.embeddings.LayerNorm.weight", "bert.embeddings.LayerNorm.gamma"],
                                      ["bert.embeddings.LayerNorm.bias", "bert.embeddings.LayerNorm.beta"]])),
        ("both names", extra("bert.embeddings.LayerNorm.gamma", "bert.embeddings.LayerNorm.beta", shape=(16,))),
    ],
    "bert-legacy-names-tiny": [
        ("reshape", edit(reshape=[["embeddings.LayerNorm.gamma", [8]]])),
        ("removed", edit(remove=["embeddings.LayerNorm.beta"])),
    ],
}


def tensors_of(folder):
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            tensors.update({name: file.get_tensor(name) for name in file.keys()})
    return tensors


def apply(tensors, change):
    for name in change.get("remove", ()):
        del tensors[name]
    for old, new in change.get("rename", ()):
        tensors[new] = tensors.pop(old)
    for name, dtype, shape in change.get("add", ()):
        tensors[name] = torch.ones(shape, dtype=getattr(torch, dtype))
    for name, shape in change.get("reshape", ()):
        tensors[name] = torch.ones(shape, dtype=tensors[name].dtype)
    return tensors


def loading_info(class_name, folder, ignore_mismatched_sizes):
    find, shapes = modeling_utils._find_mismatched_keys, {}

    def find_and_keep(*args):
        names, pairs = find(*args)
        shapes.update(zip(names, pairs))
        return names, pairs

    with mock.patch.object(modeling_utils, "_find_mismatched_keys", find_and_keep):
        try:
            _, info = getattr(transformers, class_name).from_pretrained(
                folder, dtype="auto", output_loading_info=True, ignore_mismatched_sizes=ignore_mismatched_sizes
            )
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}"}
    lists = {key: sorted(info[key]) for key in ("missing_keys", "unexpected_keys", "mismatched_keys")}
    # from_pretrained returns their names alone.
    return {**lists, "mismatched_keys": [[name, *map(list, shapes[name])] for name in lists["mismatched_keys"]]}


def cases():
    for source in sorted(path for path in CHECKPOINTS.iterdir() if path.is_dir()):
        model_type = json.loads((source / "config.json").read_text())["model_type"]
        for what, change in [("as saved", {})] + EDITS.get(source.name, []):
            with tempfile.TemporaryDirectory() as scratch:
                folder = source
                if change:
                    folder = Path(scratch)
                    shutil.copy(source / "config.json", folder)
                    save_file(apply(tensors_of(source), change), folder / "model.safetensors", {"format": "pt"})
                for class_name in CLASSES[model_type]:
                    for ignore in (False, True) if "reshape" in change or "shape" in what else (False,):
                        yield {"case": f"{source.name}/{class_name}/{what}/{'ignore' if ignore else 'strict'}",
                               "checkpoint": source.name, "class": class_name, "edit": change,
                               "ignore_mismatched_sizes": ignore, **loading_info(class_name, folder, ignore)}


def main():
    write_lines(FIXTURES / "loading" / "keys.jsonl", cases())
    write_versions(FIXTURES / "loading")


if __name__ == "__main__":
    main()
