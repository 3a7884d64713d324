"""ModernBERT: the cases of make_modules.py."""

TINY = dict(vocab_size=72, hidden_size=24, intermediate_size=20, num_hidden_layers=4, num_attention_heads=3,
            max_position_embeddings=40, local_attention=8, pad_token_id=0, cls_token_id=1, sep_token_id=2,
            bos_token_id=1, eos_token_id=2)
THREE_LABELS = dict(id2label={"0": "a", "1": "b", "2": "c"}, label2id={"a": 0, "b": 1, "c": 2})
MODERNBERT_LARGE = dict(vocab_size=50368, hidden_size=1024, intermediate_size=2624, num_hidden_layers=28,
                        num_attention_heads=16, max_position_embeddings=8192)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "ModernBertModel", dict(num_hidden_layers=2), "float32"),
    ("one-layer-minimal", "ModernBertModel", dict(num_hidden_layers=1), "float16"),
    ("biases", "ModernBertModel", dict(TINY, norm_bias=True, attention_bias=True, mlp_bias=True), "bfloat16"),
    ("dropout", "ModernBertModel", dict(TINY, attention_dropout=0.1, hidden_activation="silu"), "float32"),
    ("global-layers", "ModernBertModel", dict(TINY, global_attn_every_n_layers=1), "float32"),
    ("sliding-layers", "ModernBertModel", dict(TINY, layer_types=["sliding_attention"] * 4), "float32", 5),
    ("mlm-tied", "ModernBertForMaskedLM", TINY, "float32"),
    ("mlm-untied", "ModernBertForMaskedLM",
     dict(TINY, tie_word_embeddings=False, decoder_bias=False, classifier_bias=True, classifier_activation="relu"),
     "bfloat16"),
    ("mlm-large", "ModernBertForMaskedLM", MODERNBERT_LARGE, "float16"),
    ("cls-3-labels", "ModernBertForSequenceClassification", dict(TINY, **THREE_LABELS), "float16"),
    ("token-3-labels", "ModernBertForTokenClassification", dict(TINY, **THREE_LABELS), "float32"),
    ("qa-tiny", "ModernBertForQuestionAnswering", TINY, "bfloat16"),
    ("choice-tiny", "ModernBertForMultipleChoice", TINY, "float32"),
]
