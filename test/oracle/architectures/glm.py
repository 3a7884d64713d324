"""GLM: the cases of make_modules.py."""

GLM_9B = dict(vocab_size=151552, hidden_size=4096, intermediate_size=13696, num_hidden_layers=40,
              num_attention_heads=32, num_key_value_heads=2, head_dim=128, max_position_embeddings=131072,
              attention_bias=True, tie_word_embeddings=False)
TINY = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64, pad_token_id=0)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "GlmForCausalLM", dict(num_hidden_layers=1), "float32"),
    ("9b", "GlmForCausalLM", GLM_9B, "bfloat16"),
    ("head-dim-no-bias", "GlmForCausalLM", dict(TINY, head_dim=12, attention_bias=False), "float16"),
    ("tied", "GlmForCausalLM", dict(TINY, tie_word_embeddings=True), "float32"),
    ("partial-rotary", "GlmForCausalLM", dict(TINY, head_dim=16, partial_rotary_factor=0.25), "float16"),
    ("base-tiny", "GlmModel", TINY, "bfloat16"),
    ("cls-minimal", "GlmForSequenceClassification",
     dict(vocab_size=64, pad_token_id=0, num_hidden_layers=1), "float16"),
    ("cls-3-labels", "GlmForSequenceClassification", dict(TINY, num_labels=3), "float16"),
    ("tokens-5-labels", "GlmForTokenClassification", dict(TINY, num_labels=5), "float32"),
    ("partial-rotary-minimal", "GlmModel",
     dict(vocab_size=64, pad_token_id=0, num_hidden_layers=1, partial_rotary_factor=0.25,
          rope_theta=500.0), "float16"),
    ("rope-parameters-minimal", "GlmModel",
     dict(vocab_size=64, pad_token_id=0, num_hidden_layers=1,
          rope_parameters=dict(rope_type="default", rope_theta=500.0, partial_rotary_factor=0.75)), "float32"),
]
