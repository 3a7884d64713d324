"""The planners of accelerate and of transformers 5 on hand-made and random module trees, each given in full in its case.

Makes test/fixtures/device_maps/v4/small_models.jsonl.xz, or v5/. A case holds the tree, the call and accelerate's answers:
`expected` (from `infer_auto_device_map`), `expected_balanced_memory` (from `get_balanced_memory`, where `balanced` is
not null: its result is then what is inferred with) and `expected_sizes` (from `compute_module_sizes`). Parameters
with one tie_id are one object, or, for transformers 5, tied to the first of them. transformers 5 knows neither dtype
nor fallback_allocation. Run: python test/oracle/make_small_models.py
"""

import random

import torch
from accelerate.utils.modeling import compute_module_sizes, get_max_layer_size
from torch import nn

from common import FIXTURES, MAJOR, write_xz_lines
from planning import number, plan_balanced_infer, plan_infer, planner

RANDOM_TREES = 105


def tree(class_name, params=(), buffers=(), children=()):
    return {"class": class_name, "params": list(params), "buffers": list(buffers), "children": list(children)}


def param(name, shape, dtype="float32", tie=None):
    return [name, list(shape), dtype, tie]


def buffer(name, shape, dtype="float32", persistent=True):
    return [name, list(shape), dtype, persistent]


def module_of(node, tied):
    module = type(node["class"], (nn.Module,), {})()
    for name, shape, dtype, tie in node["params"]:
        made = tied.get(tie) if tie is not None and MAJOR == 4 else None
        if made is None:
            made = nn.Parameter(torch.empty(shape, dtype=getattr(torch, dtype), device="meta"), requires_grad=False)
            if tie is not None:
                tied[tie] = made
        module.register_parameter(name, made)
    for name, shape, dtype, persistent in node["buffers"]:
        made = torch.empty(shape, dtype=getattr(torch, dtype), device="meta")
        module.register_buffer(name, made, persistent=persistent)
    for name, child in node["children"]:
        module.add_module(name, module_of(child, tied))
    return module


def model_of(node):
    model = module_of(node, {})
    if MAJOR == 5:
        sources = {}
        model.all_tied_weights_keys = {}
        for name, tie in named_ties(node):
            if sources.setdefault(tie, name) != name:
                model.all_tied_weights_keys[name] = sources[tie]
    return model


def named_ties(node, prefix=""):
    for name, _, _, tie in node["params"]:
        if tie is not None:
            yield prefix + name, tie
    for name, child in node["children"]:
        yield from named_ties(child, f"{prefix}{name}.")


def sizes_of(model, dtype=None):
    if MAJOR == 5:
        return planner.compute_module_sizes(model, only_modules=False)[0]
    return compute_module_sizes(model, dtype=dtype)


def solve(case, node, max_memory, no_split=None, dtype=None, balanced=None, **options):
    options = {"offload_buffers": False, "fallback_allocation": False, **options}
    if MAJOR == 5:
        dtype, options = None, {"offload_buffers": options["offload_buffers"]}
    model = model_of(node)
    torch_dtype = None if dtype is None else getattr(torch, dtype)
    if balanced is None:
        answer = plan_infer(model, torch_dtype, max_memory, no_split, **options)
    else:
        answer = plan_balanced_infer(model, torch_dtype, max_memory, no_split, balanced["low_zero"])
    sizes = {name: number(size) for name, size in sizes_of(model, torch_dtype).items()}
    return {"case": case, "tree": node, "max_memory": max_memory, "no_split": no_split, "dtype": dtype,
            "balanced": balanced, **options, **answer, "expected_sizes": sizes}


def linear(inputs, outputs, bias=True, tie=None, dtype="float32"):
    params = [param("weight", (outputs, inputs), dtype, tie)]
    return tree("Linear", params + ([param("bias", (outputs,), dtype)] if bias else []))


