"""Device maps that `from_pretrained` and `infer_auto_device_map` plan for real classes, and users' maps checked.

Makes test/fixtures/device_maps/v4/cases.jsonl.xz with transformers 4 and v5/cases.jsonl.xz with transformers 5. A line
is one model: `config`, `class`, `dtype` and its `cases`. A case with "api":"infer" is a direct call of the planner with
transformers' special dtypes; all others are `from_pretrained`'s own planning. `no_split` null stands for the model's
own classes. Beside `expected` a case may hold `balanced` (the budgets after balancing), `minimum` (bytes that each
device left empty would have needed), `buffer_warning_bytes` (the buffers accelerate warns of), and `expected_any` (every
answer, where Python's set order changes it). `user_maps` are maps that a user might write: [map, tensors that it
forgets]. What stands in for the GPUs is told in planning.py.

The models are those of CONFIGS below, in every dtype, and every case of architectures/ that is not too large.
Run: python test/oracle/make_device_maps.py
"""

import importlib
import random

from accelerate.utils.modeling import compute_module_sizes, get_max_layer_size

from common import DTYPES, FIXTURES, MAJOR, build, config_from, write_xz_lines
from make_checkpoints import BERT, GPT2, LLAMA, T0PP, T5, T5_GATED
from make_modules import CASE_FILES, no_split_modules
from planning import missing_from_map, plan_from_pretrained, plan_infer, special_dtypes

KIB, MIB, GIB = 2**10, 2**20, 2**30

LLAMA_7B = dict(vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32,
                num_attention_heads=32, num_key_value_heads=32, tie_word_embeddings=False)
LLAMA_1B = dict(vocab_size=128256, hidden_size=2048, intermediate_size=8192, num_hidden_layers=16,
                num_attention_heads=32, num_key_value_heads=8, tie_word_embeddings=True)
T5_3B = dict(vocab_size=32128, d_model=1024, d_kv=128, d_ff=16384, num_heads=32, num_layers=24,
             num_decoder_layers=24, tie_word_embeddings=True)
LLAMA_SMALL = dict(vocab_size=4000, hidden_size=256, intermediate_size=688, num_hidden_layers=8,
                   num_attention_heads=8, num_key_value_heads=4, tie_word_embeddings=False)
T5_SMALL = dict(vocab_size=4016, d_model=128, d_kv=16, d_ff=512, num_heads=8, num_layers=6, num_decoder_layers=6,
                tie_word_embeddings=True)
GPT2_SMALL = dict(vocab_size=6283, n_positions=250, n_embd=96, n_layer=12, n_head=6, tie_word_embeddings=True)
BERT_SMALL = dict(vocab_size=3816, hidden_size=96, num_hidden_layers=12, num_attention_heads=6,
                  intermediate_size=384, max_position_embeddings=128)

