"""Granite 4.0 (Mamba-2, attention and mixture of experts): the cases of make_modules.py."""

GRANITE = dict(vocab_size=80, hidden_size=48, intermediate_size=20, shared_intermediate_size=28, num_hidden_layers=3,
               num_attention_heads=6, num_key_value_heads=2, num_local_experts=5, mamba_n_heads=8, mamba_d_state=10,
               mamba_n_groups=2, layer_types=["mamba", "attention", "mamba"])
HYBRID_LAYERS = ["attention" if i % 10 == 5 else "mamba" for i in range(40)]
H_SMALL = dict(vocab_size=100352, hidden_size=4096, intermediate_size=768, shared_intermediate_size=1536,
               num_hidden_layers=40, num_attention_heads=32, num_key_value_heads=8, num_local_experts=72,
               num_experts_per_tok=10, mamba_n_heads=128, mamba_d_head=64, mamba_d_state=128, mamba_n_groups=1,
               layer_types=HYBRID_LAYERS, position_embedding_type="nope", tie_word_embeddings=True)
MICRO = dict(vocab_size=100352, hidden_size=2560, intermediate_size=8192, shared_intermediate_size=8192,
             num_hidden_layers=40, num_attention_heads=40, num_key_value_heads=8, num_local_experts=0,
             num_experts_per_tok=0, mamba_n_heads=80, mamba_d_head=64, layer_types=["attention"] * 40,
             position_embedding_type="rope", tie_word_embeddings=True)

# transformers 4 wants layer_types to be listed
# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "GraniteMoeHybridForCausalLM", dict(num_hidden_layers=2), "bfloat16", 5),
    ("listed-layers-minimal", "GraniteMoeHybridForCausalLM",
     dict(num_hidden_layers=2, layer_types=["mamba", "attention"]), "bfloat16"),
    ("null-layers-minimal", "GraniteMoeHybridForCausalLM",
     dict(GRANITE, layer_types=None, mamba_d_head="auto"), "float16", 5),
    ("layer-types-minimal", "GraniteMoeHybridForCausalLM", GRANITE, "float16"),
    ("hybrid", "GraniteMoeHybridForCausalLM", GRANITE, "float16"),
    ("rope", "GraniteMoeHybridForCausalLM", dict(GRANITE, position_embedding_type="rope", attention_bias=True),
     "float32"),
    ("no-experts", "GraniteMoeHybridForCausalLM", dict(GRANITE, num_local_experts=0, num_key_value_heads=None),
     "bfloat16"),
    ("tied-biases", "GraniteMoeHybridForCausalLM",
     dict(GRANITE, tie_word_embeddings=True, mamba_proj_bias=True, mamba_conv_bias=False, mamba_expand=3,
          mamba_d_conv=5, mamba_d_head=18), "float32"),
    ("base", "GraniteMoeHybridModel", dict(GRANITE, hidden_act="gelu"), "float16"),
    ("h-small", "GraniteMoeHybridForCausalLM", H_SMALL, "bfloat16"),
    ("micro", "GraniteMoeHybridForCausalLM", MICRO, "bfloat16"),
]
