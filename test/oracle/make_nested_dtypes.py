"""Models of several parts whose configs name dtypes of their own: what `dtype="auto"` makes of them, and the maps planned.

Makes test/fixtures/nested_dtypes/v4.jsonl.xz with transformers 4 and v5.jsonl.xz with transformers 5. A line is a model:
`class`, `config` (what config.json holds), `state_dtype` (of the checkpoint's first tensor), `argument` ("auto" or a
dtype), the resolved `dtype` of the whole, `parameters` (each parameter at which the dtype changes, in the order of
`named_parameters`, and that dtype; one that is kept in float32 shows that), `bytes` (of all parameters) and `maps` (device_map, max_memory, expected).

Run: python test/oracle/make_nested_dtypes.py
"""

import copy
import importlib

import torch
import transformers
from transformers import modeling_utils
from transformers.utils.generic import ContextManagers

from common import DTYPES, FIXTURES, MAJOR, config_from, dtype_name, keep_in_fp32, write_xz_lines
from planning import plan_from_pretrained

MODELS = [("llava", "tiny"), ("llava", "siglip-qwen2"), ("qwen3_vl", "tiny"), ("qwen2_vl", "tiny"), ("clip", "tiny"),
          ("siglip", "tiny"), ("gemma3", "tiny"), ("blip_2", "tiny")]
# dtype of the whole, of text_config, of vision_config, of the weights, and the argument
DTYPE_SETS = [("float32", "bfloat16", "float32", "bfloat16", "auto"),
              ("bfloat16", "float32", None, "bfloat16", "auto"),
              (None, "bfloat16", "float16", "float32", "auto"),
              ("float16", None, "float32", "float16", "auto"),
              ("float32", "bfloat16", "float16", "bfloat16", "float16")]


def case_of(family, name):
    cases = importlib.import_module(f"architectures.{family}").CASES
    found = [case for case in cases if case[0] == name] or [case for case in cases if "minimal" not in case[0]]
    return found[0][1], found[0][2]


def with_dtypes(values, whole, text, vision):
    values = copy.deepcopy(values)
    for place, dtype in ((values, whole), (values["text_config"], text), (values["vision_config"], vision)):
        if dtype is not None:
            place["dtype"] = dtype
    return values


def made(class_name, values, argument, state_dtype):
    """The model on the meta device, and its dtype, as `from_pretrained` makes it."""
    cls = getattr(transformers, class_name)
    config = config_from(class_name, values)
    state = {"first": torch.zeros(1, dtype=DTYPES[state_dtype])}
    if MAJOR == 5:
        config, dtype = modeling_utils._get_dtype(argument, None, config, None, state, True)
        with ContextManagers(cls.get_init_context(dtype, False, False, False)):
            return cls(config), dtype
    config, dtype, previous = modeling_utils._get_dtype(cls, argument, None, config, None, state, True)
    try:
        with ContextManagers(cls.get_init_context(False, False)):
            model = cls(config)
        model.tie_weights()
    finally:
        torch.set_default_dtype(previous)
    return model, dtype


def row(family, name, dtypes):
    class_name, values = case_of(family, name)
    values = {"model_type": config_from(class_name, values).model_type, "architectures": [class_name],
              **with_dtypes(values, *dtypes[:3])}
    model, dtype = made(class_name, values, dtypes[4], dtypes[3])
    parameters, last, total = [], None, 0
    kept = set(keep_in_fp32(model, dtype))
    # transformers 5 ties only once the weights are loaded.
    tied = model.all_tied_weights_keys if MAJOR == 5 else {}
    for key, parameter in model.named_parameters():
        if key in tied:
            continue
        loaded = torch.float32 if key in kept else parameter.dtype
        if loaded != last:
            parameters.append([key, dtype_name(loaded)])
            last = loaded
        total += parameter.numel() * loaded.itemsize
    maps = []
    for strategy, share in (("auto", 0.4), ("sequential", 0.55), ("balanced", 0.7)):
        memory = [["0", int(total * share)], ["1", int(total * share)], ["cpu", 10 * total]]
        maps.append({"device_map": strategy, "max_memory": memory,
                     **plan_from_pretrained(model, dtype, strategy, memory)})
    return {"class": class_name, "config": values, "state_dtype": dtypes[3], "argument": dtypes[4],
            "dtype": dtype_name(dtype), "parameters": parameters, "bytes": total, "maps": maps}


def main():
    rows = [row(family, name, dtypes) for family, name in MODELS for dtypes in DTYPE_SETS]
    write_xz_lines(FIXTURES / "nested_dtypes" / f"v{MAJOR}.jsonl.xz", rows)


if __name__ == "__main__":
    main()
