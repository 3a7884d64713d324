"""BERT: the cases of make_modules.py."""

BERT_BASE = dict(vocab_size=30522, hidden_size=768, num_hidden_layers=2, num_attention_heads=12,
                 intermediate_size=3072, max_position_embeddings=512)
BERT = dict(vocab_size=72, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=40,
            max_position_embeddings=20)
FIVE_LABELS = dict(id2label={str(i): name for i, name in enumerate("abcde")},
                   label2id={name: i for i, name in enumerate("abcde")})

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "BertModel", dict(num_hidden_layers=1), "float32"),
    ("base", "BertModel", BERT_BASE, "float16"),
    ("relative-key", "BertModel", dict(BERT, position_embedding_type="relative_key"), "float32"),
    ("relative-key-query", "BertForMaskedLM", dict(BERT, position_embedding_type="relative_key_query"),
     "float16"),
    ("decoder-cross-attention", "BertModel", dict(BERT, is_decoder=True, add_cross_attention=True), "float32"),
    ("decoder", "BertModel", dict(BERT, is_decoder=True), "bfloat16"),
    ("mlm-base", "BertForMaskedLM", BERT_BASE, "float16"),
    ("mlm-untied", "BertForMaskedLM", dict(BERT, tie_word_embeddings=False), "float32"),
    ("cls-tiny", "BertForSequenceClassification", BERT, "bfloat16"),
    ("cls-5-labels", "BertForSequenceClassification", dict(BERT, **FIVE_LABELS), "float32"),
    ("cls-num-labels-minimal", "BertForSequenceClassification", dict(BERT, num_labels=7), "float32"),
    ("cls-base", "BertForSequenceClassification", BERT_BASE, "float16"),
    ("token-minimal", "BertForTokenClassification", dict(num_hidden_layers=1), "bfloat16"),
    ("token-5-labels", "BertForTokenClassification", dict(BERT, **FIVE_LABELS), "float32"),
    ("qa-minimal", "BertForQuestionAnswering", dict(num_hidden_layers=1), "float16"),
    ("qa-5-labels", "BertForQuestionAnswering", dict(BERT, **FIVE_LABELS), "float32"),
    ("qa-large", "BertForQuestionAnswering",
     dict(vocab_size=28996, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096),
     "float16"),
    ("pretraining-minimal", "BertForPreTraining", dict(num_hidden_layers=1), "float32"),
    ("pretraining-untied", "BertForPreTraining", dict(BERT, tie_word_embeddings=False, hidden_act="relu"), "bfloat16"),
    ("lm-decoder", "BertLMHeadModel", dict(BERT, is_decoder=True), "bfloat16"),
    ("lm-cross-attention-relative-untied", "BertLMHeadModel",
     dict(BERT, is_decoder=True, add_cross_attention=True, tie_word_embeddings=False,
          position_embedding_type="relative_key"), "float32"),
    ("nsp-tiny", "BertForNextSentencePrediction", BERT, "float16"),
    ("choice-tiny", "BertForMultipleChoice", dict(BERT, type_vocab_size=3), "float32"),
]
