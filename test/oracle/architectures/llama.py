"""Llama: the cases of make_modules.py."""

LLAMA_7B = dict(vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_hidden_layers=4,
                num_attention_heads=32, num_key_value_heads=32, max_position_embeddings=4096, rms_norm_eps=1e-5,
                tie_word_embeddings=False)
LLAMA3_ROPE = dict(rope_type="llama3", factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0,
                   original_max_position_embeddings=8192)
LLAMA_1B = dict(vocab_size=128256, hidden_size=2048, intermediate_size=8192, num_hidden_layers=3,
                num_attention_heads=32, num_key_value_heads=8, head_dim=64, max_position_embeddings=131072,
                rope_theta=500000.0, rope_scaling=LLAMA3_ROPE, tie_word_embeddings=True)
LLAMA = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=False)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "LlamaForCausalLM", dict(vocab_size=64, hidden_size=64, num_hidden_layers=2), "float32"),
    ("tied-minimal", "LlamaForCausalLM",
     dict(vocab_size=64, hidden_size=64, num_hidden_layers=2, intermediate_size=48, tie_word_embeddings=True),
     "float16"),
    ("7b", "LlamaForCausalLM", LLAMA_7B, "float16"),
    ("7b-full-depth", "LlamaForCausalLM", dict(LLAMA_7B, num_hidden_layers=32), "float16"),
    ("1b-tied-llama3-rope", "LlamaForCausalLM", LLAMA_1B, "bfloat16"),
    ("biases", "LlamaForCausalLM", dict(LLAMA, attention_bias=True, mlp_bias=True), "float32"),
    ("head-dim", "LlamaForCausalLM", dict(LLAMA, head_dim=12), "float16"),
    ("multi-query", "LlamaForCausalLM", dict(LLAMA, num_key_value_heads=1), "float32"),
    ("linear-rope", "LlamaForCausalLM", dict(LLAMA, rope_scaling=dict(rope_type="linear", factor=2.0)), "float16"),
    ("partial-rotary", "LlamaForCausalLM", dict(LLAMA, partial_rotary_factor=0.5), "float32"),
    ("partial-rotary-linear-rope", "LlamaForCausalLM",
     dict(LLAMA, partial_rotary_factor=0.5, rope_scaling=dict(rope_type="linear", factor=2.0)), "float32"),
    ("null-heads-minimal", "LlamaForCausalLM",
     dict(vocab_size=64, hidden_size=48, num_hidden_layers=1, num_attention_heads=6, num_key_value_heads=None,
          head_dim=None), "bfloat16"),
    ("base-tiny", "LlamaModel", LLAMA, "float16"),
    ("base-7b", "LlamaModel", LLAMA_7B, "float32"),
    ("cls-minimal", "LlamaForSequenceClassification", dict(vocab_size=64, hidden_size=64, num_hidden_layers=1),
     "bfloat16"),
    ("cls-3-labels", "LlamaForSequenceClassification", dict(LLAMA, num_labels=3), "float16"),
    ("cls-7b", "LlamaForSequenceClassification", dict(LLAMA_7B, num_labels=1), "bfloat16"),
    ("tokens-5-labels", "LlamaForTokenClassification", dict(LLAMA, num_labels=5), "float32"),
    ("qa-tiny", "LlamaForQuestionAnswering", LLAMA, "float16"),
    ("rope-scaling-minimal", "LlamaModel",
     dict(vocab_size=64, num_hidden_layers=1, partial_rotary_factor=0.5, rope_scaling=dict(type="linear", factor=2.0)),
     "float16"),
    ("rope-parameters-minimal", "LlamaModel",
     dict(vocab_size=64, num_hidden_layers=1,
          rope_parameters=dict(rope_type="linear", factor=2.0, rope_theta=500.0, partial_rotary_factor=0.75)),
     "float32"),
]
