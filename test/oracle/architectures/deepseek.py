"""DeepSeek-V2, DeepSeek-V3 and Kimi K2: the cases of make_modules.py."""

V2_LITE = dict(vocab_size=102400, hidden_size=2048, intermediate_size=10944, num_hidden_layers=5,
               num_attention_heads=16, num_key_value_heads=16, n_routed_experts=64, n_shared_experts=2,
               moe_intermediate_size=1408, first_k_dense_replace=1, kv_lora_rank=512, q_lora_rank=None,
               qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128, num_experts_per_tok=6)
V2 = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
          num_key_value_heads=2, n_routed_experts=3, n_shared_experts=2, moe_intermediate_size=20,
          first_k_dense_replace=1, kv_lora_rank=14, q_lora_rank=18, qk_nope_head_dim=6, qk_rope_head_dim=4,
          v_head_dim=10, num_experts_per_tok=2)
V3_671B = dict(vocab_size=129280, hidden_size=7168, intermediate_size=18432, num_hidden_layers=61,
               num_attention_heads=128, num_key_value_heads=128, n_routed_experts=256, n_shared_experts=1,
               moe_intermediate_size=2048, first_k_dense_replace=3, kv_lora_rank=512, q_lora_rank=1536,
               qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128, num_experts_per_tok=8)
V3 = dict(V2, n_shared_experts=1, n_group=1, topk_group=1)
KIMI_K2 = dict(V3_671B, model_type="kimi_k2", vocab_size=163840, num_hidden_layers=3, num_attention_heads=64,
               num_key_value_heads=64, n_routed_experts=384, first_k_dense_replace=1)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "DeepseekV2ForCausalLM", dict(num_hidden_layers=1, vocab_size=64), "bfloat16"),
    ("vocabulary-minimal", "DeepseekV2Model", {k: v for k, v in V2.items() if k != "vocab_size"}, "float32"),
    ("v2-lite", "DeepseekV2ForCausalLM", V2_LITE, "bfloat16"),
    ("tiny", "DeepseekV2ForCausalLM", dict(V2, tie_word_embeddings=True), "float16"),
    ("biases", "DeepseekV2ForCausalLM", dict(V2, attention_bias=True, mlp_bias=True), "float32"),
    ("no-query-rank", "DeepseekV2Model", dict(V2, q_lora_rank=None, attention_bias=True), "float16"),
    ("no-shared-expert-minimal", "DeepseekV2Model", dict(V2, n_shared_experts=None), "float32", 4),
    ("sequence-classification", "DeepseekV2ForSequenceClassification", dict(V2, num_labels=5), "bfloat16"),
    ("minimal", "DeepseekV3ForCausalLM", dict(num_hidden_layers=4), "bfloat16"),
    ("671b", "DeepseekV3ForCausalLM", dict(V3_671B, num_hidden_layers=5), "bfloat16"),
    ("671b-full-depth", "DeepseekV3ForCausalLM", V3_671B, "bfloat16", 5),
    ("tiny", "DeepseekV3ForCausalLM", dict(V3, tie_word_embeddings=True), "float16"),
    ("biases", "DeepseekV3ForCausalLM", dict(V3, attention_bias=True, n_shared_experts=3), "float32"),
    ("no-query-rank", "DeepseekV3Model", dict(V3, q_lora_rank=None), "float16"),
    ("sequence-classification", "DeepseekV3ForSequenceClassification", dict(V3, num_labels=5), "bfloat16"),
    ("token-classification", "DeepseekV3ForTokenClassification", V3, "float32"),
    ("kimi-k2-minimal", "DeepseekV3ForCausalLM", KIMI_K2, "bfloat16"),
]
