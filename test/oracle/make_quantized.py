"""Writes quantized/headers.jsonl.xz: what quantised checkpoints of tiny models hold.

Each line has `case`, `class`, `dialect` (4), `config` (the config.json as saved), `parameters` (of the model before
quantisation), `tensors` ([name, dtype, shape] of every tensor of the safetensors file) and `total_size`. Weights are
random and are not kept. Needs requirements-quantized.txt; no GPU.

- bitsandbytes and compressed-tensors quantise and save on the CPU themselves.
- fp8 and mxfp4: transformers' own integrations put their modules in the model's place, and save_pretrained writes
  them empty. mxfp4's biases, which that class makes in float32, get the dtype that loading gives them.
- AWQ: transformers' integration with AutoAWQ's modules, saved empty. GPTQ: AutoGPTQ's QuantLinear in place of every
  linear layer of a block, saved empty, with a bias always (as AutoGPTQ's make_quant has it) and, in the cases named
  "own-bias", only where the model has one (as GPTQModel does; that rule is stated here, not asked of GPTQModel).
"""

import json
import os
import sys
import tempfile
import types
from pathlib import Path

from common import DTYPES, FIXTURES, MAJOR, config_from, write_xz_lines

import torch
import transformers
from importlib.metadata import distribution
from transformers import AwqConfig, BitsAndBytesConfig, FineGrainedFP8Config, GPTQConfig, Mxfp4Config
from transformers.pytorch_utils import Conv1D

assert MAJOR == 4


def without_init(package):
    """The packages' __init__ import datasets and CUDA kernels, which their layers do without."""
    module = types.ModuleType(package)
    module.__path__ = [str(distribution({"awq": "autoawq"}.get(package, package)).locate_file(package))]
    sys.modules[package] = module


for name in ("awq", "auto_gptq"):
    without_init(name)

