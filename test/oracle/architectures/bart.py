"""BART: the cases of make_modules.py."""

TINY = dict(vocab_size=70, d_model=24, encoder_layers=2, decoder_layers=3, encoder_ffn_dim=36, decoder_ffn_dim=44,
            encoder_attention_heads=4, decoder_attention_heads=3, max_position_embeddings=30, pad_token_id=1,
            bos_token_id=0, eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=2)
ONE_LAYER = dict(encoder_layers=1, decoder_layers=1)
# Over a million parameters: make_modules.py then trusts its own rule of what is saved. The real one saves a model that
# was not made on the meta device, and only there these embeddings stay one tensor.
UNTIED = dict(TINY, vocab_size=60000, tie_word_embeddings=False)
FOUR_LABELS = dict(id2label={str(i): name for i, name in enumerate("abcd")},
                   label2id={name: i for i, name in enumerate("abcd")})
LARGE = dict(vocab_size=50265, d_model=1024, encoder_layers=12, decoder_layers=12, encoder_ffn_dim=4096,
    decoder_ffn_dim=4096, encoder_attention_heads=16, decoder_attention_heads=16, max_position_embeddings=1024,
    activation_function="gelu")

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "BartForConditionalGeneration", ONE_LAYER, "float32"),
    ("tiny", "BartForConditionalGeneration", dict(TINY, scale_embedding=True), "float16"),
    ("untied", "BartForConditionalGeneration", dict(UNTIED, activation_function="swish"), "bfloat16"),
    ("large", "BartForConditionalGeneration", LARGE, "float16"),
    ("base-model-minimal", "BartModel", dict(ONE_LAYER, d_model=64), "bfloat16"),
    ("base-model", "BartModel", TINY, "float32"),
    ("base-model-untied", "BartModel", UNTIED, "float16"),
    ("base-large", "BartModel", LARGE, "float32"),
    ("cls-minimal", "BartForSequenceClassification", dict(ONE_LAYER, d_model=32), "float32"),
    ("cls-num-labels-minimal", "BartForSequenceClassification", dict(ONE_LAYER, d_model=32, num_labels=5), "float16"),
    ("cls-labels", "BartForSequenceClassification", dict(TINY, **FOUR_LABELS), "bfloat16"),
    ("cls-untied", "BartForSequenceClassification", UNTIED, "float32"),
    ("qa", "BartForQuestionAnswering", TINY, "float16"),
    ("qa-minimal", "BartForQuestionAnswering", dict(ONE_LAYER, d_model=32, num_labels=5), "float32"),
    ("causal-minimal", "BartForCausalLM", dict(ONE_LAYER, d_model=32), "float32"),
    ("causal", "BartForCausalLM", TINY, "float16"),
    ("causal-untied", "BartForCausalLM", UNTIED, "bfloat16"),
]