CONFIGS = {
    "t5-tiny": ("T5ForConditionalGeneration", T5),
    "t5-v1_1-tiny": ("T5ForConditionalGeneration", dict(T5_GATED, d_ff=24, d_kv=5, num_layers=3,
                                                        num_decoder_layers=3)),
    "t5-small-ratio": ("T5ForConditionalGeneration", T5_SMALL),
    "t5-v1_1-ratio": ("T5ForConditionalGeneration", dict(T5_SMALL, feed_forward_proj="gated-gelu",
                                                         tie_word_embeddings=False)),
    "t5-uneven": ("T5ForConditionalGeneration", dict(T5_SMALL, num_layers=3, num_decoder_layers=8)),
    "t5-big-vocab": ("T5ForConditionalGeneration", dict(T5_SMALL, vocab_size=32128, num_layers=3,
                                                        num_decoder_layers=3)),
    "t5-encoder": ("T5EncoderModel", dict(T5_SMALL, num_layers=8, tie_word_embeddings=False)),
    "llama-tiny": ("LlamaForCausalLM", LLAMA),
    "llama-ratio": ("LlamaForCausalLM", LLAMA_SMALL),
    "llama-tied": ("LlamaForCausalLM", dict(LLAMA_SMALL, vocab_size=16000, tie_word_embeddings=True)),
    "llama-24": ("LlamaForCausalLM", dict(LLAMA_SMALL, hidden_size=64, intermediate_size=172, vocab_size=2000,
                                          num_hidden_layers=24)),
    "llama-biases": ("LlamaForCausalLM", dict(LLAMA_SMALL, attention_bias=True, mlp_bias=True, head_dim=24)),
    "llama-base": ("LlamaModel", LLAMA_SMALL),
    "mistral-ratio": ("MistralForCausalLM", dict(LLAMA_SMALL, hidden_size=192, num_hidden_layers=10)),
    "mistral-base": ("MistralModel", dict(LLAMA_SMALL, num_hidden_layers=6)),
    "qwen2-tied": ("Qwen2ForCausalLM", dict(LLAMA_SMALL, vocab_size=30000, hidden_size=128, intermediate_size=640,
                                            tie_word_embeddings=True)),
    "qwen2-untied": ("Qwen2ForCausalLM", dict(LLAMA_SMALL, num_hidden_layers=6)),
    "qwen2-base": ("Qwen2Model", dict(LLAMA_SMALL, num_hidden_layers=6)),
    "gpt2-tiny": ("GPT2LMHeadModel", GPT2),
    "gpt2-ratio": ("GPT2LMHeadModel", GPT2_SMALL),
    "gpt2-untied": ("GPT2LMHeadModel", dict(GPT2_SMALL, n_layer=6, tie_word_embeddings=False)),
    "gpt2-cross": ("GPT2LMHeadModel", dict(GPT2_SMALL, n_layer=6, add_cross_attention=True, n_inner=200)),
    "gpt2-odd-base": ("GPT2Model", dict(GPT2_SMALL, n_layer=8, n_positions=99)),
    "bert-ratio": ("BertModel", BERT_SMALL),
    "bert-mlm": ("BertForMaskedLM", dict(BERT_SMALL, num_hidden_layers=8)),
    "bert-mlm-tiny": ("BertForMaskedLM", BERT),
    "bert-mlm-untied": ("BertForMaskedLM", dict(BERT_SMALL, num_hidden_layers=6, tie_word_embeddings=False)),
    "bert-cls": ("BertForSequenceClassification", dict(BERT_SMALL, num_hidden_layers=6)),
    "bert-decoder": ("BertModel", dict(BERT_SMALL, num_hidden_layers=6, is_decoder=True, add_cross_attention=True)),
    "llama-2-7b": ("LlamaForCausalLM", LLAMA_7B),
    "llama-1b-tied": ("LlamaForCausalLM", LLAMA_1B),
    "t5-3b": ("T5ForConditionalGeneration", T5_3B),
    "t0pp": ("T5ForConditionalGeneration", T0PP),
}
REAL_SIZE = ("llama-2-7b", "llama-1b-tied", "t5-3b", "t0pp")
CASES_PER_CONFIG = 18
CASES_PER_ARCHITECTURE_CASE = 8
MAX_MODULES = 1200  # Python's planner takes seconds beyond

MODES = ("auto", "balanced", "balanced_low_0", "sequential")


def memory(**budgets):
    return [[key.lstrip("_"), value] for key, value in budgets.items()]


