"""LLaVA: the cases of make_modules.py."""

CLIP = dict(model_type="clip_vision_model", hidden_size=24, intermediate_size=40, num_hidden_layers=2,
            num_attention_heads=3, image_size=28, patch_size=7)
SIGLIP = dict(CLIP, model_type="siglip_vision_model", vision_use_head=False)
LLAMA = dict(model_type="llama", vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
             num_attention_heads=4, num_key_value_heads=2)
LLAVA_15_7B = dict(
    vision_config=dict(model_type="clip_vision_model", hidden_size=1024, intermediate_size=4096,
                       num_hidden_layers=24, num_attention_heads=16, image_size=336, patch_size=14,
                       projection_dim=768, vocab_size=32000),
    text_config=dict(model_type="llama", vocab_size=32064, hidden_size=4096, intermediate_size=11008,
                     num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=32),
    vision_feature_layer=-2, projector_hidden_act="gelu", tie_word_embeddings=False)
TINY = dict(vision_config=CLIP, text_config=LLAMA)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "LlavaForConditionalGeneration", {}, "bfloat16"),
    ("types-minimal", "LlavaForConditionalGeneration",
     dict(vision_config=dict(num_hidden_layers=1), text_config=dict(num_hidden_layers=1)), "float16"),
    ("1.5-7b", "LlavaForConditionalGeneration", LLAVA_15_7B, "float16"),
    ("tiny", "LlavaForConditionalGeneration", TINY, "float32"),
    ("text-tied", "LlavaForConditionalGeneration",
     dict(TINY, text_config=dict(LLAMA, tie_word_embeddings=True)), "float16"),
    ("tied-outside-minimal", "LlavaForConditionalGeneration", dict(TINY, tie_word_embeddings=True), "float16"),
    ("projector", "LlavaForConditionalGeneration",
     dict(TINY, multimodal_projector_bias=False, projector_hidden_act="relu", vision_feature_layer=[-2, -5, 1]),
     "float32"),
    ("siglip-qwen2", "LlavaForConditionalGeneration",
     dict(vision_config=SIGLIP, text_config=dict(LLAMA, model_type="qwen2")), "bfloat16"),
    ("mistral", "LlavaForConditionalGeneration",
     dict(TINY, text_config=dict(LLAMA, model_type="mistral")), "bfloat16"),
    ("base", "LlavaModel", TINY, "float16"),
]
