"""Qwen2-VL and Qwen2.5-VL: the cases of make_modules.py."""

MROPE = dict(type="mrope", mrope_section=[1, 1, 2])
TEXT = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, rope_scaling=MROPE)
VISION = dict(depth=2, embed_dim=24, hidden_size=32, mlp_ratio=3, num_heads=3, in_channels=2, patch_size=7,
              spatial_merge_size=3, temporal_patch_size=2)
QWEN2_VL_7B = dict(
    vocab_size=152064, hidden_size=3584, intermediate_size=18944, num_hidden_layers=28, num_attention_heads=28,
    num_key_value_heads=4, tie_word_embeddings=False, rope_scaling=dict(type="mrope", mrope_section=[16, 24, 24]),
    vision_config=dict(depth=32, embed_dim=1280, mlp_ratio=4, num_heads=16, in_chans=3, hidden_size=3584,
                       patch_size=14, spatial_merge_size=2, spatial_patch_size=14, temporal_patch_size=2))
QWEN2_VL_2B = dict(
    QWEN2_VL_7B, vocab_size=151936, hidden_size=1536, intermediate_size=8960, num_attention_heads=12,
    num_key_value_heads=2, tie_word_embeddings=True, vision_config=dict(QWEN2_VL_7B["vision_config"], hidden_size=1536))
VISION_25 = dict(depth=2, hidden_size=24, intermediate_size=36, out_hidden_size=32, num_heads=3, in_channels=2,
                 patch_size=7, spatial_merge_size=3, temporal_patch_size=2)
QWEN25_VL_7B = dict(
    QWEN2_VL_7B, vision_config=dict(depth=32, hidden_act="silu", hidden_size=1280, intermediate_size=3420,
                                    num_heads=16, in_chans=3, out_hidden_size=3584, patch_size=14,
                                    spatial_merge_size=2, spatial_patch_size=14, window_size=112,
                                    fullatt_block_indexes=[7, 15, 23, 31], tokens_per_second=2, temporal_patch_size=2))
QWEN25_VL_3B = dict(
    QWEN25_VL_7B, vocab_size=151936, hidden_size=2048, intermediate_size=11008, num_hidden_layers=36,
    num_attention_heads=16, num_key_value_heads=2, tie_word_embeddings=True,
    vision_config=dict(QWEN25_VL_7B["vision_config"], out_hidden_size=2048))


def cases(prefix, vision, small, large):
    generation, base = f"{prefix}ForConditionalGeneration", f"{prefix}Model"
    tiny = dict(text_config=TEXT, vision_config=vision)
    return [
        ("minimal", generation, dict(vision_config=dict(depth=1), num_hidden_layers=1), "bfloat16"),
        ("nested-minimal", generation, dict(vision_config=vision, text_config=dict(num_hidden_layers=1)), "bfloat16"),
        ("large-flat-minimal", generation, large, "bfloat16"),
        ("small-flat-minimal", generation, small, "bfloat16"),
        ("large-saved", generation, large, "float16"),
        ("tiny", generation, tiny, "float32"),
        ("tied-minimal", generation, dict(tiny, tie_word_embeddings=True), "float16"),
        ("text-tied-minimal", generation, dict(tiny, text_config=dict(TEXT, tie_word_embeddings=True)), "float16"),
        ("window", generation,
         dict(tiny, text_config=dict(TEXT, use_sliding_window=True, sliding_window=16, max_window_layers=1)),
         "float32"),
        ("base", base, dict(tiny, vision_config=dict(vision, hidden_act="gelu")), "float16"),
    ]


# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    *cases("Qwen2VL", VISION, QWEN2_VL_2B, QWEN2_VL_7B),
    *cases("Qwen2_5_VL", VISION_25, QWEN25_VL_3B, QWEN25_VL_7B),
]
