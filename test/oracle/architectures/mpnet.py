"""MPNet: the cases of make_modules.py."""

TINY = dict(vocab_size=72, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=40,
            max_position_embeddings=20, relative_attention_num_buckets=6)
THREE_LABELS = dict(id2label={"0": "a", "1": "b", "2": "c"}, label2id={"a": 0, "b": 1, "c": 2})
MPNET_BASE = dict(vocab_size=30527, hidden_size=768, num_hidden_layers=12, num_attention_heads=12,
                  intermediate_size=3072, max_position_embeddings=514)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "MPNetModel", dict(num_hidden_layers=1), "float32"),
    ("tiny", "MPNetModel", dict(TINY, hidden_act="relu"), "bfloat16"),
    ("base", "MPNetModel", MPNET_BASE, "float32"),
    ("mlm-tied", "MPNetForMaskedLM", TINY, "float16"),
    ("mlm-untied", "MPNetForMaskedLM", dict(TINY, tie_word_embeddings=False), "float32"),
    ("mlm-base", "MPNetForMaskedLM", MPNET_BASE, "float16"),
    ("cls-3-labels", "MPNetForSequenceClassification", dict(TINY, **THREE_LABELS), "float16"),
    ("token-3-labels", "MPNetForTokenClassification", dict(TINY, **THREE_LABELS), "bfloat16"),
    ("qa-tiny", "MPNetForQuestionAnswering", TINY, "float32"),
    ("choice-tiny", "MPNetForMultipleChoice", TINY, "float32"),
]
