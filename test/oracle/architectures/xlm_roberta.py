"""XLM-RoBERTa: the cases of make_modules.py."""

TINY = dict(vocab_size=72, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=40,
            max_position_embeddings=20, type_vocab_size=3)
THREE_LABELS = dict(id2label={"0": "a", "1": "b", "2": "c"}, label2id={"a": 0, "b": 1, "c": 2})
XLM_ROBERTA_BASE = dict(vocab_size=250002, hidden_size=768, num_hidden_layers=12, num_attention_heads=12,
                        intermediate_size=3072, max_position_embeddings=514, type_vocab_size=1)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "XLMRobertaModel", dict(num_hidden_layers=1), "float32"),
    ("tiny", "XLMRobertaModel", TINY, "bfloat16"),
    ("relative-key", "XLMRobertaModel", dict(TINY, position_embedding_type="relative_key"), "float16"),
    ("decoder-cross-attention", "XLMRobertaModel", dict(TINY, is_decoder=True, add_cross_attention=True), "float32"),
    ("mlm-minimal", "XLMRobertaForMaskedLM", dict(num_hidden_layers=1), "float16"),
    ("mlm-untied", "XLMRobertaForMaskedLM", dict(TINY, tie_word_embeddings=False), "float32"),
    ("lm-decoder", "XLMRobertaForCausalLM", dict(TINY, is_decoder=True), "bfloat16"),
    ("lm-cross-attention-relative-untied", "XLMRobertaForCausalLM",
     dict(TINY, is_decoder=True, add_cross_attention=True, tie_word_embeddings=False, hidden_act="gelu_new",
          position_embedding_type="relative_key_query"), "float32"),
    ("cls-minimal", "XLMRobertaForSequenceClassification", dict(num_hidden_layers=1), "float32"),
    ("cls-3-labels", "XLMRobertaForSequenceClassification", dict(TINY, **THREE_LABELS), "float16"),
    ("token-3-labels", "XLMRobertaForTokenClassification", dict(TINY, **THREE_LABELS), "bfloat16"),
    ("qa-tiny", "XLMRobertaForQuestionAnswering", TINY, "float32"),
    ("choice-tiny", "XLMRobertaForMultipleChoice", TINY, "float16"),
    ("mlm-base", "XLMRobertaForMaskedLM", XLM_ROBERTA_BASE, "float16"),
    ("token-base", "XLMRobertaForTokenClassification", dict(XLM_ROBERTA_BASE, **THREE_LABELS), "float32"),
]
