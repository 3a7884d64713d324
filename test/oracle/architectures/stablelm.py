"""StableLM: the cases of make_modules.py."""

STABLELM_2_1B = dict(vocab_size=100352, hidden_size=2048, intermediate_size=5632, num_hidden_layers=24,
                     num_attention_heads=32, num_key_value_heads=32, max_position_embeddings=4096,
                     use_qkv_bias=True, partial_rotary_factor=0.25, tie_word_embeddings=False)
STABLELM_2_12B = dict(vocab_size=100352, hidden_size=5120, intermediate_size=13824, num_hidden_layers=2,
                      num_attention_heads=32, num_key_value_heads=8, max_position_embeddings=4096,
                      qk_layernorm=True, use_parallel_residual=True, partial_rotary_factor=0.25)
TINY = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "StableLmForCausalLM", dict(num_hidden_layers=1), "float32"),
    ("2-1.6b", "StableLmForCausalLM", STABLELM_2_1B, "float16"),
    ("2-12b", "StableLmForCausalLM", STABLELM_2_12B, "bfloat16"),
    ("qkv-bias-tied", "StableLmForCausalLM", dict(TINY, use_qkv_bias=True, tie_word_embeddings=True), "float16"),
    ("qk-layernorm", "StableLmForCausalLM", dict(TINY, vocab_size=40000, qk_layernorm=True), "float32"),
    ("parallel-residual", "StableLmForCausalLM", dict(TINY, use_parallel_residual=True), "bfloat16"),
    ("partial-rotary", "StableLmForCausalLM", dict(TINY, partial_rotary_factor=0.5), "float16"),
    ("base-tiny", "StableLmModel", TINY, "bfloat16"),
    ("cls-minimal", "StableLmForSequenceClassification", dict(vocab_size=64, num_hidden_layers=1), "float16"),
    ("cls-3-labels", "StableLmForSequenceClassification", dict(TINY, num_labels=3), "float16"),
    ("tokens-5-labels", "StableLmForTokenClassification", dict(TINY, num_labels=5), "float32"),
    ("partial-rotary-minimal", "StableLmModel",
     dict(vocab_size=64, hidden_size=1024, num_hidden_layers=1, partial_rotary_factor=0.25,
          rope_theta=500.0), "float16"),
    ("rope-parameters-minimal", "StableLmModel",
     dict(vocab_size=64, hidden_size=1024, num_hidden_layers=1,
          rope_parameters=dict(rope_type="default", rope_theta=500.0, partial_rotary_factor=0.75)), "float32"),
]
