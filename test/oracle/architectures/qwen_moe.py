"""Qwen2-MoE and Qwen3-MoE: the cases of make_modules.py."""

QWEN15_MOE_A27B = dict(vocab_size=151936, hidden_size=2048, intermediate_size=5632, num_hidden_layers=3,
                       num_attention_heads=16, num_key_value_heads=16, num_experts=60, moe_intermediate_size=1408,
                       shared_expert_intermediate_size=5632, tie_word_embeddings=False)
QWEN2 = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, num_experts=3, num_experts_per_tok=2, moe_intermediate_size=20,
             shared_expert_intermediate_size=28, max_position_embeddings=64)
QWEN3_30B_A3B = dict(vocab_size=151936, hidden_size=2048, intermediate_size=6144, num_hidden_layers=48,
                     num_attention_heads=32, num_key_value_heads=4, head_dim=128, num_experts=128,
                     moe_intermediate_size=768, tie_word_embeddings=False)
QWEN3_CODER_30B = dict(QWEN3_30B_A3B, intermediate_size=5472, num_hidden_layers=6, shared_expert_intermediate_size=0,
                       qkv_bias=False, use_qk_norm=True)
QWEN3 = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, num_experts=3, num_experts_per_tok=2, moe_intermediate_size=20, head_dim=12,
             max_position_embeddings=64)
MIXED = dict(num_hidden_layers=5, decoder_sparse_step=2, mlp_only_layers=[1])

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "Qwen2MoeForCausalLM", dict(num_hidden_layers=2, num_experts=4), "bfloat16"),
    ("experts-minimal", "Qwen2MoeModel", dict(num_hidden_layers=1, num_key_value_heads=4), "float32"),
    ("1.5-a2.7b", "Qwen2MoeForCausalLM", QWEN15_MOE_A27B, "bfloat16"),
    ("dense-layers", "Qwen2MoeForCausalLM", dict(QWEN2, **MIXED), "float32"),
    ("no-experts", "Qwen2MoeForCausalLM", dict(QWEN2, num_experts=0), "float16"),
    ("no-bias-tied", "Qwen2MoeForCausalLM", dict(QWEN2, qkv_bias=False, tie_word_embeddings=True), "float16"),
    ("window", "Qwen2MoeModel",
     dict(QWEN2, num_hidden_layers=4, use_sliding_window=True, sliding_window=16, max_window_layers=2), "bfloat16"),
    ("sequence-classification", "Qwen2MoeForSequenceClassification", dict(QWEN2, num_labels=5), "float32"),
    ("token-classification", "Qwen2MoeForTokenClassification", QWEN2, "float16"),
    ("question-answering", "Qwen2MoeForQuestionAnswering", QWEN2, "bfloat16"),
    ("minimal", "Qwen3MoeForCausalLM", dict(num_hidden_layers=1), "bfloat16"),
    ("head-dim-minimal", "Qwen3MoeModel", dict(QWEN3, num_key_value_heads=4, head_dim=16), "float32"),
    ("30b-a3b-full-depth", "Qwen3MoeForCausalLM", QWEN3_30B_A3B, "bfloat16", 5),
    ("coder-30b-a3b", "Qwen3MoeForCausalLM", QWEN3_CODER_30B, "bfloat16"),
    ("dense-layers", "Qwen3MoeForCausalLM", dict(QWEN3, **MIXED), "float32"),
    ("bias-tied", "Qwen3MoeForCausalLM", dict(QWEN3, attention_bias=True, tie_word_embeddings=True), "float16"),
    ("window", "Qwen3MoeModel", dict(QWEN3, use_sliding_window=True, sliding_window=16), "bfloat16"),
    ("sequence-classification", "Qwen3MoeForSequenceClassification", dict(QWEN3, num_labels=5), "float32"),
    ("token-classification", "Qwen3MoeForTokenClassification", QWEN3, "float16"),
    ("question-answering", "Qwen3MoeForQuestionAnswering", QWEN3, "bfloat16"),
]
