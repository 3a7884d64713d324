"""Tiny checkpoints as `save_pretrained` writes them, and the config of T0pp.

Makes test/fixtures/checkpoints/<case>/ and test/fixtures/t0pp/config.json. Versions: requirements.txt.
Run: python test/oracle/make_checkpoints.py
"""

import json
import shutil

import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file

from common import DTYPES, FIXTURES, config_from, write_versions

T5 = dict(vocab_size=64, d_model=16, d_kv=6, d_ff=40, num_heads=4, num_layers=2, num_decoder_layers=2,
          relative_attention_num_buckets=8, relative_attention_max_distance=20)
T5_GATED = dict(T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
LLAMA = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=False)
GPT2 = dict(vocab_size=80, n_positions=24, n_embd=16, n_layer=2, n_head=2)
BERT = dict(vocab_size=72, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=40,
            max_position_embeddings=20)

# case: (class, config, dtype, max_shard_size)
CASES = {
    "t5-v1_0-tiny": ("T5ForConditionalGeneration", dict(T5), "float32", None),
    "t5-v1_1-tiny-sharded": (
        "T5ForConditionalGeneration", dict(T5_GATED, d_ff=24, d_kv=5, num_layers=3, num_decoder_layers=3),
        "float32", "25KB"),
    "t5-encoder-tiny": ("T5EncoderModel", dict(T5_GATED), "float32", None),
    "llama-tiny": ("LlamaForCausalLM", dict(LLAMA), "bfloat16", None),
    "llama-tiny-tied-sharded": ("LlamaForCausalLM", dict(LLAMA, tie_word_embeddings=True), "float16", "16KB"),
    "llama-base-tiny": ("LlamaModel", dict(LLAMA), "bfloat16", None),
    "mistral-tiny": ("MistralForCausalLM", dict(LLAMA, sliding_window=16), "bfloat16", None),
    "mistral-base-tiny": ("MistralModel", dict(LLAMA, head_dim=6), "float16", None),
    "qwen2-tiny": ("Qwen2ForCausalLM", dict(LLAMA, tie_word_embeddings=True), "bfloat16", None),
    "qwen2-base-tiny": ("Qwen2Model", dict(LLAMA), "bfloat16", None),
    "gpt2-tiny": ("GPT2LMHeadModel", dict(GPT2), "float32", None),
    "gpt2-base-tiny": ("GPT2Model", dict(GPT2), "float32", None),
    "bert-base-tiny": ("BertModel", dict(BERT), "float32", None),
    "bert-mlm-tiny": ("BertForMaskedLM", dict(BERT), "float32", None),
    "bert-cls-tiny": (
        "BertForSequenceClassification", dict(BERT, id2label={str(i): f"LABEL_{i}" for i in range(3)},
                                              label2id={f"LABEL_{i}": i for i in range(3)}), "float32", "10KB"),
}

T0PP = {
    "architectures": ["T5ForConditionalGeneration"], "d_ff": 10240, "d_kv": 64, "d_model": 4096,
    "decoder_start_token_id": 0, "dropout_rate": 0.1, "eos_token_id": 1, "feed_forward_proj": "gated-gelu",
    "initializer_factor": 1.0, "is_encoder_decoder": True, "layer_norm_epsilon": 1e-06, "model_type": "t5",
    "num_decoder_layers": 24, "num_heads": 64, "num_layers": 24, "output_past": True, "pad_token_id": 0,
    "relative_attention_num_buckets": 32, "tie_word_embeddings": False, "use_cache": True, "vocab_size": 32128,
}


def randomize(model, seed):
    """No tensor is constant or zero, norms and padding rows included, so that a misplaced tensor shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm = parameter.dim() == 1 and name.endswith("weight")
            parameter.copy_(1 + 0.1 * noise if is_norm else 0.2 * noise)


def rename_layer_norms(source, target):
    """BERT's original TensorFlow names, which `from_pretrained` still understands."""
    shutil.copytree(source, target, dirs_exist_ok=True)
    with safe_open(source / "model.safetensors", framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in tensors.items()
    }
    save_file(renamed, target / "model.safetensors", metadata={"format": "pt"})


def main():
    root = FIXTURES / "checkpoints"
    shutil.rmtree(root, ignore_errors=True)
    for seed, (case, (class_name, values, dtype, max_shard_size)) in enumerate(CASES.items()):
        model = getattr(transformers, class_name)(config_from(class_name, values))
        randomize(model, seed)
        model = model.to(DTYPES[dtype])
        model.save_pretrained(root / case, **({"max_shard_size": max_shard_size} if max_shard_size else {}))
    rename_layer_norms(root / "bert-base-tiny", root / "bert-legacy-names-tiny")
    for file in root.rglob("*.safetensors"):
        file.chmod(0o644)  # safetensors writes them for the owner alone
    write_versions(root)

    target = FIXTURES / "t0pp" / "config.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(T0PP, indent=2) + "\n")


if __name__ == "__main__":
    main()
