"""DeBERTa-v2 and v3: the cases of make_modules.py."""

TINY = dict(vocab_size=72, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=40,
            max_position_embeddings=20)
RELATIVE = dict(TINY, relative_attention=True, max_relative_positions=-1, position_biased_input=False)
THREE_LABELS = dict(id2label={"0": "a", "1": "b", "2": "c"}, label2id={"a": 0, "b": 1, "c": 2})
DEBERTA_V3_LARGE = dict(vocab_size=128100, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16,
                        intermediate_size=4096, max_position_embeddings=512, type_vocab_size=0,
                        relative_attention=True, max_relative_positions=-1, position_buckets=256,
                        norm_rel_ebd="layer_norm", share_att_key=True, position_biased_input=False,
                        pos_att_type="p2c|c2p", pooler_hidden_size=1024)
DEBERTA_V2_XLARGE = dict(vocab_size=128100, hidden_size=1536, num_hidden_layers=24, num_attention_heads=24,
                         intermediate_size=6144, max_position_embeddings=512, type_vocab_size=0,
                         attention_head_size=64, relative_attention=True, max_relative_positions=-1,
                         position_buckets=256, norm_rel_ebd="layer_norm", share_att_key=True,
                         position_biased_input=False, pos_att_type="p2c|c2p", conv_kernel_size=3, conv_act="gelu")

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "DebertaV2Model", dict(num_hidden_layers=1), "float32"),
    ("relative-c2p", "DebertaV2Model", dict(RELATIVE, pos_att_type=["c2p"], max_relative_positions=7), "bfloat16"),
    ("relative-p2c", "DebertaV2Model", dict(RELATIVE, pos_att_type="P2C | none", type_vocab_size=3), "float16"),
    ("relative-shared", "DebertaV2Model",
     dict(RELATIVE, share_att_key=True, pos_att_type="c2p|p2c", position_buckets=6, norm_rel_ebd="Layer_Norm|x"),
     "float32"),
    ("head-size", "DebertaV2Model", dict(TINY, attention_head_size=5), "float32"),
    ("convolution", "DebertaV2Model", dict(TINY, conv_kernel_size=5, conv_groups=4), "float16"),
    ("embedding-size", "DebertaV2Model", dict(TINY, embedding_size=12), "float32"),
    ("v2-xlarge", "DebertaV2Model", DEBERTA_V2_XLARGE, "float16"),
    ("mlm-v3-large", "DebertaV2ForMaskedLM", DEBERTA_V3_LARGE, "float16"),
    ("mlm-untied", "DebertaV2ForMaskedLM", dict(RELATIVE, tie_word_embeddings=False), "float32"),
    ("mlm-embedding-size", "DebertaV2ForMaskedLM", dict(TINY, embedding_size=12), "bfloat16"),
    ("mlm-not-legacy", "DebertaV2ForMaskedLM", dict(TINY, legacy=False), "float32"),
    ("mlm-not-legacy-untied", "DebertaV2ForMaskedLM", dict(TINY, legacy=False, tie_word_embeddings=False), "float16"),
    ("cls-3-labels", "DebertaV2ForSequenceClassification", dict(TINY, **THREE_LABELS), "float16"),
    ("cls-pooler-minimal", "DebertaV2ForSequenceClassification", dict(TINY, pooler_hidden_size=20), "float32"),
    ("cls-v3-large", "DebertaV2ForSequenceClassification", dict(DEBERTA_V3_LARGE, **THREE_LABELS), "float32"),
    ("token-3-labels", "DebertaV2ForTokenClassification", dict(TINY, **THREE_LABELS), "bfloat16"),
    ("qa-tiny", "DebertaV2ForQuestionAnswering", RELATIVE, "float32"),
    ("choice-tiny", "DebertaV2ForMultipleChoice", TINY, "float32"),
]
