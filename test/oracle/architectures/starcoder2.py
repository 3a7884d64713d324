"""StarCoder2: the cases of make_modules.py."""

STARCODER2_3B = dict(vocab_size=49152, hidden_size=3072, intermediate_size=12288, num_hidden_layers=30,
                     num_attention_heads=24, num_key_value_heads=2, max_position_embeddings=16384,
                     sliding_window=4096, rope_theta=999999.4420358813)
TINY = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "Starcoder2ForCausalLM", dict(num_hidden_layers=1), "float32"),
    ("3b", "Starcoder2ForCausalLM", STARCODER2_3B, "bfloat16"),
    ("no-biases-untied", "Starcoder2ForCausalLM", dict(TINY, use_bias=False, tie_word_embeddings=False), "float16"),
    ("window", "Starcoder2ForCausalLM", dict(TINY, sliding_window=16), "float32"),
    ("silu", "Starcoder2ForCausalLM", dict(TINY, hidden_act="silu"), "float16"),
    ("base-tiny", "Starcoder2Model", TINY, "bfloat16"),
    ("cls-minimal", "Starcoder2ForSequenceClassification", dict(vocab_size=64, num_hidden_layers=1), "float16"),
    ("cls-3-labels", "Starcoder2ForSequenceClassification", dict(TINY, num_labels=3), "float16"),
    ("tokens-5-labels", "Starcoder2ForTokenClassification", dict(TINY, num_labels=5), "float32"),
]
