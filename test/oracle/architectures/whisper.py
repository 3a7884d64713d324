"""Whisper: the cases of make_modules.py."""

TINY = dict(vocab_size=70, num_mel_bins=10, d_model=24, encoder_layers=2, decoder_layers=3, encoder_ffn_dim=36,
            decoder_ffn_dim=44, encoder_attention_heads=4, decoder_attention_heads=3, max_source_positions=50,
            max_target_positions=30, pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2,
            begin_suppress_tokens=[3, 2])
ONE_LAYER = dict(encoder_layers=1, decoder_layers=1)
UNTIED = dict(TINY, tie_word_embeddings=False)
LABELS = dict(id2label={str(i): name for i, name in enumerate("abcde")},
              label2id={name: i for i, name in enumerate("abcde")})
LARGE_V3 = dict(vocab_size=51866, num_mel_bins=128, d_model=1280, encoder_layers=32, decoder_layers=32,
                encoder_ffn_dim=5120, decoder_ffn_dim=5120, encoder_attention_heads=20, decoder_attention_heads=20,
                max_source_positions=1500, max_target_positions=448, num_hidden_layers=32)
DISTIL_LARGE_V3 = dict(LARGE_V3, decoder_layers=2)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "WhisperForConditionalGeneration", ONE_LAYER, "float32"),
    ("tiny", "WhisperForConditionalGeneration", dict(TINY, scale_embedding=True), "float16"),
    ("untied", "WhisperForConditionalGeneration", dict(UNTIED, activation_function="relu"), "bfloat16"),
    ("large-v3", "WhisperForConditionalGeneration", LARGE_V3, "float16"),
    ("distil-large-v3-minimal", "WhisperForConditionalGeneration", DISTIL_LARGE_V3, "float32"),
    ("base-model-minimal", "WhisperModel", {}, "bfloat16"),
    ("base-model", "WhisperModel", TINY, "float32"),
    ("audio-minimal", "WhisperForAudioClassification", dict(ONE_LAYER, num_labels=7), "float32"),
    ("audio", "WhisperForAudioClassification", dict(TINY, classifier_proj_size=20, **LABELS), "float16"),
    ("audio-weighted", "WhisperForAudioClassification",
     dict(TINY, use_weighted_layer_sum=True, classifier_proj_size=20), "bfloat16"),
    ("audio-weighted-minimal", "WhisperForAudioClassification",
     dict(encoder_layers=3, num_hidden_layers=3, use_weighted_layer_sum=True), "float16"),
    ("causal-minimal", "WhisperForCausalLM", ONE_LAYER, "float32"),
    ("causal", "WhisperForCausalLM", TINY, "float16"),
    ("causal-untied", "WhisperForCausalLM", UNTIED, "bfloat16"),
]
