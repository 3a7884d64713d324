"""RoBERTa: the cases of make_modules.py."""

TINY = dict(vocab_size=72, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=40,
            max_position_embeddings=20, type_vocab_size=3)
THREE_LABELS = dict(id2label={"0": "a", "1": "b", "2": "c"}, label2id={"a": 0, "b": 1, "c": 2})
ROBERTA_LARGE = dict(vocab_size=50265, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16,
                     intermediate_size=4096, max_position_embeddings=514, type_vocab_size=1)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "RobertaModel", dict(num_hidden_layers=1), "float32"),
    ("tiny", "RobertaModel", TINY, "bfloat16"),
    ("relative-key", "RobertaModel", dict(TINY, position_embedding_type="relative_key"), "float16"),
    ("decoder-cross-attention", "RobertaModel", dict(TINY, is_decoder=True, add_cross_attention=True), "float32"),
    ("mlm-minimal", "RobertaForMaskedLM", dict(num_hidden_layers=1), "float16"),
    ("mlm-untied", "RobertaForMaskedLM", dict(TINY, tie_word_embeddings=False), "float32"),
    ("lm-decoder", "RobertaForCausalLM", dict(TINY, is_decoder=True), "bfloat16"),
    ("lm-cross-attention-relative-untied", "RobertaForCausalLM",
     dict(TINY, is_decoder=True, add_cross_attention=True, tie_word_embeddings=False, hidden_act="gelu_new",
          position_embedding_type="relative_key_query"), "float32"),
    ("cls-minimal", "RobertaForSequenceClassification", dict(num_hidden_layers=1), "float32"),
    ("cls-3-labels", "RobertaForSequenceClassification", dict(TINY, **THREE_LABELS), "float16"),
    ("token-3-labels", "RobertaForTokenClassification", dict(TINY, **THREE_LABELS), "bfloat16"),
    ("qa-tiny", "RobertaForQuestionAnswering", TINY, "float32"),
    ("choice-tiny", "RobertaForMultipleChoice", TINY, "float16"),
    ("mlm-large", "RobertaForMaskedLM", ROBERTA_LARGE, "float16"),
    ("cls-large", "RobertaForSequenceClassification", dict(ROBERTA_LARGE, **THREE_LABELS), "float32"),
]
