"""BLIP-2: the cases of make_modules.py."""

VISION = dict(hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3, image_size=28,
              patch_size=7)
QFORMER = dict(vocab_size=60, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=36,
               max_position_embeddings=20)
OPT = dict(model_type="opt", vocab_size=80, max_position_embeddings=28, hidden_size=48, num_hidden_layers=2,
           num_attention_heads=4, ffn_dim=40)
T5 = dict(model_type="t5", vocab_size=64, d_model=16, d_kv=6, d_ff=40, num_heads=4, num_layers=2,
          relative_attention_num_buckets=8)
TINY_OPT = dict(vision_config=VISION, qformer_config=QFORMER, text_config=OPT, num_query_tokens=5)
TINY_T5 = dict(vision_config=VISION, qformer_config=QFORMER, text_config=T5, num_query_tokens=5)
T5_GATED = dict(T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
OPT_2_7B = dict(
    vision_config={}, qformer_config={}, num_query_tokens=32,
    text_config=dict(model_type="opt", vocab_size=50272, max_position_embeddings=2048, hidden_size=2560,
                     num_hidden_layers=32, num_attention_heads=32, ffn_dim=10240, word_embed_proj_dim=2560))
FLAN_T5_XL = dict(
    vision_config={}, qformer_config={}, num_query_tokens=32,
    text_config=dict(model_type="t5", vocab_size=32128, d_model=2048, d_kv=64, d_ff=5120, num_heads=32, num_layers=24,
                     num_decoder_layers=24, feed_forward_proj="gated-gelu", tie_word_embeddings=False))

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "Blip2ForConditionalGeneration",
     dict(vision_config=dict(num_hidden_layers=1), qformer_config=dict(num_hidden_layers=2),
          text_config=dict(num_hidden_layers=1)), "float32"),
    ("opt-tiny", "Blip2ForConditionalGeneration", TINY_OPT, "float32"),
    ("opt-tiny", "Blip2ForConditionalGeneration", TINY_OPT, "float16"),
    ("opt-projected", "Blip2ForConditionalGeneration",
     dict(TINY_OPT, text_config=dict(OPT, word_embed_proj_dim=24, tie_word_embeddings=False)), "bfloat16"),
    ("text-input", "Blip2ForConditionalGeneration",
     dict(TINY_OPT, vision_config=dict(VISION, qkv_bias=False, hidden_act="relu"),
          qformer_config=dict(QFORMER, use_qformer_text_input=True, cross_attention_frequency=1,
                              hidden_act="relu")), "float32"),
    ("t5-tiny", "Blip2ForConditionalGeneration", TINY_T5, "float32"),
    ("t5-tiny", "Blip2ForConditionalGeneration", TINY_T5, "float16"),
    ("t5-gated", "Blip2ForConditionalGeneration", dict(TINY_T5, text_config=T5_GATED), "float16"),
    ("t5-gated", "Blip2ForConditionalGeneration", dict(TINY_T5, text_config=T5_GATED), "bfloat16"),
    ("base-opt", "Blip2Model", TINY_OPT, "float16"),
    ("base-t5", "Blip2Model", dict(TINY_T5, text_config=T5_GATED), "float32"),
    ("opt-2.7b", "Blip2ForConditionalGeneration", OPT_2_7B, "float16"),
    ("flan-t5-xl", "Blip2ForConditionalGeneration", FLAN_T5_XL, "float16"),
]
