"""Blenderbot-small: the cases of make_modules.py."""

TINY = dict(vocab_size=70, d_model=24, encoder_layers=2, decoder_layers=3, encoder_ffn_dim=36, decoder_ffn_dim=44,
            encoder_attention_heads=4, decoder_attention_heads=3, max_position_embeddings=30, pad_token_id=1,
            bos_token_id=0, eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=2)
ONE_LAYER = dict(encoder_layers=1, decoder_layers=1)
UNTIED = dict(TINY, tie_word_embeddings=False)
SMALL = dict(vocab_size=54944, d_model=512, encoder_layers=8, decoder_layers=8, encoder_ffn_dim=2048,
             decoder_ffn_dim=2048, encoder_attention_heads=16, decoder_attention_heads=16, max_position_embeddings=512,
             scale_embedding=True)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "BlenderbotSmallForConditionalGeneration", ONE_LAYER, "float32"),
    ("tiny", "BlenderbotSmallForConditionalGeneration", dict(TINY, scale_embedding=True), "float16"),
    ("untied", "BlenderbotSmallForConditionalGeneration", dict(UNTIED, activation_function="swish"), "bfloat16"),
    ("90m", "BlenderbotSmallForConditionalGeneration", SMALL, "float16"),
    ("base-model-minimal", "BlenderbotSmallModel", dict(ONE_LAYER, d_model=64), "bfloat16"),
    ("base-model", "BlenderbotSmallModel", TINY, "float32"),
    ("base-model-untied", "BlenderbotSmallModel", UNTIED, "float16"),
    ("base-90m", "BlenderbotSmallModel", SMALL, "float32"),
    ("causal-minimal", "BlenderbotSmallForCausalLM", dict(ONE_LAYER, d_model=32), "float32"),
    ("causal", "BlenderbotSmallForCausalLM", TINY, "float16"),
    ("causal-untied", "BlenderbotSmallForCausalLM", UNTIED, "bfloat16"),
]
