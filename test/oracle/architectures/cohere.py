"""Cohere: the cases of make_modules.py."""

COMMAND_R = dict(vocab_size=256000, hidden_size=8192, intermediate_size=22528, num_hidden_layers=40,
                 num_attention_heads=64, num_key_value_heads=64, max_position_embeddings=8192,
                 rope_theta=8000000.0, logit_scale=0.0625)
COMMAND_R_PLUS = dict(vocab_size=256000, hidden_size=12288, intermediate_size=33792, num_hidden_layers=2,
                      num_attention_heads=96, num_key_value_heads=8, max_position_embeddings=8192,
                      rope_theta=75000000.0, use_qk_norm=True)
TINY = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "CohereForCausalLM", dict(num_hidden_layers=1), "float32"),
    ("command-r", "CohereForCausalLM", COMMAND_R, "float16"),
    ("command-r-plus", "CohereForCausalLM", COMMAND_R_PLUS, "bfloat16"),
    ("qk-norm", "CohereForCausalLM", dict(TINY, use_qk_norm=True), "float32"),
    ("biases-untied", "CohereForCausalLM", dict(TINY, attention_bias=True, tie_word_embeddings=False), "float16"),
    ("base-tiny", "CohereModel", TINY, "bfloat16"),
]