# (config, dtype, device_map, max_memory): the worked vectors of the reference text, and the documentation's T0pp
WORKED = [
    ("llama-2-7b", "float16", mode, budgets)
    for budgets in (
        memory(_0="10GiB", _1="10GiB", cpu="64GiB"),
        memory(_0="6GiB", cpu="64GiB"),
        memory(_0="24GiB", _1="24GiB", _2="24GiB"),
        memory(_0="4GiB", _1="4GiB", cpu="2GiB"),
        memory(_0="20GB", _1="20Gb", cpu="64GB"),
    )
    for mode in ("auto", "sequential", "balanced_low_0")
] + [
    ("llama-1b-tied", dtype, mode, memory(_0="2GiB", _1="2GiB", cpu="16GiB"))
    for dtype in DTYPES
    for mode in MODES
] + [
    ("t5-3b", dtype, mode, budgets)
    for budgets in (memory(_0="3GiB", cpu="64GiB"), memory(_0="4GiB", _1="4GiB", cpu="64GiB"))
    for dtype in DTYPES
    for mode in ("auto", "balanced_low_0", "sequential")
] + [
    ("t0pp", dtype, mode, memory(_0="20GiB", _1="21GiB", cpu="60GiB"))
    for dtype in DTYPES
    for mode in MODES
]

def random_size(rng, size):
    """A budget near `size` bytes, as an integer or in one of the units people write."""
    size = max(int(size), 0)
    style = rng.random()
    if style < 0.6:
        return size
    unit, scale = rng.choice([("KiB", KIB), ("MiB", MIB), ("KB", 1000), ("MB", 10**6)])
    return f"{round(size / scale, 3 if scale > 1000 else 1)}{unit}"


def random_memory(rng, total, largest):
    """Budgets around a fair share of the model. A planner keeps the largest layer's room free on the first GPU and the
    CPU, so most budgets get some of it on top: without, nearly every map would be one device.
    """
    gpus = rng.choice([1, 1, 2, 2, 2, 3, 3, 4, 5, 6, 8])
    ordinals = list(range(gpus))
    if rng.random() < 0.04:
        ordinals = sorted(rng.sample(range(9), gpus))  # gaps
    uniform = rng.random() < 0.4
    fraction = rng.uniform(0.1, 1.3)
    spare = rng.choice([0, 0.5, 1, 1, 1.3]) * largest
    budgets = []
    for ordinal in ordinals:
        if not uniform:
            fraction = rng.uniform(0.05, 1.5)
        size = total / gpus * fraction + spare
        draw = rng.random()
        if draw < 0.02:
            size = 0
        elif draw < 0.04:
            size = total * 20
        elif draw < 0.08:
            size = largest * rng.uniform(0, 1.1)
        budgets.append([str(ordinal), random_size(rng, size)])
    if rng.random() < 0.04:
        budgets = []
    draw = rng.random()
    if draw < 0.4:
        budgets.append(["cpu", random_size(rng, total * 4)])
    elif draw < 0.75:
        budgets.append(["cpu", random_size(rng, total * rng.uniform(0.02, 0.6) + spare)])
    elif draw < 0.78:
        budgets.append(["cpu", 0])
    if rng.random() < 0.03:
        budgets.append(["disk", random_size(rng, total)])
    if rng.random() < 0.01:
        budgets.append([rng.choice(["gpu", "cuda:0", "Cpu"]), random_size(rng, total)])
    if rng.random() < 0.01:
        budgets.append([rng.choice(["0", "cpu"]), rng.choice(["12XB", "-1GiB", "1e400MB", "5"])])
        budgets = [list(pair) for pair in dict(budgets).items()]
    if rng.random() < 0.15:
        rng.shuffle(budgets)
    return budgets


def random_no_split(rng, model):
    draw = rng.random()
    if draw < 0.76:
        return None
    if draw < 0.84:
        return []
    if draw < 0.86:
        return ["NoSuchClass"]
    classes = sorted({type(module).__name__ for module in model.modules()})
    return rng.sample(classes, min(len(classes), rng.choice([1, 1, 2, 3])))


