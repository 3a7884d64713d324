"""GLM-4 (0414): the cases of make_modules.py."""

GLM4_9B = dict(vocab_size=151552, hidden_size=4096, intermediate_size=13696, num_hidden_layers=40,
               num_attention_heads=32, num_key_value_heads=2, head_dim=128, max_position_embeddings=131072,
               attention_bias=False, tie_word_embeddings=False)
TINY = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64, pad_token_id=0)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "Glm4ForCausalLM", dict(num_hidden_layers=1), "float32"),
    ("9b", "Glm4ForCausalLM", GLM4_9B, "bfloat16"),
    ("head-dim-no-bias", "Glm4ForCausalLM", dict(TINY, head_dim=12, attention_bias=False), "float16"),
    ("tied", "Glm4ForCausalLM", dict(TINY, tie_word_embeddings=True), "float32"),
    ("partial-rotary", "Glm4ForCausalLM", dict(TINY, head_dim=16, partial_rotary_factor=0.25), "float16"),
    ("base-tiny", "Glm4Model", TINY, "bfloat16"),
    ("cls-minimal", "Glm4ForSequenceClassification",
     dict(vocab_size=64, pad_token_id=0, num_hidden_layers=1), "float16"),
    ("cls-3-labels", "Glm4ForSequenceClassification", dict(TINY, num_labels=3), "float16"),
    ("tokens-5-labels", "Glm4ForTokenClassification", dict(TINY, num_labels=5), "float32"),
    ("partial-rotary-minimal", "Glm4Model",
     dict(vocab_size=64, pad_token_id=0, num_hidden_layers=1, partial_rotary_factor=0.25,
          rope_theta=500.0), "float16"),
    ("rope-parameters-minimal", "Glm4Model",
     dict(vocab_size=64, pad_token_id=0, num_hidden_layers=1,
          rope_parameters=dict(rope_type="default", rope_theta=500.0, partial_rotary_factor=0.75)), "float32"),
]
