"""XLM-RoBERTa-XL: the cases of make_modules.py."""

TINY = dict(vocab_size=72, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=40,
            max_position_embeddings=20, type_vocab_size=3)
THREE_LABELS = dict(id2label={"0": "a", "1": "b", "2": "c"}, label2id={"a": 0, "b": 1, "c": 2})
XLM_ROBERTA_XL = dict(vocab_size=250880, hidden_size=2560, num_hidden_layers=36, num_attention_heads=32,
                      intermediate_size=10240, max_position_embeddings=514, type_vocab_size=1)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "XLMRobertaXLModel", dict(num_hidden_layers=1), "float32"),
    ("tiny", "XLMRobertaXLModel", TINY, "bfloat16"),
    ("relative-key", "XLMRobertaXLModel", dict(TINY, position_embedding_type="relative_key"), "float16"),
    ("decoder-cross-attention", "XLMRobertaXLModel", dict(TINY, is_decoder=True, add_cross_attention=True), "float32"),
    ("mlm-minimal", "XLMRobertaXLForMaskedLM", dict(num_hidden_layers=1), "float16"),
    ("mlm-untied", "XLMRobertaXLForMaskedLM", dict(TINY, tie_word_embeddings=False), "float32"),
    ("lm-decoder", "XLMRobertaXLForCausalLM", dict(TINY, is_decoder=True), "bfloat16"),
    ("lm-cross-attention-relative-untied", "XLMRobertaXLForCausalLM",
     dict(TINY, is_decoder=True, add_cross_attention=True, tie_word_embeddings=False, hidden_act="gelu_new",
          position_embedding_type="relative_key_query"), "float32"),
    ("cls-minimal", "XLMRobertaXLForSequenceClassification", dict(num_hidden_layers=1), "float32"),
    ("cls-3-labels", "XLMRobertaXLForSequenceClassification", dict(TINY, **THREE_LABELS), "float16"),
    ("token-3-labels", "XLMRobertaXLForTokenClassification", dict(TINY, **THREE_LABELS), "bfloat16"),
    ("qa-tiny", "XLMRobertaXLForQuestionAnswering", TINY, "float32"),
    ("choice-tiny", "XLMRobertaXLForMultipleChoice", TINY, "float16"),
    ("mlm-xl", "XLMRobertaXLForMaskedLM", XLM_ROBERTA_XL, "float16"),
]
