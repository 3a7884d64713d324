"""Phi: the cases of make_modules.py."""

PHI_2 = dict(vocab_size=51200, hidden_size=2560, intermediate_size=10240, num_hidden_layers=32,
             num_attention_heads=32, max_position_embeddings=2048, partial_rotary_factor=0.4, resid_pdrop=0.1,
             tie_word_embeddings=False)
TINY = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "PhiForCausalLM", dict(num_hidden_layers=1), "float32"),
    ("2", "PhiForCausalLM", PHI_2, "float16"),
    ("qk-layernorm", "PhiForCausalLM", dict(TINY, qk_layernorm=True), "bfloat16"),
    ("tied-relu", "PhiForCausalLM", dict(TINY, tie_word_embeddings=True, hidden_act="relu"), "float32"),
    ("partial-rotary", "PhiForCausalLM", dict(TINY, partial_rotary_factor=0.75), "float16"),
    ("linear-rope", "PhiForCausalLM", dict(TINY, rope_scaling=dict(rope_type="linear", factor=2.0)), "float32"),
    ("base-tiny", "PhiModel", TINY, "bfloat16"),
    ("cls-minimal", "PhiForSequenceClassification", dict(vocab_size=64, num_hidden_layers=1), "float16"),
    ("cls-3-labels", "PhiForSequenceClassification", dict(TINY, num_labels=3), "float16"),
    ("tokens-5-labels", "PhiForTokenClassification", dict(TINY, num_labels=5), "float32"),
    ("partial-rotary-minimal", "PhiModel",
     dict(vocab_size=64, hidden_size=64, num_hidden_layers=1, partial_rotary_factor=0.25,
          rope_theta=500.0), "float16"),
    ("rope-parameters-minimal", "PhiModel",
     dict(vocab_size=64, hidden_size=64, num_hidden_layers=1,
          rope_parameters=dict(rope_type="default", rope_theta=500.0, partial_rotary_factor=0.75)), "float32"),
]
