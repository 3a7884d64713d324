"""The text model of Gemma 3n: the cases of make_modules.py."""

CAUSAL, BASE = "Gemma3nForCausalLM", "Gemma3nTextModel"
TINY = dict(vocab_size=96, vocab_size_per_layer_input=80, hidden_size=32, hidden_size_per_layer_input=12,
            intermediate_size=48, num_hidden_layers=5, num_attention_heads=4, num_key_value_heads=2, head_dim=10,
            num_kv_shared_layers=2, altup_num_inputs=3, laurel_rank=5, sliding_window=7,
            layer_types=["sliding_attention", "full_attention", "sliding_attention", "full_attention",
                         "sliding_attention"])
LOCAL = ["sliding_attention"] * 4 + ["full_attention"]
E4B = dict(
    vocab_size=262400, vocab_size_per_layer_input=262144, hidden_size=2048, hidden_size_per_layer_input=256,
    intermediate_size=[16384] * 35, num_hidden_layers=35, num_attention_heads=8, num_key_value_heads=2, head_dim=256,
    num_kv_shared_layers=15, altup_num_inputs=4, laurel_rank=64, sliding_window=512, layer_types=LOCAL * 7,
    activation_sparsity_pattern=[0.95] * 10 + [0.0] * 25)
E2B = dict(E4B, intermediate_size=[8192] * 30, num_hidden_layers=30, num_kv_shared_layers=10, layer_types=LOCAL * 6,
           activation_sparsity_pattern=[0.95] * 10 + [0.0] * 20)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", CAUSAL, dict(num_hidden_layers=6, num_kv_shared_layers=1), "bfloat16"),
    ("e4b-minimal", CAUSAL, E4B, "bfloat16"),
    ("e2b", CAUSAL, E2B, "float16"),
    ("tiny", CAUSAL, TINY, "float32"),
    ("untied-minimal", CAUSAL, dict(TINY, tie_word_embeddings=False), "float16"),
    ("no sharing", CAUSAL, dict(TINY, num_kv_shared_layers=0, attention_bias=True), "bfloat16"),
    ("sizes of layers", CAUSAL, dict(TINY, intermediate_size=[40, 44, 48, 52, 56], hidden_activation="silu"), "float32"),
    ("base", BASE, dict(TINY, attention_bias=True, altup_num_inputs=2), "float16"),
    ("base-minimal", BASE, dict(TINY, layer_types=None, num_hidden_layers=11, num_kv_shared_layers=5), "bfloat16"),
    ("no other inputs", BASE, dict(TINY, altup_num_inputs=1), "float32"),
]
