"""Qwen3: the cases of make_modules.py."""

QWEN3_06B = dict(vocab_size=151936, hidden_size=1024, intermediate_size=3072, num_hidden_layers=28,
                 num_attention_heads=16, num_key_value_heads=8, head_dim=128, max_position_embeddings=40960,
                 tie_word_embeddings=True)
QWEN3_8B = dict(vocab_size=151936, hidden_size=4096, intermediate_size=12288, num_hidden_layers=3,
                num_attention_heads=32, num_key_value_heads=8, head_dim=128, max_position_embeddings=40960,
                tie_word_embeddings=False)
TINY = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "Qwen3ForCausalLM", dict(vocab_size=64, num_hidden_layers=1), "float32"),
    ("0.6b", "Qwen3ForCausalLM", QWEN3_06B, "bfloat16"),
    ("8b", "Qwen3ForCausalLM", QWEN3_8B, "float16"),
    ("head-dim-biases", "Qwen3ForCausalLM", dict(TINY, head_dim=12, attention_bias=True), "float32"),
    ("sliding-window", "Qwen3ForCausalLM",
     dict(TINY, use_sliding_window=True, sliding_window=16, max_window_layers=1), "float16"),
    ("layer-types", "Qwen3ForCausalLM",
     dict(TINY, use_sliding_window=True, layer_types=["sliding_attention", "full_attention"]), "bfloat16"),
    ("tied", "Qwen3ForCausalLM", dict(TINY, tie_word_embeddings=True), "float16"),
    ("base-tiny", "Qwen3Model", TINY, "bfloat16"),
    ("cls-minimal", "Qwen3ForSequenceClassification", dict(vocab_size=64, num_hidden_layers=1), "float16"),
    ("cls-3-labels", "Qwen3ForSequenceClassification", dict(TINY, num_labels=3), "float16"),
    ("tokens-5-labels", "Qwen3ForTokenClassification", dict(TINY, num_labels=5), "float32"),
    ("qa-tiny", "Qwen3ForQuestionAnswering", TINY, "float16"),
]
