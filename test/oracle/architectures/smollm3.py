"""SmolLM3: the cases of make_modules.py."""

SMOLLM3_3B = dict(vocab_size=128256, hidden_size=2048, intermediate_size=11008, num_hidden_layers=36,
                  num_attention_heads=16, num_key_value_heads=4, max_position_embeddings=65536,
                  rope_theta=5000000.0, tie_word_embeddings=True)
TINY = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64, pad_token_id=0)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "SmolLM3ForCausalLM", dict(num_hidden_layers=1), "float32"),
    ("3b", "SmolLM3ForCausalLM", SMOLLM3_3B, "bfloat16"),
    ("biases-untied", "SmolLM3ForCausalLM",
     dict(TINY, attention_bias=True, mlp_bias=True, tie_word_embeddings=False), "float16"),
    ("window-minimal", "SmolLM3ForCausalLM",
     dict(num_hidden_layers=5, use_sliding_window=True, sliding_window=16), "float16"),
    ("no-rope-layers", "SmolLM3ForCausalLM",
     dict(TINY, use_sliding_window=True, sliding_window=16, no_rope_layers=[0, 1]), "float32"),
    ("base-tiny", "SmolLM3Model", TINY, "bfloat16"),
    ("cls-minimal", "SmolLM3ForSequenceClassification",
     dict(vocab_size=64, pad_token_id=0, num_hidden_layers=1), "float16"),
    ("cls-3-labels", "SmolLM3ForSequenceClassification", dict(TINY, num_labels=3), "float16"),
    ("tokens-5-labels", "SmolLM3ForTokenClassification", dict(TINY, num_labels=5), "float32"),
    ("qa-tiny", "SmolLM3ForQuestionAnswering", TINY, "float16"),
]
