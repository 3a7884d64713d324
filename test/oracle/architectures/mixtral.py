"""Mixtral: the cases of make_modules.py."""

MIXTRAL_8X7B = dict(vocab_size=32002, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
                    num_attention_heads=32, num_key_value_heads=8, max_position_embeddings=32768,
                    num_local_experts=8, num_experts_per_tok=2, sliding_window=None, tie_word_embeddings=False)
MIXTRAL = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
               num_key_value_heads=2, num_local_experts=3, num_experts_per_tok=2, max_position_embeddings=64)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "MixtralForCausalLM", dict(num_hidden_layers=1), "bfloat16"),
    ("head-dim-minimal", "MixtralModel", dict(MIXTRAL, head_dim=None), "float32"),
    ("kv-heads-minimal", "MixtralModel", dict(MIXTRAL, num_key_value_heads=None), "float32", 4),
    ("8x7b", "MixtralForCausalLM", MIXTRAL_8X7B, "bfloat16"),
    ("8x22b", "MixtralForCausalLM",
     dict(MIXTRAL_8X7B, vocab_size=32768, hidden_size=6144, intermediate_size=16384, num_hidden_layers=56,
          num_attention_heads=48), "float16"),
    ("window-head-dim", "MixtralForCausalLM", dict(MIXTRAL, sliding_window=16, head_dim=12), "float16"),
    ("tied", "MixtralForCausalLM", dict(MIXTRAL, tie_word_embeddings=True, hidden_act="gelu"), "float32"),
    ("base", "MixtralModel", MIXTRAL, "float16"),
    ("sequence-classification", "MixtralForSequenceClassification", dict(MIXTRAL, num_labels=5), "bfloat16"),
    ("token-classification", "MixtralForTokenClassification", MIXTRAL, "float32"),
    ("question-answering", "MixtralForQuestionAnswering", MIXTRAL, "float16"),
]
