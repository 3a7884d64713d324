"""Qwen3-VL and Qwen3-VL-MoE: the cases of make_modules.py."""

MROPE = dict(rope_type="default", mrope_section=[1, 1, 2], mrope_interleaved=True)
TEXT = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=8, rope_scaling=MROPE)
MOE_TEXT = dict(TEXT, moe_intermediate_size=20, num_experts=6, num_experts_per_tok=2, num_hidden_layers=3)
VISION = dict(depth=3, hidden_size=24, intermediate_size=36, out_hidden_size=32, num_heads=3, in_channels=2,
              patch_size=7, spatial_merge_size=3, temporal_patch_size=2, num_position_embeddings=25,
              deepstack_visual_indexes=[0, 2])
REAL_MROPE = dict(rope_type="default", mrope_section=[24, 20, 20], mrope_interleaved=True)
VISION_8B = dict(depth=27, hidden_size=1152, intermediate_size=4304, num_heads=16, out_hidden_size=4096, patch_size=16,
                 spatial_merge_size=2, temporal_patch_size=2, num_position_embeddings=2304,
                 deepstack_visual_indexes=[8, 16, 24], hidden_act="gelu_pytorch_tanh")
QWEN3_VL_8B = dict(
    text_config=dict(vocab_size=151936, hidden_size=4096, intermediate_size=12288, num_hidden_layers=36,
                     num_attention_heads=32, num_key_value_heads=8, head_dim=128, attention_bias=False,
                     rope_scaling=REAL_MROPE, rope_theta=5000000),
    vision_config=VISION_8B, tie_word_embeddings=False)
QWEN3_VL_4B = dict(
    text_config=dict(QWEN3_VL_8B["text_config"], hidden_size=2560, intermediate_size=9728, tie_word_embeddings=True),
    vision_config=dict(VISION_8B, depth=24, hidden_size=1024, intermediate_size=4096, out_hidden_size=2560,
                       deepstack_visual_indexes=[5, 11, 17]),
    tie_word_embeddings=True)
QWEN3_VL_30B = dict(
    text_config=dict(QWEN3_VL_8B["text_config"], hidden_size=2048, intermediate_size=6144, num_hidden_layers=48,
                     num_key_value_heads=4, moe_intermediate_size=768, num_experts=128, num_experts_per_tok=8,
                     decoder_sparse_step=1, mlp_only_layers=[]),
    vision_config=dict(VISION_8B, out_hidden_size=2048), tie_word_embeddings=False)


def cases(prefix, text, published):
    generation, base, text_only = f"{prefix}ForConditionalGeneration", f"{prefix}Model", f"{prefix}TextModel"
    tiny = dict(text_config=text, vision_config=VISION)
    default_text = dict(num_hidden_layers=1, rope_scaling=MROPE)
    return [
        ("minimal", generation, dict(vision_config=dict(depth=1), text_config=default_text), "bfloat16"),
        ("text-minimal", text_only, default_text, "float32"),
        *((f"published-{i}-minimal", generation, config, "bfloat16") for i, config in enumerate(published)),
        ("published-saved", generation, published[0], "float16"),
        ("tiny", generation, tiny, "float32"),
        ("tied-minimal", generation, dict(tiny, tie_word_embeddings=True), "float16"),
        ("text-tied-minimal", generation, dict(tiny, text_config=dict(text, tie_word_embeddings=True)), "float16"),
        ("biases", generation, dict(tiny, text_config=dict(text, attention_bias=True, hidden_act="gelu"),
                                    vision_config=dict(VISION, hidden_size=20, num_heads=2, hidden_act="silu",
                                                       deepstack_visual_indexes=[])),
         "bfloat16"),
        ("base", base, tiny, "float16"),
        ("text", text_only, dict(text, head_dim=12, num_key_value_heads=4, attention_bias=True), "bfloat16"),
    ]


MOE, MOE_TEXT_ONLY = "Qwen3VLMoeForConditionalGeneration", "Qwen3VLMoeTextModel"
# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    *cases("Qwen3VL", TEXT, [QWEN3_VL_8B, QWEN3_VL_4B]),
    *cases("Qwen3VLMoe", MOE_TEXT, [QWEN3_VL_30B]),
    ("dense layers", MOE_TEXT_ONLY, dict(MOE_TEXT, decoder_sparse_step=2), "float32"),
    ("dense first layer", MOE_TEXT_ONLY, dict(MOE_TEXT, mlp_only_layers=[0], head_dim=None), "float16"),
    ("dense-minimal", MOE, dict(text_config=dict(MOE_TEXT, mlp_only_layers=[1, 2]), vision_config=VISION), "float32"),
]
