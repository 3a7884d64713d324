"""Runs the planners of transformers and accelerate and records what they answer, errors included. For transformers 4
the planner is accelerate's, for transformers 5 its own.

Nothing of the algorithm is replaced. What a CPU-only machine answers differently, and why it does no harm here:
- accelerate's `get_max_memory` warns of ordinals above `torch.cuda.device_count()`, and uses them all the same; the
  warning is silenced. `get_balanced_memory` counts every integer key as an accelerator without asking torch.
- transformers adds the memory that torch reserved but does not use; without CUDA, as in a fresh process, it is 0.
- `find_tied_parameters` returns its groups in the order of a Python set of strings, which changes from run to run.
  Each case runs under every order of the groups; where the answers differ, all are recorded (`expected_any`).
"""

import copy
import functools
import itertools
import logging
import re
import warnings
from unittest import mock

import accelerate.utils.modeling as accelerate_modeling
import torch
from accelerate.utils import find_tied_parameters
from accelerate.utils.modeling import clean_device_map
from transformers import modeling_utils

from common import MAJOR, keep_in_fp32, keep_in_fp32_regex

if MAJOR == 5:
    from transformers.integrations import accelerate as planner
else:
    planner = accelerate_modeling

_log = logging.getLogger(planner.__name__)
_log.propagate = False
_log.addHandler(logging.NullHandler())
_log.setLevel(logging.INFO)
logging.getLogger(accelerate_modeling.__name__).propagate = False
logging.getLogger(accelerate_modeling.__name__).addHandler(logging.NullHandler())


class _Minimums(logging.Handler):
    """Catches the one INFO line that tells what devices left empty would have needed."""

    def __init__(self):
        super().__init__(logging.INFO)
        self.found = None

    def emit(self, record):
        found = re.findall(r"^  - (.*): (.*) bytes required$", record.getMessage(), re.MULTILINE)
        self.found = [[device, number(float(size))] for device, size in found] or self.found


def number(value):
    return int(value) if value == int(value) else value


def error_text(error):
    return {"error": f"{type(error).__name__}: {error}"}


def device_key(key):
    return int(key) if re.fullmatch(r"-?\d+", key) else key


def pairs(memory):
    return [[str(device), number(size)] for device, size in memory.items()]


def _in_assignment_order(assigned, cleaned):
    """A cleaned map in the order hfload prints: a collapsed entry stands where its last member was assigned.

    Python's own order of collapsed entries follows a set of strings and changes from run to run.
    """
    place = {}
    for index, name in enumerate(assigned):
        parts = name.split(".")
        for depth in range(len(parts) + 1):
            place[".".join(parts[:depth])] = index
    return dict(sorted(cleaned.items(), key=lambda entry: place[entry[0]]))


