"""Cohere 2: the cases of make_modules.py."""

COMMAND_R7B = dict(vocab_size=256000, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
                   num_attention_heads=32, num_key_value_heads=8, max_position_embeddings=8192,
                   sliding_window=4096, rope_theta=50000, logit_scale=0.25)
TINY = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "Cohere2ForCausalLM", dict(num_hidden_layers=1), "float32"),
    ("command-r7b", "Cohere2ForCausalLM", COMMAND_R7B, "bfloat16"),
    ("window-pattern-minimal", "Cohere2ForCausalLM",
     dict(vocab_size=64, num_hidden_layers=4, sliding_window=16, sliding_window_pattern=2), "float16"),
    ("layer-types", "Cohere2ForCausalLM", dict(TINY, layer_types=["full_attention", "sliding_attention"]), "float32"),
    ("biases-untied", "Cohere2ForCausalLM", dict(TINY, attention_bias=True, tie_word_embeddings=False), "float16"),
    ("head-dim", "Cohere2ForCausalLM", dict(TINY, head_dim=12), "float32"),
    ("base-tiny", "Cohere2Model", TINY, "bfloat16"),
]
