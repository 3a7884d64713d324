"""gpt-oss: the cases of make_modules.py."""

GPT_OSS_20B = dict(vocab_size=201088, hidden_size=2880, intermediate_size=2880, num_hidden_layers=24,
                   num_attention_heads=64, num_key_value_heads=8, head_dim=64, num_local_experts=32,
                   num_experts_per_tok=4, sliding_window=128, attention_bias=True, tie_word_embeddings=False)
GPT_OSS = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
               num_key_value_heads=2, head_dim=12, num_local_experts=3, num_experts_per_tok=2, sliding_window=16)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "GptOssForCausalLM", dict(num_hidden_layers=2), "bfloat16"),
    ("20b", "GptOssForCausalLM", GPT_OSS_20B, "bfloat16"),
    ("20b-float16", "GptOssForCausalLM", GPT_OSS_20B, "float16"),
    ("120b", "GptOssForCausalLM", dict(GPT_OSS_20B, num_hidden_layers=36, num_local_experts=128), "bfloat16"),
    ("no-bias-tied", "GptOssForCausalLM", dict(GPT_OSS, attention_bias=False, tie_word_embeddings=True), "float16"),
    ("full-attention", "GptOssModel", dict(GPT_OSS, layer_types=["full_attention"] * 2), "float32"),
    ("sequence-classification", "GptOssForSequenceClassification", dict(GPT_OSS, num_labels=5), "float16"),
    ("token-classification", "GptOssForTokenClassification", GPT_OSS, "bfloat16"),
]
