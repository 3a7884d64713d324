"""CamemBERT: the cases of make_modules.py."""

TINY = dict(vocab_size=72, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=40,
            max_position_embeddings=20, type_vocab_size=3)
THREE_LABELS = dict(id2label={"0": "a", "1": "b", "2": "c"}, label2id={"a": 0, "b": 1, "c": 2})
CAMEMBERT_BASE = dict(vocab_size=32005, hidden_size=768, num_hidden_layers=12, num_attention_heads=12,
                      intermediate_size=3072, max_position_embeddings=514, type_vocab_size=1)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "CamembertModel", dict(num_hidden_layers=1), "float32"),
    ("tiny", "CamembertModel", TINY, "bfloat16"),
    ("relative-key", "CamembertModel", dict(TINY, position_embedding_type="relative_key"), "float16"),
    ("decoder-cross-attention", "CamembertModel", dict(TINY, is_decoder=True, add_cross_attention=True), "float32"),
    ("mlm-minimal", "CamembertForMaskedLM", dict(num_hidden_layers=1), "float16"),
    ("mlm-untied", "CamembertForMaskedLM", dict(TINY, tie_word_embeddings=False), "float32"),
    ("lm-decoder", "CamembertForCausalLM", dict(TINY, is_decoder=True), "bfloat16"),
    ("lm-cross-attention-relative-untied", "CamembertForCausalLM",
     dict(TINY, is_decoder=True, add_cross_attention=True, tie_word_embeddings=False, hidden_act="gelu_new",
          position_embedding_type="relative_key_query"), "float32"),
    ("cls-minimal", "CamembertForSequenceClassification", dict(num_hidden_layers=1), "float32"),
    ("cls-3-labels", "CamembertForSequenceClassification", dict(TINY, **THREE_LABELS), "float16"),
    ("token-3-labels", "CamembertForTokenClassification", dict(TINY, **THREE_LABELS), "bfloat16"),
    ("qa-tiny", "CamembertForQuestionAnswering", TINY, "float32"),
    ("choice-tiny", "CamembertForMultipleChoice", TINY, "float16"),
    ("mlm-base", "CamembertForMaskedLM", CAMEMBERT_BASE, "float32"),
]
