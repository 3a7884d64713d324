"""Pegasus: the cases of make_modules.py."""

TINY = dict(vocab_size=70, d_model=24, encoder_layers=2, decoder_layers=3, encoder_ffn_dim=36, decoder_ffn_dim=44,
            encoder_attention_heads=4, decoder_attention_heads=3, max_position_embeddings=30, pad_token_id=1,
            bos_token_id=0, eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=2)
ONE_LAYER = dict(encoder_layers=1, decoder_layers=1)
UNTIED = dict(TINY, tie_word_embeddings=False)
XSUM = dict(vocab_size=96103, d_model=1024, encoder_layers=16, decoder_layers=16, encoder_ffn_dim=4096,
    decoder_ffn_dim=4096, encoder_attention_heads=16, decoder_attention_heads=16, max_position_embeddings=512,
    activation_function="relu", scale_embedding=True)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "PegasusForConditionalGeneration", ONE_LAYER, "float32"),
    ("tiny", "PegasusForConditionalGeneration", dict(TINY, scale_embedding=True), "float16"),
    ("untied", "PegasusForConditionalGeneration", dict(UNTIED, activation_function="swish"), "bfloat16"),
    ("xsum", "PegasusForConditionalGeneration", XSUM, "float16"),
    ("base-model-minimal", "PegasusModel", dict(ONE_LAYER, d_model=64), "bfloat16"),
    ("base-model", "PegasusModel", TINY, "float32"),
    ("base-model-untied", "PegasusModel", UNTIED, "float16"),
    ("base-xsum", "PegasusModel", XSUM, "float32"),
    ("causal-minimal", "PegasusForCausalLM", dict(ONE_LAYER, d_model=32), "float32"),
    ("causal", "PegasusForCausalLM", TINY, "float16"),
    ("causal-untied", "PegasusForCausalLM", UNTIED, "bfloat16"),
]
