"""Phi-3: the cases of make_modules.py."""

PHI3_MINI = dict(vocab_size=32064, hidden_size=3072, intermediate_size=8192, num_hidden_layers=32,
                 num_attention_heads=32, num_key_value_heads=32, max_position_embeddings=4096,
                 sliding_window=2047, tie_word_embeddings=False)
PHI4 = dict(vocab_size=100352, hidden_size=5120, intermediate_size=17920, num_hidden_layers=3,
            num_attention_heads=40, num_key_value_heads=10, max_position_embeddings=16384, rope_theta=250000,
            pad_token_id=100349, tie_word_embeddings=False)
PHI4_MINI = dict(vocab_size=200064, hidden_size=3072, intermediate_size=8192, num_hidden_layers=2,
                 num_attention_heads=24, num_key_value_heads=8, max_position_embeddings=131072,
                 original_max_position_embeddings=4096, partial_rotary_factor=0.75, pad_token_id=199999,
                 rope_scaling=dict(type="longrope", short_factor=[1.0] * 48, long_factor=[1.5] * 48),
                 sliding_window=262144, tie_word_embeddings=True)
TINY = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64, pad_token_id=0)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "Phi3ForCausalLM", dict(num_hidden_layers=1), "float32"),
    ("mini-4k", "Phi3ForCausalLM", PHI3_MINI, "bfloat16"),
    ("phi-4", "Phi3ForCausalLM", PHI4, "bfloat16"),
    ("phi-4-mini-longrope", "Phi3ForCausalLM", PHI4_MINI, "float16"),
    ("partial-rotary", "Phi3ForCausalLM", dict(TINY, partial_rotary_factor=0.5), "float32"),
    ("tied", "Phi3ForCausalLM", dict(TINY, tie_word_embeddings=True), "float16"),
    ("base-tiny", "Phi3Model", TINY, "bfloat16"),
    ("cls-minimal", "Phi3ForSequenceClassification",
     dict(vocab_size=64, num_hidden_layers=1, pad_token_id=0), "float16"),
    ("cls-3-labels", "Phi3ForSequenceClassification", dict(TINY, num_labels=3), "float16"),
    ("tokens-5-labels", "Phi3ForTokenClassification", dict(TINY, num_labels=5), "float32"),
    ("longrope-minimal", "Phi3Model",
     dict(vocab_size=64, pad_token_id=0, num_hidden_layers=1, hidden_size=64, num_attention_heads=4,
          partial_rotary_factor=0.75, original_max_position_embeddings=32, max_position_embeddings=64,
          rope_scaling=dict(type="longrope", short_factor=[1.0] * 6, long_factor=[1.5] * 6)), "float16"),
    ("rope-parameters-minimal", "Phi3Model",
     dict(vocab_size=64, pad_token_id=0, num_hidden_layers=1,
          rope_parameters=dict(rope_type="default", rope_theta=500.0, partial_rotary_factor=0.75)), "float32"),
]
