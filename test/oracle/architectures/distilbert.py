"""DistilBERT: the cases of make_modules.py."""

TINY = dict(vocab_size=72, dim=16, hidden_dim=40, n_layers=2, n_heads=2, max_position_embeddings=20)
COMMON_NAMES = dict(vocab_size=72, hidden_size=24, hidden_dim=40, num_hidden_layers=3, num_attention_heads=3)
THREE_LABELS = dict(id2label={"0": "a", "1": "b", "2": "c"}, label2id={"a": 0, "b": 1, "c": 2})
DISTILBERT_BASE = dict(vocab_size=30522, dim=768, hidden_dim=3072, n_layers=6, n_heads=12,
                       max_position_embeddings=512)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "DistilBertModel", dict(n_layers=1), "float32"),
    ("tiny", "DistilBertModel", dict(TINY, activation="relu"), "bfloat16"),
    ("common-names-minimal", "DistilBertModel", COMMON_NAMES, "float32"),
    ("sinusoidal", "DistilBertModel", dict(TINY, sinusoidal_pos_embds=True), "float16"),
    ("mlm-minimal", "DistilBertForMaskedLM", dict(n_layers=1), "float32"),
    ("mlm-untied", "DistilBertForMaskedLM", dict(TINY, tie_word_embeddings=False), "bfloat16"),
    ("mlm-base", "DistilBertForMaskedLM", DISTILBERT_BASE, "float16"),
    ("cls-minimal", "DistilBertForSequenceClassification", dict(n_layers=1), "float16"),
    ("cls-3-labels", "DistilBertForSequenceClassification", dict(TINY, **THREE_LABELS), "float32"),
    ("cls-base", "DistilBertForSequenceClassification", DISTILBERT_BASE, "float32"),
    ("token-3-labels", "DistilBertForTokenClassification", dict(TINY, **THREE_LABELS), "bfloat16"),
    ("qa-tiny", "DistilBertForQuestionAnswering", TINY, "float32"),
    ("choice-tiny", "DistilBertForMultipleChoice", TINY, "float16"),
]
