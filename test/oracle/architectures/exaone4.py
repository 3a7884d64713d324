"""EXAONE 4: the cases of make_modules.py."""

EXAONE4_1B = dict(vocab_size=102400, hidden_size=2048, intermediate_size=4096, num_hidden_layers=30,
                  num_attention_heads=32, num_key_value_heads=8, head_dim=64, max_position_embeddings=65536,
                  sliding_window=None, layer_types=["full_attention"] * 30, tie_word_embeddings=True)
EXAONE4_32B = dict(vocab_size=102400, hidden_size=5120, intermediate_size=27392, num_hidden_layers=64,
                   num_attention_heads=40, num_key_value_heads=8, head_dim=128, max_position_embeddings=131072,
                   sliding_window=4096, sliding_window_pattern="LLLG", tie_word_embeddings=False,
                   layer_types=["sliding_attention", "sliding_attention", "sliding_attention", "full_attention"] * 16)
TINY = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "Exaone4ForCausalLM", dict(num_hidden_layers=1), "float32"),
    ("1.2b", "Exaone4ForCausalLM", EXAONE4_1B, "bfloat16"),
    ("32b", "Exaone4ForCausalLM", EXAONE4_32B, "bfloat16"),
    ("head-dim", "Exaone4ForCausalLM", dict(TINY, head_dim=12), "float16"),
    ("window-pattern-minimal", "Exaone4ForCausalLM",
     dict(num_hidden_layers=4, sliding_window=16, sliding_window_pattern=2), "float16"),
    ("tied", "Exaone4ForCausalLM", dict(TINY, tie_word_embeddings=True), "float32"),
    ("base-tiny", "Exaone4Model", TINY, "bfloat16"),
    ("cls-minimal", "Exaone4ForSequenceClassification", dict(vocab_size=64, num_hidden_layers=1), "float16"),
    ("cls-3-labels", "Exaone4ForSequenceClassification", dict(TINY, num_labels=3), "float16"),
    ("tokens-5-labels", "Exaone4ForTokenClassification", dict(TINY, num_labels=5), "float32"),
    ("qa-tiny", "Exaone4ForQuestionAnswering", TINY, "float16"),
]