class _BufferWarning(logging.Handler):
    """Catches the warning of buffers that fit nowhere, which transformers 5 logs."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.bytes = None

    def emit(self, record):
        if found := _BUFFER_WARNING.match(record.getMessage()):
            self.bytes = number(float(found[1]))


_BUFFER_WARNING = re.compile(r"Current model requires (\S+) bytes of buffer")


def _record(call):
    """One run: {"expected": map} or {"expected": {"error": text}}, with the buffer warning and minimums if any."""
    assigned = []

    def spy(device_map, *args, **kwargs):
        if not assigned:
            assigned.extend(device_map)
        return clean_device_map(device_map, *args, **kwargs)

    minimums, buffers = _Minimums(), _BufferWarning()
    _log.addHandler(minimums)
    _log.addHandler(buffers)
    answer = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with mock.patch.object(planner, "clean_device_map", spy):
                cleaned = call()
            answer["expected"] = _in_assignment_order(assigned, cleaned)
        except Exception as error:
            answer["expected"] = error_text(error)
        finally:
            _log.removeHandler(minimums)
            _log.removeHandler(buffers)
    for warning in caught:
        if found := _BUFFER_WARNING.match(str(warning.message)):
            buffers.bytes = number(float(found[1]))
    if buffers.bytes is not None:
        answer["buffer_warning_bytes"] = buffers.bytes
    if minimums.found and "error" not in answer["expected"]:
        answer["minimum"] = minimums.found
    return answer


def _tied_groups(model):
    if MAJOR == 4:
        return sorted(find_tied_parameters(model))
    ties = model.all_tied_weights_keys
    return sorted(sorted([t for t, s in ties.items() if s == source] + [source]) for source in set(ties.values()))


def _with_tie_order(order):
    """Makes the planner meet the groups of tied parameters in that order."""
    if MAJOR == 4:
        return mock.patch.object(planner, "find_tied_parameters", lambda _: copy.deepcopy(list(order)))
    infer = functools.partial(planner.infer_auto_device_map, tied_parameters=copy.deepcopy(list(order)) or [[]])
    return mock.patch.object(planner, "infer_auto_device_map", infer)


def _under_every_tie_order(model, call):
    answers = []
    for order in itertools.permutations(_tied_groups(model)):
        with _with_tie_order(order):
            answer = _record(call)
        if answer not in answers:
            answers.append(answer)
    if len(answers) > 1:
        return {**answers[0], "expected_any": [a["expected"] for a in answers]}
    return answers[0]


def plan_from_pretrained(model, dtype, device_map, max_memory, no_split=None):
    """What `from_pretrained(..., device_map=...)` plans. `max_memory`: pairs, as in the fixtures."""
    balanced = {}
    caller = planner if MAJOR == 5 else modeling_utils
    balance = caller.get_balanced_memory

    def spy(*args, **kwargs):
        memory = balance(*args, **kwargs)
        balanced["balanced"] = pairs(memory)
        return memory

    def call():
        user = {device_key(device): size for device, size in max_memory}
        if MAJOR == 5:
            return planner._get_device_map(model, device_map, user, None)
        return modeling_utils._get_device_map(model, device_map, user, None, dtype, keep_in_fp32_regex(model, dtype))

    with mock.patch.object(caller, "get_balanced_memory", spy):
        if no_split is None:
            answer = _under_every_tie_order(model, call)
        else:
            classes = (
                mock.patch.object(model, "_no_split_modules", set(no_split)) if MAJOR == 5
                else mock.patch.object(model, "_get_no_split_modules", lambda _: list(no_split)))
            with classes:
                answer = _under_every_tie_order(model, call)
    return {**balanced, **answer}


def plan_infer(model, dtype, max_memory, no_split, special_dtypes=None, **options):
    """What a direct `infer_auto_device_map` call plans: accelerate's, or that of transformers 5."""

    def call():
        user = {device_key(device): size for device, size in max_memory}
        given = dict(max_memory=user, no_split_module_classes=no_split, **options)
        if MAJOR == 4:
            given.update(dtype=dtype, special_dtypes=special_dtypes)
        return planner.infer_auto_device_map(model, **given)

    return _under_every_tie_order(model, call)


def missing_from_map(model, device_map):
    """The tensors that a user's map forgets, as accelerate's `check_device_map` names them; none when it is whole."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            accelerate_modeling.check_device_map(model, device_map)
    except ValueError as error:
        return sorted(str(error).split("parameters: ", 1)[1].split(", "))
    return []


def plan_balanced_infer(model, dtype, max_memory, no_split, low_zero):
    """The documented pair of calls: balance, then infer."""

    def balance():
        user = {device_key(device): size for device, size in max_memory}
        given = {} if MAJOR == 5 else {"dtype": dtype}
        return planner.get_balanced_memory(
            model, max_memory=user, no_split_module_classes=no_split, low_zero=low_zero, **given
        )

    try:
        memory = balance()
    except Exception as error:
        return {"expected": error_text(error)}
    answer = plan_infer(model, dtype, [(str(device), size) for device, size in memory.items()], no_split)
    return {"expected_balanced_memory": pairs(memory), **answer}


def special_dtypes(model, dtype):
    return dict.fromkeys(keep_in_fp32(model, dtype), torch.float32)
