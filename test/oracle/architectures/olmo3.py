"""OLMo 3: the cases of make_modules.py."""

OLMO3_32B = dict(vocab_size=100278, hidden_size=5120, intermediate_size=27648, num_hidden_layers=64,
                 num_attention_heads=40, num_key_value_heads=8, max_position_embeddings=65536,
                 sliding_window=4096, rope_theta=500000, pad_token_id=100277, tie_word_embeddings=False)
TINY = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64, pad_token_id=0)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "Olmo3ForCausalLM", dict(num_hidden_layers=1), "float32"),
    ("32b", "Olmo3ForCausalLM", OLMO3_32B, "bfloat16"),
    ("biases", "Olmo3ForCausalLM", dict(TINY, attention_bias=True), "float16"),
    ("tied", "Olmo3ForCausalLM", dict(TINY, tie_word_embeddings=True), "float32"),
    ("multi-query", "Olmo3ForCausalLM", dict(TINY, num_key_value_heads=1), "bfloat16"),
    ("multi-head-minimal", "Olmo3ForCausalLM",
     dict(vocab_size=64, hidden_size=48, num_hidden_layers=1,
          num_attention_heads=6, pad_token_id=0), "float16"),
    ("window", "Olmo3ForCausalLM", dict(TINY, num_hidden_layers=5, sliding_window=16), "float16"),
    ("layer-types", "Olmo3ForCausalLM", dict(TINY, layer_types=["full_attention", "sliding_attention"]), "float32"),
    ("base-tiny", "Olmo3Model", TINY, "bfloat16"),
    ("cls-minimal", "Olmo3ForSequenceClassification",
     dict(vocab_size=64, pad_token_id=0, num_hidden_layers=1), "float16", 5),
    ("cls-3-labels", "Olmo3ForSequenceClassification", dict(TINY, num_labels=3), "float16", 5),
    ("yarn-minimal", "Olmo3Model",
     dict(vocab_size=64, pad_token_id=0, num_hidden_layers=5, rope_theta=500000,
          rope_scaling=dict(rope_type="yarn", factor=8.0, original_max_position_embeddings=1024, beta_fast=32.0,
                            beta_slow=1.0, attention_factor=1.2)), "bfloat16"),
]
