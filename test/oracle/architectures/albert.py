"""ALBERT: the cases of make_modules.py."""

TINY = dict(vocab_size=72, embedding_size=12, hidden_size=16, num_hidden_layers=4, num_attention_heads=2,
            intermediate_size=40, max_position_embeddings=20, type_vocab_size=3)
THREE_LABELS = dict(id2label={"0": "a", "1": "b", "2": "c"}, label2id={"a": 0, "b": 1, "c": 2})
ALBERT_XXLARGE = dict(vocab_size=30000, embedding_size=128, hidden_size=4096, num_hidden_layers=12,
                      num_attention_heads=64, intermediate_size=16384, max_position_embeddings=512)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "AlbertModel", dict(), "float32"),
    ("groups", "AlbertModel", dict(TINY, num_hidden_groups=2), "bfloat16"),
    ("inner-groups", "AlbertModel", dict(TINY, num_hidden_groups=2, inner_group_num=3, hidden_act="relu"), "float32"),
    ("relative-key", "AlbertModel", dict(TINY, position_embedding_type="relative_key"), "float16"),
    ("mlm-tied", "AlbertForMaskedLM", TINY, "float32"),
    ("mlm-untied", "AlbertForMaskedLM", dict(TINY, tie_word_embeddings=False), "bfloat16"),
    ("mlm-xxlarge", "AlbertForMaskedLM", ALBERT_XXLARGE, "float16"),
    ("pretraining-minimal", "AlbertForPreTraining", dict(), "float16"),
    ("pretraining-3-labels", "AlbertForPreTraining", dict(TINY, **THREE_LABELS), "float32"),
    ("pretraining-untied", "AlbertForPreTraining", dict(TINY, tie_word_embeddings=False), "float32"),
    ("cls-3-labels", "AlbertForSequenceClassification", dict(TINY, **THREE_LABELS), "bfloat16"),
    ("token-3-labels", "AlbertForTokenClassification", dict(TINY, **THREE_LABELS), "float32"),
    ("qa-xxlarge", "AlbertForQuestionAnswering", ALBERT_XXLARGE, "float32"),
    ("choice-tiny", "AlbertForMultipleChoice", TINY, "float16"),
]
