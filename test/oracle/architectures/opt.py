"""OPT: the cases of make_modules.py."""

OPT = dict(vocab_size=80, max_position_embeddings=28, hidden_size=48, num_hidden_layers=2, num_attention_heads=4,
           ffn_dim=40)
OPT_350M = dict(vocab_size=50272, max_position_embeddings=2048, hidden_size=1024, num_hidden_layers=24,
                num_attention_heads=16, ffn_dim=4096, word_embed_proj_dim=512, do_layer_norm_before=False)
OPT_66B = dict(vocab_size=50272, max_position_embeddings=2048, hidden_size=9216, num_hidden_layers=64,
               num_attention_heads=72, ffn_dim=36864, word_embed_proj_dim=9216)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "OPTForCausalLM", dict(num_hidden_layers=2), "float16"),
    ("wide-minimal", "OPTForCausalLM", dict(OPT), "float16"),
    ("tiny", "OPTForCausalLM", OPT, "float32"),
    ("projected", "OPTForCausalLM", dict(OPT, word_embed_proj_dim=24), "bfloat16"),
    ("projected-untied", "OPTForCausalLM", dict(OPT, word_embed_proj_dim=24, tie_word_embeddings=False), "float16"),
    ("norm-after", "OPTForCausalLM", dict(OPT, do_layer_norm_before=False), "float32"),
    ("no-final-norm", "OPTForCausalLM", dict(OPT, _remove_final_layer_norm=True), "float32"),
    # More than a million parameters: transformers 4 fails to initialise norms without weights, though it loads them.
    ("no-bias", "OPTForCausalLM",
     dict(OPT, vocab_size=25000, enable_bias=False, layer_norm_elementwise_affine=False, activation_function="gelu"),
     "bfloat16"),
    ("base", "OPTModel", OPT, "float16"),
    ("cls", "OPTForSequenceClassification", dict(OPT, word_embed_proj_dim=24, num_labels=3), "float32"),
    ("qa", "OPTForQuestionAnswering", dict(OPT, word_embed_proj_dim=24, num_labels=5), "float16"),
    ("350m", "OPTForCausalLM", OPT_350M, "float16"),
    ("66b", "OPTForCausalLM", OPT_66B, "float16"),
]
