"""DeBERTa: the cases of make_modules.py."""

TINY = dict(vocab_size=72, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=40,
            max_position_embeddings=20)
RELATIVE = dict(TINY, relative_attention=True, max_relative_positions=-1, position_biased_input=False)
THREE_LABELS = dict(id2label={"0": "a", "1": "b", "2": "c"}, label2id={"a": 0, "b": 1, "c": 2})
DEBERTA_BASE = dict(vocab_size=50265, hidden_size=768, num_hidden_layers=12, num_attention_heads=12,
                    intermediate_size=3072, max_position_embeddings=512, type_vocab_size=0,
                    relative_attention=True, max_relative_positions=-1, position_biased_input=False,
                    pos_att_type="c2p|p2c", pooler_dropout=0, pooler_hidden_act="gelu")

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "DebertaModel", dict(num_hidden_layers=1), "float32"),
    ("relative-c2p", "DebertaModel", dict(RELATIVE, pos_att_type=["c2p"], max_relative_positions=7), "bfloat16"),
    ("relative-p2c", "DebertaModel", dict(RELATIVE, pos_att_type="P2C", type_vocab_size=3), "float16"),
    ("talking-heads", "DebertaModel", dict(TINY, talking_head=True), "float32"),
    ("embedding-size", "DebertaModel", dict(TINY, embedding_size=12), "float32"),
    ("mlm-base", "DebertaForMaskedLM", DEBERTA_BASE, "float16"),
    ("mlm-untied", "DebertaForMaskedLM", dict(RELATIVE, tie_word_embeddings=False), "float32"),
    ("mlm-embedding-size", "DebertaForMaskedLM", dict(TINY, embedding_size=12), "bfloat16"),
    ("mlm-not-legacy", "DebertaForMaskedLM", dict(TINY, legacy=False), "float32"),
    ("cls-3-labels", "DebertaForSequenceClassification", dict(TINY, **THREE_LABELS), "float16"),
    ("cls-base", "DebertaForSequenceClassification", DEBERTA_BASE, "float32"),
    ("token-3-labels", "DebertaForTokenClassification", dict(TINY, **THREE_LABELS), "bfloat16"),
    ("qa-tiny", "DebertaForQuestionAnswering", RELATIVE, "float32"),
]
