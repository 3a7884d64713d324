"""Module trees: names, shapes, dtypes, ties and saved keys of each supported class under several configs.

Makes test/fixtures/modules/<family>.json. `config` is what config.json would hold: the keys given here for a case
marked minimal (the class defaults fill the rest), everything `save_pretrained` would write for the others.
Versions: requirements.txt. Run: python test/oracle/make_modules.py
"""

import re
import tempfile

import transformers
from accelerate.utils import find_tied_parameters
from accelerate.utils.modeling import compute_module_sizes
from safetensors import safe_open
from transformers.modeling_utils import _get_tied_weight_keys

from common import DTYPES, FIXTURES, build, config_from, dtype_name, keep_in_fp32, write_table
from make_checkpoints import BERT, CASES, GPT2, LLAMA, T5, T5_GATED

LLAMA_7B = dict(vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_hidden_layers=4,
                num_attention_heads=32, num_key_value_heads=32, max_position_embeddings=4096, rms_norm_eps=1e-5,
                tie_word_embeddings=False)
LLAMA3_ROPE = dict(rope_type="llama3", factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0,
                   original_max_position_embeddings=8192)
LLAMA_1B = dict(vocab_size=128256, hidden_size=2048, intermediate_size=8192, num_hidden_layers=3,
                num_attention_heads=32, num_key_value_heads=8, head_dim=64, max_position_embeddings=131072,
                rope_theta=500000.0, rope_scaling=LLAMA3_ROPE, tie_word_embeddings=True)
MISTRAL_7B = dict(vocab_size=32000, hidden_size=4096, intermediate_size=14336, num_hidden_layers=3,
                  num_attention_heads=32, num_key_value_heads=8, max_position_embeddings=32768, sliding_window=4096,
                  tie_word_embeddings=False)
QWEN2_05B = dict(vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=3,
                 num_attention_heads=14, num_key_value_heads=2, max_position_embeddings=32768,
                 tie_word_embeddings=True)
QWEN2_7B = dict(vocab_size=152064, hidden_size=3584, intermediate_size=18944, num_hidden_layers=3,
                num_attention_heads=28, num_key_value_heads=4, max_position_embeddings=32768,
                tie_word_embeddings=False)
T5_SMALL = dict(vocab_size=32128, d_model=512, d_kv=64, d_ff=2048, num_heads=8, num_layers=6, num_decoder_layers=6)
T0PP = dict(vocab_size=32128, d_model=4096, d_kv=64, d_ff=10240, num_heads=64, num_layers=2, num_decoder_layers=2,
            feed_forward_proj="gated-gelu", tie_word_embeddings=False)
BERT_BASE = dict(vocab_size=30522, hidden_size=768, num_hidden_layers=2, num_attention_heads=12,
                 intermediate_size=3072, max_position_embeddings=512)
FIVE_LABELS = dict(id2label={str(i): name for i, name in enumerate("abcde")},
                   label2id={name: i for i, name in enumerate("abcde")})

