"""Module trees: names, shapes, dtypes, ties and saved keys of each supported class under several configs.

Makes test/fixtures/modules/v4/<family>.jsonl.xz with transformers 4 (requirements.txt) and modules/v5/… with
transformers 5 (requirements-v5.txt): each environment makes its own dialect. The cases stand in
architectures/<family>.py. `config` is what config.json would hold: the keys given there for a case marked minimal (the
class defaults fill the rest), everything `save_pretrained` would write for the others.

`tree` is text, a module a line ("M name class"), its own parameters ("P name shape dtype") and buffers ("B name shape
dtype persistent|transient") below it, in registration order. A parameter that is kept in float32 shows that.

Run: python test/oracle/make_modules.py [family …]
"""

import importlib
import re
import sys
import tempfile
from pathlib import Path

import transformers
from accelerate.utils import find_tied_parameters
from safetensors import safe_open

from common import DTYPES, FIXTURES, MAJOR, build, config_from, dtype_name, keep_in_fp32, planned_total, write_xz_lines

CASE_FILES = Path(__file__).resolve().parent / "architectures"


def saved_keys(model):
    """The keys `save_pretrained` keeps of a model on the meta device: its rule for names that share a tensor."""
    from transformers.modeling_utils import _get_tied_weight_keys

    names_of = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names_of.setdefault(id(parameter), []).append(name)
    dropped = set(model._keys_to_ignore_on_save or [])
    patterns = _get_tied_weight_keys(model) or []
    for names in names_of.values():
        found = 0
        for name in sorted(names):
            if any(re.search(pattern, name) for pattern in patterns):
                found += 1
                if found < len(names):
                    dropped.add(name)
    return sorted(set(model.state_dict()) - dropped)


def as_written(model, keys):
    """The names in the file: for models of images and text, transformers 4 writes those of its older classes."""
    from transformers.modeling_utils import VLMS

    mapping = {}
    if any(vlm in c.__name__.lower() for c in type(model).__mro__ for vlm in VLMS):
        mapping = {new: old.lstrip("^") for old, new in model._checkpoint_conversion_mapping.items()}
    written = []
    for key in keys:
        for new, old in mapping.items():
            key, replaced = re.subn(new, re.sub(r"\(.*\)", "", old), key)
            if replaced:
                break
        written.append(key)
    return sorted(written)


def really_saved_keys(class_name, config):
    with tempfile.TemporaryDirectory() as folder:
        getattr(transformers, class_name)(config).save_pretrained(folder)
        with safe_open(f"{folder}/model.safetensors", framework="pt") as file:
            return sorted(file.keys())


def tied_groups(model):
    """Names of one parameter: objects that are one in transformers 4, the declared mapping in transformers 5."""
    if MAJOR == 4:
        return sorted(find_tied_parameters(model))
    groups = {}
    for target, source in model.all_tied_weights_keys.items():
        groups.setdefault(source, [source]).append(target)
    return sorted(sorted(group) for group in groups.values())


def no_split_modules(model):
    """Of the class and of the models inside it. One without the attribute has an empty list: `post_init` makes it."""
    return sorted(model._no_split_modules if MAJOR == 5 else model._get_no_split_modules("auto"))


def tree_text(model, fp32):
    kept = set(fp32)
    lines = []
    for path, module in model.named_modules(remove_duplicate=False):
        lines.append(f"M {path} {type(module).__name__}")
        prefix = path + "." if path else ""
        for name, p in module._parameters.items():
            if p is not None:
                dtype = "float32" if prefix + name in kept else dtype_name(p.dtype)
                lines.append(f"P {prefix}{name} {'x'.join(map(str, p.shape))} {dtype}")
        for name, b in module._buffers.items():
            if b is not None:
                kind = "transient" if name in module._non_persistent_buffers_set else "persistent"
                lines.append(f"B {prefix}{name} {'x'.join(map(str, b.shape))} {dtype_name(b.dtype)} {kind}")
    return "\n".join(lines)


def describe(case, class_name, values, dtype):
    config = config_from(class_name, values)
    model = build(class_name, config, DTYPES[dtype])
    fp32 = keep_in_fp32(model, DTYPES[dtype])
    total = planned_total(model, DTYPES[dtype])
    if "minimal" in case:
        shown = {"model_type": config.model_type, "architectures": [class_name], **values}
    else:
        shown = config.to_diff_dict()
        shown.pop("transformers_version", None)
        shown.pop("dtype", None)
    row = {
        "case": case,
        "class": class_name,
        "dtype": dtype,
        "config": shown,
        "tied": tied_groups(model),
        "no_split_modules": no_split_modules(model),
        "base_model_prefix": model.base_model_prefix,
        "keys_to_ignore_on_load_missing": sorted(model._keys_to_ignore_on_load_missing or []),
        "keys_to_ignore_on_load_unexpected": sorted(model._keys_to_ignore_on_load_unexpected or []),
        "total_size": int(total) if total == int(total) else total,
    }
    if MAJOR == 4:
        keys = saved_keys(model)
        # The rule above is ours, so it is held against the real thing wherever the model is small enough to make.
        if sum(p.numel() for p in model.parameters()) < 1e6:
            assert as_written(model, keys) == really_saved_keys(class_name, config), case
        row["not_saved"] = sorted(set(model.state_dict()) - set(keys))
    row["tree"] = tree_text(model, fp32)
    return row


def main(families=None):
    for family in families or sorted(path.stem for path in CASE_FILES.glob("*.py")):
        module = importlib.import_module(f"architectures.{family}")
        rows = []
        for case, class_name, values, dtype, *only in module.CASES:
            if only and only[0] != MAJOR:
                continue
            try:
                rows.append(describe(case, class_name, values, dtype))
            except Exception as error:
                raise RuntimeError(f"{family}: {case} ({class_name})") from error
        if rows:
            write_xz_lines(FIXTURES / "modules" / f"v{MAJOR}" / f"{family}.jsonl.xz", rows)


if __name__ == "__main__":
    main(sys.argv[1:])