def random_user_map(rng, model):
    """A map over some modules and now and then a parameter: usually whole, with or without the part for the rest."""
    paths = dict(model.named_modules(remove_duplicate=False))
    names = [name for name, _ in model.named_children()]
    for _ in range(rng.choice([0, 1, 1, 2, 3])):
        modules = [name for name in names if name in paths]
        if not modules:
            break
        name = rng.choice(modules)
        parts = [f"{name}.{child}" for child, _ in paths[name].named_children()]
        parts += [f"{name}.{own}" for own, _ in paths[name].named_parameters(recurse=False)]
        if parts:
            names = [n for n in names if n != name] + parts
    names += [own for own, _ in model.named_parameters(recurse=False)]
    forgotten = rng.choice([0, 0, 0, 1, 1, 2, 5])
    names = [n for n in names if n not in rng.sample(names, min(forgotten, len(names)))]
    if rng.random() < 0.05:
        names.append(rng.choice(["", "no.such.module"]))
    devices = [0, 0, 1, 1, "cpu", "disk"]
    device_map = {name: rng.choice(devices) for name in names}
    return [device_map, missing_from_map(model, device_map)]


def random_cases(rng, model, dtype, count):
    special = special_dtypes(model, DTYPES[dtype]) if MAJOR == 4 else None
    sizes = compute_module_sizes(model, dtype=DTYPES[dtype], special_dtypes=special)
    own_blocks = no_split_modules(model)
    largest, _ = get_max_layer_size(list(model.named_children()), sizes, own_blocks)
    for _ in range(count):
        budgets = random_memory(rng, sizes[""], largest)
        no_split = random_no_split(rng, model)
        if rng.random() < 0.2:
            options = {"offload_buffers": rng.random() < 0.3}
            if MAJOR == 4:
                options["fallback_allocation"] = rng.random() < 0.6
            classes = own_blocks if no_split is None else no_split
            answer = plan_infer(model, DTYPES[dtype], budgets, classes, special, **options)
            yield {"api": "infer", "max_memory": budgets, "no_split": no_split, **options, **answer}
        else:
            mode = rng.choices(MODES, [6, 1, 3, 4])[0]
            answer = plan_from_pretrained(model, DTYPES[dtype], mode, budgets, no_split)
            yield {"device_map": mode, "max_memory": budgets, "no_split": no_split, **answer}


def row_of(name, class_name, values, dtype, count, worked=()):
    config = config_from(class_name, values)
    model = build(class_name, config, DTYPES[dtype])
    if count and len(list(model.modules())) > MAX_MODULES:
        return None
    # A string seeds the same stream in every run and on every platform, and adding a config moves no other's cases.
    rng = random.Random(f"{name}/{dtype}")
    cases = list(random_cases(rng, model, dtype, count))
    for mode, budgets in worked:
        answer = plan_from_pretrained(model, DTYPES[dtype], mode, budgets)
        cases.append({"device_map": mode, "max_memory": budgets, "no_split": None, **answer})
    shown = {"model_type": config.model_type, "architectures": [class_name], **values}
    return {"name": name, "class": class_name, "dtype": dtype, "config": shown, "cases": cases,
            "user_maps": [random_user_map(rng, model) for _ in range(min(count, 3))]}


def rows():
    for name in REAL_SIZE:
        for dtype in DTYPES:
            worked = [(mode, budgets) for config, d, mode, budgets in WORKED if (config, d) == (name, dtype)]
            if worked:
                yield row_of(name, *CONFIGS[name], dtype, 0, worked)
    for name, (class_name, values) in CONFIGS.items():
        for dtype in DTYPES if name not in REAL_SIZE else ():
            yield row_of(name, class_name, values, dtype, CASES_PER_CONFIG)
    for family in sorted(path.stem for path in CASE_FILES.glob("*.py")):
        for case, class_name, values, dtype, *only in importlib.import_module(f"architectures.{family}").CASES:
            if not only or only[0] == MAJOR:
                yield row_of(f"{family}:{case}:{class_name}", class_name, values, dtype, CASES_PER_ARCHITECTURE_CASE)


def main():
    made = [row for row in rows() if row is not None]
    write_xz_lines(FIXTURES / "device_maps" / f"v{MAJOR}" / "cases.jsonl.xz", made)
    print(f"{sum(len(row['cases']) for row in made)} cases of {len(made)} models")


if __name__ == "__main__":
    main()