def batch_norm(width):
    return tree("BatchNorm1d", [param("weight", (width,)), param("bias", (width,))],
                [buffer("running_mean", (width,)), buffer("running_var", (width,)),
                 buffer("num_batches_tracked", (), "int64")])


def embedding(rows, width, tie=None):
    return tree("Embedding", [param("weight", (rows, width), "float32", tie)])


def model_for_test(tie=None):
    """The model of accelerate's own tests: 64 + 72 + 100 bytes (64 + 72 + 68 when its two weights are tied)."""
    second = linear(3, 4, tie=tie) if tie else linear(4, 5)
    return tree("ModelForTest", children=[["linear1", linear(3, 4, tie=tie)], ["batchnorm", batch_norm(4)],
                                          ["linear2", second]])


def stacked(class_name, *nodes):
    return tree(class_name, children=[[str(i), node] for i, node in enumerate(nodes)])


def block(width=8):
    return tree("Block", children=[["attn", tree("Attention", children=[["qkv", linear(width, 3 * width)],
                                                                        ["out", linear(width, width)]])],
                                   ["norm", batch_norm(width)], ["drop", tree("Dropout")]])


def language_model(tie=None, layers=2):
    return tree("LanguageModel", children=[
        ["model", tree("Body", children=[["embed", embedding(40, 8, tie)],
                                         ["layers", stacked("ModuleList", *[block() for _ in range(layers)])],
                                         ["norm", batch_norm(8)]])],
        ["head", tree("Linear", [param("weight", (40, 8), "float32", tie)])]])


TREES = {
    "plain": model_for_test(),
    "tied": model_for_test(tie="w"),
    "three-stacked": stacked("Sequential", *[model_for_test() for _ in range(3)]),
    "three-stacked-tied-inside": stacked("Sequential", model_for_test("a"), model_for_test("b"), model_for_test()),
    "tied-across-stack": stacked("Sequential", linear(10, 10, tie="w"), linear(10, 10), linear(10, 10, tie="w")),
    "eleven-children": stacked("ModuleList", *[linear(4, 4) for _ in range(11)]),
    "root-parameter": tree("Root", [param("scale", (12,))], [], [["a", linear(4, 4)], ["b", linear(4, 4)]]),
    "root-buffer": tree("Root", [], [buffer("mask", (6, 6), "bool"), buffer("cache", (5,), "float32", False)],
                        [["a", linear(4, 4)], ["b", model_for_test()]]),
    "root-only-parameters": tree("Root", [param("a", (10,)), param("b", (20,)), param("c", (5,))]),
    "single-linear": linear(6, 6),
    "empty": tree("Empty"),
    "modules-without-tensors": stacked("Sequential", tree("ReLU"), linear(4, 4), tree("Dropout"), tree("ReLU")),
    "split-module-with-own-tensors": stacked(
        "Sequential", linear(4, 4),
        tree("Mixed", [param("gate", (9,))], [buffer("scale", (3,)), buffer("index", (4,), "int64", False)],
             [["up", linear(4, 8)], ["down", linear(8, 4)]]), linear(4, 4)),
    "mixed-dtypes": tree("SeveralDtypes", [param("int_param", (8,), "int64"), param("float_param", (8,))],
                         [buffer("flags", (5, 7), "bool"), buffer("bytes", (3,), "uint8")],
                         [["sixteen", linear(4, 4, dtype="float16")], ["sixty_four", linear(4, 4, dtype="float64")],
                          ["brain16", linear(4, 4, dtype="bfloat16")], ["eight", linear(4, 4, dtype="float8_e4m3fn")]]),
    "language-model": language_model(),
    "language-model-tied": language_model("embed"),
    "two-tie-groups": stacked("Sequential", linear(6, 6, tie="a"), linear(5, 5, tie="b"), linear(6, 6, tie="a"),
                              linear(5, 5, tie="b"), linear(7, 7)),
    "two-ties-in-one-module": stacked(
        "Sequential", tree("Pair", [param("x", (6, 6), tie="a"), param("y", (5, 5), tie="b")]), linear(3, 3),
        tree("Pair", [param("x", (6, 6), tie="a"), param("y", (5, 5), tie="b"), param("z", (4, 4))])),
    "tied-to-bare-parameter": tree("Root", [], [], [
        ["a", tree("Part", children=[["inner", linear(4, 4, tie="w")], ["other", linear(4, 4)]])],
        ["b", tree("Owner", [param("weight", (4, 4), tie="w"), param("own", (3,))], [], [["c", linear(4, 4)]])]]),
    "tied-root-parameter": tree("Root", [param("shared", (6, 6), tie="w")], [], [["a", linear(6, 6, tie="w")],
                                                                                 ["b", linear(6, 6)]]),
    "tied-three-ways": tree("Seq2Seq", children=[
        ["shared", embedding(20, 4, "e")],
        ["encoder", tree("Stack", children=[["embed", embedding(20, 4, "e")],
                                            ["block", stacked("ModuleList", linear(8, 8), linear(8, 8))]])],
        ["decoder", tree("Stack", children=[["embed", embedding(20, 4, "e")],
                                            ["block", stacked("ModuleList", linear(8, 8), linear(8, 8))]])],
        ["head", linear(4, 20, bias=False, tie="e")]]),
    # a top-level name that also ends a deeper path: accelerate looks for "h." anywhere in the tied name
    "name-inside-another": tree("Root", children=[
        ["h", linear(5, 5)],
        ["t", tree("Body", children=[["h", linear(4, 4, tie="w")], ["g", linear(4, 4)]])],
        ["head", linear(4, 4, tie="w")]]),
}