# family: [(case, class, config, dtype)], besides the tiny checkpoints, which join below; "minimal" in a case's name
# keeps the config as given
FAMILIES = {
    "t5": [
        ("v1_0-minimal", "T5ForConditionalGeneration", dict(d_model=64, num_layers=2), "float32"),
        ("v1_1-tiny", "T5ForConditionalGeneration", T5_GATED, "float16"),
        ("v1_1-uneven-layers", "T5ForConditionalGeneration", dict(T5_GATED, num_layers=3, num_decoder_layers=1),
         "bfloat16"),
        ("v1_0-no-decoder-layers-key", "T5ForConditionalGeneration",
         {k: v for k, v in dict(T5, num_layers=3).items() if k != "num_decoder_layers"}, "float16"),
        ("gated-silu-tied", "T5ForConditionalGeneration", dict(T5, feed_forward_proj="gated-silu"), "float32"),
        ("relu-untied", "T5ForConditionalGeneration", dict(T5, tie_word_embeddings=False), "float32"),
        ("small", "T5ForConditionalGeneration", T5_SMALL, "float16"),
        ("t0pp", "T5ForConditionalGeneration", T0PP, "float32"),
        ("t0pp-float16", "T5ForConditionalGeneration", T0PP, "float16"),
        ("t0pp-bfloat16", "T5ForConditionalGeneration", T0PP, "bfloat16"),
        ("encoder-tied-config", "T5EncoderModel", dict(T5, num_layers=3), "float16"),
    ],
    "llama": [
        ("minimal", "LlamaForCausalLM", dict(vocab_size=64, hidden_size=64, num_hidden_layers=2), "float32"),
        ("tied-minimal", "LlamaForCausalLM",
         dict(vocab_size=64, hidden_size=64, num_hidden_layers=2, intermediate_size=48, tie_word_embeddings=True),
         "float16"),
        ("7b", "LlamaForCausalLM", LLAMA_7B, "float16"),
        ("7b-full-depth", "LlamaForCausalLM", dict(LLAMA_7B, num_hidden_layers=32), "float16"),
        ("1b-tied-llama3-rope", "LlamaForCausalLM", LLAMA_1B, "bfloat16"),
        ("biases", "LlamaForCausalLM", dict(LLAMA, attention_bias=True, mlp_bias=True), "float32"),
        ("head-dim", "LlamaForCausalLM", dict(LLAMA, head_dim=12), "float16"),
        ("multi-query", "LlamaForCausalLM", dict(LLAMA, num_key_value_heads=1), "float32"),
        ("base-tiny", "LlamaModel", LLAMA, "float16"),
        ("base-7b", "LlamaModel", LLAMA_7B, "float32"),
    ],
    "mistral": [
        ("minimal", "MistralForCausalLM",
         dict(vocab_size=64, hidden_size=64, num_hidden_layers=2, intermediate_size=48), "float32"),
        ("7b", "MistralForCausalLM", MISTRAL_7B, "float16"),
        ("no-window-head-dim", "MistralForCausalLM", dict(LLAMA, sliding_window=None, head_dim=12), "float16"),
        ("tied", "MistralForCausalLM", dict(LLAMA, tie_word_embeddings=True), "float32"),
        ("base-tiny", "MistralModel", LLAMA, "float32"),
    ],
    "qwen2": [
        ("minimal", "Qwen2ForCausalLM",
         dict(vocab_size=64, hidden_size=64, num_hidden_layers=2, intermediate_size=48), "float32"),
        ("0.5b", "Qwen2ForCausalLM", QWEN2_05B, "float16"),
        ("7b", "Qwen2ForCausalLM", QWEN2_7B, "bfloat16"),
        ("sliding-window", "Qwen2ForCausalLM",
         dict(LLAMA, use_sliding_window=True, sliding_window=16, max_window_layers=1), "float16"),
        ("base-tiny", "Qwen2Model", LLAMA, "float16"),
    ],
    "gpt2": [
        ("minimal", "GPT2LMHeadModel", dict(n_layer=2), "float16"),
        ("small", "GPT2LMHeadModel", dict(vocab_size=50257, n_positions=1024, n_embd=768, n_layer=3, n_head=12),
         "float16"),
        ("n-inner", "GPT2LMHeadModel", dict(GPT2, n_inner=24), "bfloat16"),
        ("cross-attention", "GPT2LMHeadModel", dict(GPT2, add_cross_attention=True), "float32"),
        ("untied", "GPT2LMHeadModel", dict(GPT2, tie_word_embeddings=False), "float16"),
        ("odd-positions", "GPT2LMHeadModel", dict(GPT2, n_positions=25), "float32"),
        ("base-cross-attention", "GPT2Model", dict(GPT2, add_cross_attention=True), "float16"),
    ],
    "bert": [
        ("minimal", "BertModel", dict(num_hidden_layers=1), "float32"),
        ("base", "BertModel", BERT_BASE, "float16"),
        ("relative-key", "BertModel", dict(BERT, position_embedding_type="relative_key"), "float32"),
        ("relative-key-query", "BertForMaskedLM", dict(BERT, position_embedding_type="relative_key_query"),
         "float16"),
        ("decoder-cross-attention", "BertModel", dict(BERT, is_decoder=True, add_cross_attention=True), "float32"),
        ("decoder", "BertModel", dict(BERT, is_decoder=True), "bfloat16"),
        ("mlm-base", "BertForMaskedLM", BERT_BASE, "float16"),
        ("mlm-untied", "BertForMaskedLM", dict(BERT, tie_word_embeddings=False), "float32"),
        ("cls-tiny", "BertForSequenceClassification", BERT, "bfloat16"),
        ("cls-5-labels", "BertForSequenceClassification", dict(BERT, **FIVE_LABELS), "float32"),
        ("cls-num-labels-minimal", "BertForSequenceClassification", dict(BERT, num_labels=7), "float32"),
        ("cls-base", "BertForSequenceClassification", BERT_BASE, "float16"),
    ],
}


