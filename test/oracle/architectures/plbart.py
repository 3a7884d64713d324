"""PLBart: the cases of make_modules.py."""

TINY = dict(vocab_size=70, d_model=24, encoder_layers=2, decoder_layers=3, encoder_ffn_dim=36, decoder_ffn_dim=44,
            encoder_attention_heads=4, decoder_attention_heads=3, max_position_embeddings=30, pad_token_id=1,
            bos_token_id=0, eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=2)
ONE_LAYER = dict(encoder_layers=1, decoder_layers=1)
# Over a million parameters: make_modules.py then trusts its own rule of what is saved. The real one saves a model that
# was not made on the meta device, and only there these embeddings stay one tensor.
UNTIED = dict(TINY, vocab_size=60000, tie_word_embeddings=False)
FOUR_LABELS = dict(id2label={str(i): name for i, name in enumerate("abcd")},
                   label2id={name: i for i, name in enumerate("abcd")})
BASE = dict(vocab_size=50005, d_model=768, encoder_layers=6, decoder_layers=6, encoder_ffn_dim=3072,
            decoder_ffn_dim=3072, encoder_attention_heads=12, decoder_attention_heads=12, max_position_embeddings=1024,
            scale_embedding=True)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "PLBartForConditionalGeneration", ONE_LAYER, "float32"),
    ("tiny", "PLBartForConditionalGeneration", dict(TINY, scale_embedding=True), "float16"),
    ("untied", "PLBartForConditionalGeneration", dict(UNTIED, activation_function="swish"), "bfloat16"),
    ("base", "PLBartForConditionalGeneration", BASE, "float16"),
    ("base-model-minimal", "PLBartModel", dict(ONE_LAYER, d_model=48), "bfloat16"),
    ("base-model", "PLBartModel", TINY, "float32"),
    ("base-model-untied", "PLBartModel", UNTIED, "float16"),
    ("base-base", "PLBartModel", BASE, "float32"),
    ("cls-minimal", "PLBartForSequenceClassification", dict(ONE_LAYER, d_model=36), "float32"),
    ("cls-num-labels-minimal", "PLBartForSequenceClassification", dict(ONE_LAYER, d_model=36, num_labels=5), "float16"),
    ("cls-labels", "PLBartForSequenceClassification", dict(TINY, **FOUR_LABELS), "bfloat16"),
    ("cls-untied", "PLBartForSequenceClassification", UNTIED, "float32"),
    ("causal-minimal", "PLBartForCausalLM", dict(ONE_LAYER, d_model=36), "float32"),
    ("causal", "PLBartForCausalLM", TINY, "float16"),
    ("causal-untied", "PLBartForCausalLM", UNTIED, "bfloat16"),
]