SIZES = {"vocab_size": 80, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
LLAMA = ("LlamaForCausalLM", {"hidden_size": 64, "intermediate_size": 96, **SIZES})
ODD_LLAMA = ("LlamaForCausalLM", {"hidden_size": 40, "intermediate_size": 57, "num_attention_heads": 4, "head_dim": 6,
                                  "num_key_value_heads": 1, "vocab_size": 31, "num_hidden_layers": 2})
WIDE_LLAMA = ("LlamaForCausalLM", {"hidden_size": 192, "intermediate_size": 320, **SIZES})
EVEN_LLAMA = ("LlamaForCausalLM", {"hidden_size": 128, "intermediate_size": 256, **SIZES})
QWEN2 = ("Qwen2ForCausalLM", {"hidden_size": 64, "intermediate_size": 160, "tie_word_embeddings": True, **SIZES})
GPT2 = ("GPT2LMHeadModel", {"n_embd": 64, "n_inner": 96, "n_layer": 2, "n_head": 4, "n_positions": 24, "vocab_size": 80})
PHI = ("PhiForCausalLM", {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2,
                          "num_attention_heads": 4, "vocab_size": 80})
MIXTRAL = ("MixtralForCausalLM", {"hidden_size": 64, "intermediate_size": 96, "num_local_experts": 3, **SIZES})
QWEN3_MOE = ("Qwen3MoeForCausalLM", {"hidden_size": 64, "intermediate_size": 96, "moe_intermediate_size": 32,
                                     "num_experts": 4, "num_experts_per_tok": 2, "head_dim": 16, **SIZES})
QWEN3 = ("Qwen3ForCausalLM", {"hidden_size": 160, "intermediate_size": 200, "head_dim": 40,
                              "tie_word_embeddings": True, **SIZES})
DEEPSEEK = ("DeepseekV3ForCausalLM", {
    "hidden_size": 160, "intermediate_size": 200, "moe_intermediate_size": 72, "n_routed_experts": 4,
    "num_experts_per_tok": 2, "n_group": 2, "topk_group": 1, "n_shared_experts": 1, "first_k_dense_replace": 1,
    "kv_lora_rank": 48, "q_lora_rank": 56, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 24,
    **SIZES, "num_key_value_heads": 4})
GPT_OSS = ("GptOssForCausalLM", {"hidden_size": 64, "intermediate_size": 96, "num_local_experts": 3, "head_dim": 16,
                                 "num_experts_per_tok": 2, **SIZES})


os.environ["TQDM_DISABLE"] = "1"


def build(model, dtype):
    name, values = model
    config = config_from(name, values)
    torch.manual_seed(0)
    cls = getattr(transformers, name)
    previous = cls._set_default_dtype(DTYPES[dtype])
    try:
        built = cls(config)
    finally:
        torch.set_default_dtype(previous)
    built.config.dtype = DTYPES[dtype]
    return built


def saved(case, parameters, model, after=None):
    with tempfile.TemporaryDirectory() as directory:
        directory = Path(directory)
        model.save_pretrained(directory, max_shard_size="1TB")
        if after is not None:
            after(directory)
        config = json.loads((directory / "config.json").read_text())
        with open(directory / "model.safetensors", "rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    header.pop("__metadata__", None)
    tensors = sorted(header.items(), key=lambda item: item[1]["data_offsets"])
    print(case, len(tensors), file=sys.stderr)
    return {"case": case, "class": type(model).__name__, "config": config, "parameters": parameters,
            "tensors": [[name, t["dtype"], t["shape"]] for name, t in tensors],
            "total_size": sum(t["data_offsets"][1] - t["data_offsets"][0] for _, t in tensors)}


def linear_layers(model, skip=("lm_head",)):
    return [(name, module) for name, module in model.named_modules()
            if isinstance(module, (torch.nn.Linear, Conv1D)) and name.rsplit(".", 1)[-1] not in skip]


def bitsandbytes(case, model, dtype, **options):
    built = build(model, dtype)
    if "bnb_4bit_compute_dtype" not in options and options.get("load_in_4bit"):
        options["bnb_4bit_compute_dtype"] = DTYPES[dtype]
    with tempfile.TemporaryDirectory() as directory:
        built.save_pretrained(directory)
        quantised = type(built).from_pretrained(directory, quantization_config=BitsAndBytesConfig(**options),
                                                dtype=DTYPES[dtype], device_map="cpu")
    return saved(case, built.num_parameters(), quantised)


def compressed_tensors(case, model, dtype, scheme, ignore=("lm_head",), kv_cache=None, force=None):
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import QuantizationConfig, apply_quantization_config
    from compressed_tensors.quantization.quant_scheme import preset_name_to_scheme

    built = build(model, dtype)
    parameters = built.num_parameters()
    if isinstance(scheme, str):
        scheme = preset_name_to_scheme(scheme, ["Linear"]).model_dump(exclude_none=True)
    groups = {"group_0": {"targets": ["Linear"], **scheme}}
    config = QuantizationConfig(config_groups=groups, ignore=list(ignore), kv_cache_scheme=kv_cache)
    apply_quantization_config(built, config)
    for name, parameter in built.named_parameters():
        if name.endswith("_scale"):
            parameter.data.fill_(1)
    compressor = ModelCompressor.from_pretrained_model(built, force)
    compressor.compress_model(built)
    return saved(case, parameters, built, compressor.update_config)


def fp8(case, model, dtype, skip=None, **options):
    from transformers.integrations import finegrained_fp8

    built = build(model, dtype)
    parameters = built.num_parameters()
    config = FineGrainedFP8Config(modules_to_not_convert=skip, **options)
    previous = built._set_default_dtype(DTYPES[dtype])
    try:
        finegrained_fp8.replace_with_fp8_linear(built, None, config)
    finally:
        torch.set_default_dtype(previous)
    return saved(case, parameters, materialised(built, config))


def mxfp4(case, model, dtype):
    from transformers.integrations.mxfp4 import _replace_with_mxfp4_linear

    built = build(model, dtype)
    parameters = built.num_parameters()
    skip = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]
    config = Mxfp4Config(modules_to_not_convert=skip)
    _replace_with_mxfp4_linear(built, modules_to_not_convert=skip, quantization_config=config, config=built.config)
    for parameter in built.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(DTYPES[dtype])
    return saved(case, parameters, materialised(built, config))


def awq(case, model, dtype, skip=("lm_head",), **options):
    from transformers.integrations.awq import replace_with_awq_linear

    built = build(model, dtype)
    parameters = built.num_parameters()
    config = AwqConfig(modules_to_not_convert=list(skip), **options)
    replace_with_awq_linear(built, modules_to_not_convert=list(skip), quantization_config=config)
    return saved(case, parameters, materialised(built, config))


def gptq(case, model, dtype, own_bias=False, skip=("lm_head", "gate"), **options):
    from auto_gptq.nn_modules.qlinear.qlinear_cuda_old import QuantLinear

    built = build(model, dtype)
    parameters = built.num_parameters()
    config = GPTQConfig(**options)
    for name, layer in linear_layers(built, skip):
        bias = layer.bias is not None if own_bias else True
        inputs, outputs = layer.weight.shape if isinstance(layer, Conv1D) else reversed(layer.weight.shape)
        new = QuantLinear(config.bits, config.group_size, inputs, outputs, bias, weight_dtype=layer.weight.dtype)
        built.set_submodule(name, new)
    return saved(case, parameters, materialised(built, config))


def materialised(model, config):
    model.config.quantization_config = config
    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None and parameter.device.type == "meta":
                module._parameters[name] = torch.nn.Parameter(torch.zeros_like(parameter, device="cpu"),
                                                              requires_grad=False)
    return model


def weights(**arguments):
    return {"weights": arguments}


INT8 = {"num_bits": 8, "type": "int", "symmetric": True}


def cases():
    for quant_type in ("nf4", "fp4"):
        for double in (False, True):
            for dtype in ("bfloat16", "float16"):
                yield bitsandbytes(f"bnb-{quant_type}-{dtype}" + "-double" * double, LLAMA, dtype, load_in_4bit=True,
                                   bnb_4bit_quant_type=quant_type, bnb_4bit_use_double_quant=double)
    yield bitsandbytes("bnb-nf4-odd", ODD_LLAMA, "bfloat16", load_in_4bit=True, bnb_4bit_quant_type="nf4",
                       bnb_4bit_use_double_quant=True)
    yield bitsandbytes("bnb-nf4-wide", WIDE_LLAMA, "float16", load_in_4bit=True, bnb_4bit_quant_type="nf4",
                       bnb_4bit_use_double_quant=True)
    yield bitsandbytes("bnb-nf4-qwen2-tied", QWEN2, "bfloat16", load_in_4bit=True, bnb_4bit_quant_type="nf4")
    yield bitsandbytes("bnb-nf4-storage-bf16", LLAMA, "bfloat16", load_in_4bit=True, bnb_4bit_quant_type="nf4",
                       bnb_4bit_quant_storage=torch.bfloat16)
    yield bitsandbytes("bnb-nf4-storage-f32-odd", ODD_LLAMA, "bfloat16", load_in_4bit=True, bnb_4bit_quant_type="nf4",
                       bnb_4bit_quant_storage=torch.float32)
    yield bitsandbytes("bnb-nf4-mixtral", MIXTRAL, "bfloat16", load_in_4bit=True, bnb_4bit_quant_type="nf4",
                       bnb_4bit_use_double_quant=True)
    yield bitsandbytes("bnb-nf4-skips", LLAMA, "float16", load_in_4bit=True, bnb_4bit_quant_type="nf4",
                       llm_int8_skip_modules=["lm_head", "k_proj", "down_proj"])
    yield bitsandbytes("bnb-nf4-gpt2", GPT2, "float16", load_in_4bit=True, bnb_4bit_quant_type="nf4")
    yield bitsandbytes("bnb-int8-gpt2", GPT2, "float16", load_in_8bit=True)
    yield bitsandbytes("bnb-int8", LLAMA, "float16", load_in_8bit=True)
    yield bitsandbytes("bnb-int8-odd", ODD_LLAMA, "bfloat16", load_in_8bit=True)
    yield bitsandbytes("bnb-int8-qwen2-tied", QWEN2, "bfloat16", load_in_8bit=True)

    yield compressed_tensors("ct-w4-group", LLAMA, "bfloat16", weights(
        num_bits=4, type="int", symmetric=True, strategy="group", group_size=32))
    yield compressed_tensors("ct-w4-group-asymmetric", QWEN2, "float16", weights(
        num_bits=4, type="int", symmetric=False, strategy="group", group_size=32))
    yield compressed_tensors("ct-w4-group-actorder-static", LLAMA, "bfloat16", weights(
        num_bits=4, type="int", symmetric=False, strategy="group", group_size=16, actorder="weight"))
    yield compressed_tensors("ct-w4-channel", QWEN2, "bfloat16", weights(
        num_bits=4, type="int", symmetric=True, strategy="channel"))
    yield compressed_tensors("ct-w4-channel-asymmetric-odd", ODD_LLAMA, "bfloat16", weights(
        num_bits=4, type="int", symmetric=False, strategy="channel"))
    yield compressed_tensors("ct-w3-group", LLAMA, "bfloat16", weights(
        num_bits=3, type="int", symmetric=True, strategy="group", group_size=32))
    yield compressed_tensors("ct-w8a16", EVEN_LLAMA, "float16", "W8A16")
    yield compressed_tensors("ct-w4a16-moe", QWEN3_MOE, "bfloat16", weights(
        num_bits=4, type="int", symmetric=True, strategy="group", group_size=16),
        ignore=["lm_head", "re:.*mlp.gate$"])
    yield compressed_tensors("ct-int8-dynamic", QWEN2, "bfloat16", "W8A8")
    yield compressed_tensors("ct-int8-static", LLAMA, "bfloat16", {
        "weights": {**INT8, "strategy": "channel"}, "input_activations": {**INT8, "strategy": "tensor"}})
    yield compressed_tensors("ct-int8-asymmetric-input", LLAMA, "bfloat16", {
        "weights": {**INT8, "strategy": "channel"},
        "input_activations": {**INT8, "strategy": "tensor", "symmetric": False}})
    yield compressed_tensors("ct-int8-naive", LLAMA, "bfloat16", weights(**INT8, strategy="channel"),
                             force="naive-quantized")
    yield compressed_tensors("ct-fp8-static", LLAMA, "bfloat16", "FP8")
    yield compressed_tensors("ct-fp8-dynamic", QWEN2, "bfloat16", "FP8_DYNAMIC")
    yield compressed_tensors("ct-fp8-block", QWEN3, "bfloat16", weights(
        num_bits=8, type="float", symmetric=True, strategy="block", block_structure=[32, 40]))
    yield compressed_tensors("ct-fp8-naive", LLAMA, "float16", weights(
        num_bits=8, type="float", symmetric=True, strategy="tensor"))
    yield compressed_tensors("ct-fp8-kv-cache", QWEN2, "bfloat16", "FP8_DYNAMIC", kv_cache={
        "num_bits": 8, "type": "float", "symmetric": True, "strategy": "tensor", "dynamic": False})
    yield compressed_tensors("ct-nvfp4a16", LLAMA, "bfloat16", "NVFP4A16")
    yield compressed_tensors("ct-nvfp4", LLAMA, "bfloat16", "NVFP4")
    yield compressed_tensors("ct-mxfp4", LLAMA, "bfloat16", "MXFP4A16")

    yield fp8("fp8-llama", LLAMA, "bfloat16")
    yield fp8("fp8-qwen3-tied", QWEN3, "bfloat16")
    yield fp8("fp8-qwen2-bias-small-blocks", QWEN2, "float16", weight_block_size=(24, 40))
    yield fp8("fp8-deepseek-v3", DEEPSEEK, "bfloat16")
    yield fp8("fp8-skips", LLAMA, "bfloat16", skip=["k_proj", "lm_head"])

    yield mxfp4("mxfp4-gpt-oss", GPT_OSS, "bfloat16")

    yield awq("awq-llama", LLAMA, "float16", bits=4, group_size=32)
    yield awq("awq-whole-columns", QWEN2, "float16", bits=4, group_size=-1)
    yield awq("awq-mixtral", MIXTRAL, "float16", skip=["lm_head", "gate"], bits=4, group_size=16)
    yield awq("awq-gemv", WIDE_LLAMA, "float16", bits=4, group_size=64, version="gemv")

    yield gptq("gptq-llama", LLAMA, "float16", bits=4, group_size=32)
    yield gptq("gptq-gpt2", GPT2, "float16", bits=4, group_size=32)
    yield gptq("gptq-phi", PHI, "float16", bits=4, group_size=64, desc_act=True)
    yield gptq("gptq-qwen2-tied", QWEN2, "bfloat16", bits=8, group_size=-1)
    yield gptq("gptq-3bit", LLAMA, "float16", bits=3, group_size=32)
    yield gptq("gptq-uneven-groups", LLAMA, "float16", bits=2, group_size=40)
    yield gptq("gptq-mixtral-own-bias", MIXTRAL, "bfloat16", own_bias=True, bits=4, group_size=32)
    yield gptq("gptq-qwen2-own-bias", QWEN2, "bfloat16", own_bias=True, bits=4, group_size=32)


if __name__ == "__main__":
    write_xz_lines(FIXTURES / "quantized" / "headers.jsonl.xz", list(cases()))