def saved_keys(model):
    """The keys `save_pretrained` keeps of a model on the meta device: its rule for names that share a tensor."""
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


def really_saved_keys(class_name, config):
    with tempfile.TemporaryDirectory() as folder:
        getattr(transformers, class_name)(config).save_pretrained(folder)
        with safe_open(f"{folder}/model.safetensors", framework="pt") as file:
            return sorted(file.keys())


def describe(case, class_name, values, dtype):
    config = config_from(class_name, values)
    model = build(class_name, config, DTYPES[dtype])
    keys = saved_keys(model)
    # The rule above is ours, so it is held against the real thing wherever the model is small enough to make.
    if sum(p.numel() for p in model.parameters()) < 1e6:
        assert keys == really_saved_keys(class_name, config), case

    non_persistent = {
        f"{path}.{name}".lstrip(".")
        for path, module in model.named_modules(remove_duplicate=False)
        for name in module._non_persistent_buffers_set
    }
    fp32 = keep_in_fp32(model, DTYPES[dtype])
    total = compute_module_sizes(model, dtype=DTYPES[dtype], special_dtypes=dict.fromkeys(fp32, DTYPES["float32"]))[""]
    if "minimal" in case:
        shown = {"model_type": config.model_type, "architectures": [class_name], **values}
    else:
        shown = config.to_diff_dict()
        shown.pop("transformers_version", None)
        shown.pop("dtype", None)
    return {
        "case": case,
        "class": class_name,
        "dtype": dtype,
        "config": shown,
        "modules": [[n, type(m).__name__] for n, m in model.named_modules(remove_duplicate=False)],
        "parameters": [
            [n, list(p.shape), dtype_name(p.dtype)] for n, p in model.named_parameters(remove_duplicate=False)
        ],
        "buffers": [
            [n, list(b.shape), dtype_name(b.dtype), n not in non_persistent]
            for n, b in model.named_buffers(remove_duplicate=False)
        ],
        "tied": sorted(find_tied_parameters(model)),
        "no_split_modules": sorted(model._get_no_split_modules("auto")),
        "base_model_prefix": model.base_model_prefix,
        "saved_keys": keys,
        "keep_in_fp32": fp32,
        "keys_to_ignore_on_load_missing": model._keys_to_ignore_on_load_missing,
        "keys_to_ignore_on_load_unexpected": model._keys_to_ignore_on_load_unexpected,
        "total_size": int(total) if total == int(total) else total,
    }


def main():
    for family, cases in FAMILIES.items():
        checkpoints = [
            (f"checkpoint:{case}", c, v, d) for case, (c, v, d, _) in CASES.items() if case.startswith(family)
        ]
        rows = [describe(*case) for case in cases + checkpoints]
        write_table(FIXTURES / "modules" / f"{family}.json", "cases", rows)


if __name__ == "__main__":
    main()
