"""Blenderbot: the cases of make_modules.py."""

TINY = dict(vocab_size=70, d_model=24, encoder_layers=2, decoder_layers=3, encoder_ffn_dim=36, decoder_ffn_dim=44,
            encoder_attention_heads=4, decoder_attention_heads=3, max_position_embeddings=30, pad_token_id=1,
            bos_token_id=0, eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=2)
ONE_LAYER = dict(encoder_layers=1, decoder_layers=1)
UNTIED = dict(TINY, tie_word_embeddings=False)
DISTILL = dict(vocab_size=8008, d_model=1280, encoder_layers=2, decoder_layers=12, encoder_ffn_dim=5120,
               decoder_ffn_dim=5120, encoder_attention_heads=32, decoder_attention_heads=32,
               max_position_embeddings=128, scale_embedding=True)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "BlenderbotForConditionalGeneration", ONE_LAYER, "float32"),
    ("tiny", "BlenderbotForConditionalGeneration", dict(TINY, scale_embedding=True), "float16"),
    ("untied", "BlenderbotForConditionalGeneration", dict(UNTIED, activation_function="swish"), "bfloat16"),
    ("400m-distill", "BlenderbotForConditionalGeneration", DISTILL, "float16"),
    ("base-model-minimal", "BlenderbotModel", dict(ONE_LAYER, d_model=64), "bfloat16"),
    ("base-model", "BlenderbotModel", TINY, "float32"),
    ("base-model-untied", "BlenderbotModel", UNTIED, "float16"),
    ("base-400m-distill", "BlenderbotModel", DISTILL, "float32"),
    ("causal-minimal", "BlenderbotForCausalLM", dict(ONE_LAYER, d_model=32), "float32"),
    ("causal", "BlenderbotForCausalLM", TINY, "float16"),
    ("causal-untied", "BlenderbotForCausalLM", UNTIED, "bfloat16"),
]
