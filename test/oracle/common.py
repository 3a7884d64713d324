"""What the oracle scripts share: where fixtures go, how they are written, and how a model is built.

`build` makes a model as `from_pretrained` does up to the point where it plans the device map: default dtype set,
parameters on the meta device, and, in transformers 4, `tie_weights()` called. Two environments run these scripts,
transformers 4 (requirements.txt) and 5 (requirements-v5.txt); each makes the fixtures of its own dialect.
"""

import copy
import json
import logging
import lzma
import os
import re
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the same fixtures on a machine that has GPUs
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import accelerate
import numpy
import safetensors
import torch
import transformers
from accelerate.utils.modeling import compute_module_sizes
from transformers.utils.generic import ContextManagers

transformers.logging.set_verbosity(logging.CRITICAL)
transformers.logging.disable_progress_bar()

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
MAJOR = int(transformers.__version__.split(".")[0])
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def versions():
    return {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "torch": torch.__version__.split("+")[0],
        "transformers": transformers.__version__,
        "accelerate": accelerate.__version__,
        "safetensors": safetensors.__version__,
        "numpy": numpy.__version__,
    }


def compact(value):
    return json.dumps(value, separators=(",", ":"))


def write_lines(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(compact(v) + "\n" for v in values))


def write_table(path, key, rows, **extra):
    """One row per line, so that a changed case is one changed line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = "".join(f"{compact(k)}:{compact(v)},\n" for k, v in {"versions": versions(), **extra}.items())
    path.write_text("{" + head + f"{compact(key)}:[\n" + ",\n".join(map(compact, rows)) + "\n]}\n")


def write_xz_lines(path, values):
    """One JSON value a line, compressed: trees of real models repeat themselves a hundredfold."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(compact(v) + "\n" for v in [{"versions": versions()}, *values])
    path.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))


def write_versions(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "VERSIONS.json").write_text(compact(versions()) + "\n")


def config_from(class_name, values):
    """The config object of a class from the keys that a config.json would hold."""
    cls = getattr(transformers, class_name)
    return cls.config_class.from_dict({"architectures": [class_name], **copy.deepcopy(values)})


def build(class_name, config, dtype):
    cls = getattr(transformers, class_name)
    config = copy.deepcopy(config)
    config.dtype = dtype
    if MAJOR == 5:
        with ContextManagers(cls.get_init_context(dtype, False, False, False)):
            return cls(config)
    previous = cls._set_default_dtype(dtype)
    try:
        with ContextManagers(cls.get_init_context(False, False)):
            model = cls(config)
        model.tie_weights()
    finally:
        torch.set_default_dtype(previous)
    return model


def keep_in_fp32_regex(model, dtype):
    """The rule inside `from_pretrained`, which has no function of its own there."""
    names = []
    if model._keep_in_fp32_modules is not None and dtype == torch.float16:
        names.extend(model._keep_in_fp32_modules)
    if model._keep_in_fp32_modules_strict is not None and dtype in (torch.float16, torch.bfloat16):
        names.extend(model._keep_in_fp32_modules_strict)
    return re.compile("|".join(rf"((^|\.){name}($|\.))" for name in sorted(names))) if names else None


def planned_total(model, dtype):
    """Bytes of the whole model as the planner counts them."""
    if MAJOR == 5:
        from transformers.integrations.accelerate import compute_module_sizes as sizes_of_v5

        return sizes_of_v5(model)[0][""]
    special = dict.fromkeys(keep_in_fp32(model, dtype), torch.float32)
    return compute_module_sizes(model, dtype=dtype, special_dtypes=special)[""]


def keep_in_fp32(model, dtype):
    regex = keep_in_fp32_regex(model, dtype)
    return [] if regex is None else [name for name, _ in model.named_parameters() if regex.search(name)]


def dtype_name(dtype):
    return str(dtype).removeprefix("torch.")
