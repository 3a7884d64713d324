"""Qwen3-Next: the cases of make_modules.py."""

QWEN3_NEXT_80B = dict(vocab_size=151936, hidden_size=2048, intermediate_size=5120, num_hidden_layers=48,
                      num_attention_heads=16, num_key_value_heads=2, head_dim=256, linear_conv_kernel_dim=4,
                      linear_key_head_dim=128, linear_value_head_dim=128, linear_num_key_heads=16,
                      linear_num_value_heads=32, num_experts=512, moe_intermediate_size=512,
                      shared_expert_intermediate_size=512, partial_rotary_factor=0.25)
TINY = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4,
            num_key_value_heads=2, head_dim=16, linear_conv_kernel_dim=3, linear_key_head_dim=6,
            linear_value_head_dim=10, linear_num_key_heads=2, linear_num_value_heads=4, num_experts=3,
            num_experts_per_tok=2, moe_intermediate_size=20, shared_expert_intermediate_size=28)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "Qwen3NextForCausalLM", dict(num_hidden_layers=4, num_experts=4), "bfloat16"),
    ("experts-minimal", "Qwen3NextModel", dict(num_hidden_layers=1), "float32"),
    ("80b-a3b", "Qwen3NextForCausalLM", dict(QWEN3_NEXT_80B, num_hidden_layers=4), "bfloat16", 4),
    ("80b-a3b-full-depth", "Qwen3NextForCausalLM", QWEN3_NEXT_80B, "bfloat16", 5),
    ("tiny", "Qwen3NextForCausalLM", TINY, "float16"),
    ("interval-minimal", "Qwen3NextForCausalLM", dict(TINY, full_attention_interval=2), "float32"),
    ("bias-tied", "Qwen3NextForCausalLM", dict(TINY, attention_bias=True, tie_word_embeddings=True), "float16"),
    ("layer-types", "Qwen3NextModel",
     dict(TINY, layer_types=["full_attention", "linear_attention", "linear_attention", "full_attention"]), "float32"),
    ("dense-layers", "Qwen3NextModel", dict(TINY, decoder_sparse_step=2, mlp_only_layers=[1]), "bfloat16"),
    ("half-rotary", "Qwen3NextModel", dict(TINY, partial_rotary_factor=0.5), "float16"),
    ("sequence-classification", "Qwen3NextForSequenceClassification", dict(TINY, num_labels=5), "float32"),
    ("token-classification", "Qwen3NextForTokenClassification", TINY, "float16"),
    ("question-answering", "Qwen3NextForQuestionAnswering", TINY, "bfloat16"),
]
