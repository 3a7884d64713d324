"""Gemma 3n for images, sound and text: the cases of make_modules.py. The vision tower is timm's."""

from architectures.gemma3n_text import E2B, E4B, TINY

GENERATION, BASE = "Gemma3nForConditionalGeneration", "Gemma3nModel"
AUDIO = dict(vocab_size=20, vocab_offset=100, input_feat_size=18, hidden_size=24, conf_num_attention_heads=3,
             conf_num_hidden_layers=2, conf_conv_kernel_size=3, conf_attention_chunk_size=5,
             conf_attention_context_left=4, conf_attention_context_right=2, sscp_conv_channel_size=[6, 4],
             sscp_conv_kernel_size=[[3, 5], [2, 3]], sscp_conv_stride_size=[[2, 3], [1, 2]])
VISION = dict(architecture="mobilenetv5_300m_enc", hidden_size=2048, vocab_size=12, vocab_offset=88,
              model_type="gemma3n_vision")
SMALL = dict(text_config=TINY, audio_config=AUDIO, vision_config=VISION)
DEFAULT_TEXT = dict(num_hidden_layers=6, num_kv_shared_layers=1)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", GENERATION, dict(text_config=DEFAULT_TEXT), "bfloat16"),
    ("e4b-minimal", GENERATION, dict(text_config=E4B), "bfloat16"),
    ("e2b-minimal", GENERATION, dict(text_config=E2B), "float16"),
    ("small-minimal", GENERATION, SMALL, "float32"),
    ("untied-minimal", GENERATION, dict(SMALL, tie_word_embeddings=False), "float16"),
    ("text-untied-minimal", GENERATION, dict(SMALL, text_config=dict(TINY, tie_word_embeddings=False)), "float16"),
    ("context-minimal", GENERATION, dict(SMALL, audio_config=dict(AUDIO, conf_attention_context_left=0)), "bfloat16"),
    ("base-minimal", BASE, SMALL, "float16"),
    ("base-saved", BASE, SMALL, "float32"),
]