BUDGETS = [(3.0,), (0.7,), (0.4, 3.0), (0.35, 0.35), (0.6, 0.6), (0.3, 0.4, 0.5), (0.0, 0.8), (0.25, 0.0, 0.9), ()]
CPUS = [None, 3.0, 0.4]


def hand_made():
    for name, node in TREES.items():
        total = sizes_of(model_of(node))[""]
        rng = random.Random(name)
        for number_, fractions in enumerate(BUDGETS):
            cpu = CPUS[(number_ + len(name)) % 3]
            budgets = [[str(i), int(total * f)] for i, f in enumerate(fractions)]
            if cpu is not None:
                budgets.append(["cpu", int(total * cpu)])
            how = rng.choice([{}, {}, {"balanced": {"low_zero": False}}, {"balanced": {"low_zero": True}},
                              {"fallback_allocation": True}])
            no_split = rng.choice([None, None, ["Block"], ["ModelForTest", "Stack"], ["Linear", "Mixed"], []])
            dtype = rng.choice([None, None, "float16", "bfloat16", "float32"])
            yield solve(f"{name}/{number_}", node, budgets, no_split, dtype, **how)

    # the answers that accelerate's own tests state
    for name, budgets, no_split in [
        ("plain", [200, 200], None), ("plain", [200, 172, 200], None), ("tied", [200, 200], None),
        ("three-stacked", [500, 500], None), ("three-stacked", [500, 500], ["ModelForTest"]),
        ("tied-across-stack", [500, 500, 1000], None),
    ]:
        pairs = [[str(i), size] for i, size in enumerate(budgets)]
        yield solve(f"{name}/accelerate/{budgets}/{no_split}", TREES[name], pairs, no_split)
        for low_zero in (False, True):
            yield solve(f"{name}/accelerate/{budgets}/{no_split}/balanced/{low_zero}", TREES[name], pairs, no_split,
                        balanced={"low_zero": low_zero})
    for size in (200, 300, 400, 500):
        for fallback in (False, True):
            yield solve(f"three-stacked/fallback/{size}/{fallback}", TREES["three-stacked"],
                        [["0", size], ["1", size], ["cpu", 2 * size]], fallback_allocation=fallback)


CLASSES = ["Block", "Body", "Part", "Gate", "Linear"]
NAMES = ["a", "b", "h", "w", "layer", "norm", "head", "gate"]


def random_tree(rng, ties, tie_chance, depth=0):
    class_name = "Root" if depth == 0 else rng.choice(CLASSES)
    names = rng.sample(NAMES, len(NAMES))
    params, buffers, children = [], [], []
    wants_children = depth == 0 or (depth < 3 and rng.random() < 0.4)
    for _ in range(rng.choice([0, 0, 0, 0, 1] if wants_children else [0, 1, 1, 2, 2])):
        if rng.random() < tie_chance:
            tie = rng.randrange(rng.choice([1, 1, 2, 3]))
            shape, dtype = ties.setdefault(tie, ([rng.randint(2, 9), rng.randint(2, 9)], rng.choice(
                ["float32", "float32", "float32", "float16"])))
            params.append(param(names.pop(), shape, dtype, f"t{tie}"))
        else:
            shape = [rng.randint(1, 12) for _ in range(rng.choice([1, 2, 2]))]
            dtype = rng.choice(["float32"] * 7 + ["float16", "bfloat16", "int8"])
            params.append(param(names.pop(), shape, dtype))
    for _ in range(rng.choice([0, 0, 0, 0, 1, 2])):
        dtype = rng.choice(["float32", "float32", "int64", "bool", "bool", "uint8"])
        buffers.append(buffer(names.pop(), [rng.randint(1, 7) for _ in range(rng.randint(0, 2))], dtype,
                              rng.random() < 0.5))
    if wants_children:
        count = rng.randint(2, 4) if depth == 0 else rng.randint(1, 2)
        if rng.random() < 0.15:
            one = random_tree(rng, ties, tie_chance, depth + 1)
            if not any(p[3] for p in one["params"]):
                return tree("ModuleList" if depth else "Root", params, buffers,
                            [[str(i), one] for i in range(rng.randint(2, 4))])
        for _ in range(count):
            children.append([names.pop() if names else "tail", random_tree(rng, ties, tie_chance, depth + 1)])
    return tree(class_name, params, buffers, children)


def random_cases():
    for index in range(RANDOM_TREES):
        rng = random.Random(f"tree {index}")
        node = random_tree(rng, {}, rng.choice([0, 0, 0.15, 0.3]))
        model = model_of(node)
        sizes = sizes_of(model)
        total = sizes[""]
        largest, _ = get_max_layer_size(list(model.named_children()), sizes, [])
        for draw in range(2):
            gpus = rng.choice([0, 1, 2, 2, 3, 4])
            ordinals = sorted(rng.sample(range(6), gpus)) if rng.random() < 0.08 else range(gpus)
            budgets = [[str(i), rng.choice([0, int(total * 2)]) if rng.random() < 0.1
                        else int(total * rng.uniform(0.1, 1.2) / gpus + rng.choice([0, 1, 1]) * largest)]
                       for i in ordinals]
            if rng.random() < 0.6:
                budgets.append(["cpu", int(total * rng.choice([0.3, 0.6, 3]) + largest)])
            no_split = rng.choice([None, [], rng.sample(CLASSES, 1), rng.sample(CLASSES, 2)])
            dtype = rng.choice([None, None, "float16", "bfloat16", "float32"])
            how = rng.choice([{}, {}, {}, {"balanced": {"low_zero": False}}, {"balanced": {"low_zero": True}},
                              {"fallback_allocation": True}, {"offload_buffers": True}])
            yield solve(f"random/{index}/{draw}", node, budgets, no_split, dtype, **how)


def main():
    write_xz_lines(FIXTURES / "device_maps" / f"v{MAJOR}" / "small_models.jsonl.xz", [*hand_made(), *random_cases()])


if __name__ == "__main__":
    main()
