"""Small random models of every family, as the folders that ``save_pretrained`` writes.

Their weights are drawn wider than the families' own schemes do: with those, attention is nearly uniform and positions
nearly nothing, and a leak through either would be lost in rounding.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf
from numpy.typing import NDArray

WAVEFORMS = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "initializer_range": 0.3,
}
CONFORMER = dict(WAVEFORMS, conv_depthwise_kernel_size=7, feat_extract_norm="layer")
BERT = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_depthwise_kernel_size": 7,
    "left_max_position_embeddings": 8,
    "right_max_position_embeddings": 4,
    "initializer_range": 0.3,
}
WHISPER = {
    "d_model": 32,
    "encoder_layers": 3,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "num_mel_bins": 20,
    "max_source_positions": 50,
    "vocab_size": 60,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "init_std": 0.3,
}
MOONSHINE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "encoder_num_hidden_layers": 3,
    "decoder_num_hidden_layers": 1,
    "encoder_num_attention_heads": 4,
    "decoder_num_attention_heads": 4,
    "vocab_size": 60,
    "initializer_range": 0.3,
}
STREAMING = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": 60,
    "encoder_config": {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "sliding_windows": [[4, 2], [4, 0], [6, 3]],
        "initializer_range": 0.3,
    },
}


@dataclass(frozen=True)
class Family:
    """A small model of a family.

    Attributes:
        model_class: whose ``forward`` is the reference.
        config_class: its configuration.
        config: what differs from the defaults.
        preprocessor: transformers' own feature extractor for it.
        final_norm: whether one more layer norm follows the last layer.
    """

    model_class: Any
    config_class: Any
    config: Mapping[str, Any]
    preprocessor: Callable[[], Any] = field(default=lambda: hf.Wav2Vec2FeatureExtractor(do_normalize=True))
    final_norm: bool = False

    def save(self, folder: Path) -> Any:
        """Write model and preprocessor to ``folder``; return the model."""
        torch.manual_seed(1)
        model = self.model_class(self.config_class(**self.config)).eval()
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm1d):  # as if trained: what it makes of zeros is not zero
                torch.nn.init.normal_(module.running_mean)
                torch.nn.init.normal_(module.bias)
        model.save_pretrained(folder)
        self.preprocessor().save_pretrained(folder)
        return model

    def reference(self, model: Any, audio: NDArray[np.float32]) -> Any:
        """transformers' own output for one utterance."""
        inputs = self.preprocessor()(audio, sampling_rate=16000, return_tensors="pt", return_attention_mask=True)
        encoder = model.encoder if self.model_class in ENCODERS_OF else model
        if self.model_class is hf.WhisperModel:
            inputs.pop("attention_mask")
        with torch.no_grad():
            return encoder(**inputs, output_hidden_states=True)


ENCODERS_OF = (hf.WhisperModel, hf.MoonshineModel, hf.MoonshineStreamingModel)


def raw() -> Any:
    return hf.Wav2Vec2FeatureExtractor(do_normalize=False)


def _wav2vec2(model_class: Any, config_class: Any) -> dict[str, Family]:
    name = config_class.model_type
    return {
        f"{name}-base": Family(model_class, config_class, WAVEFORMS, raw),
        f"{name}-large": Family(
            model_class,
            config_class,
            dict(WAVEFORMS, feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True),
            final_norm=True,
        ),
    }


FAMILIES: dict[str, Family] = {
    **_wav2vec2(hf.HubertModel, hf.HubertConfig),
    **_wav2vec2(hf.Wav2Vec2Model, hf.Wav2Vec2Config),
    **_wav2vec2(hf.WavLMModel, hf.WavLMConfig),
    **_wav2vec2(hf.UniSpeechModel, hf.UniSpeechConfig),
    **_wav2vec2(hf.UniSpeechSatModel, hf.UniSpeechSatConfig),
    "hubert-batch-norm": Family(hf.HubertModel, hf.HubertConfig, dict(WAVEFORMS, conv_pos_batch_norm=True)),
    "data2vec-audio": Family(
        hf.Data2VecAudioModel,
        hf.Data2VecAudioConfig,
        dict(WAVEFORMS, num_conv_pos_embeddings=3, conv_pos_kernel_size=5),
    ),
    "wav2vec2-conformer-relative": Family(
        hf.Wav2Vec2ConformerModel,
        hf.Wav2Vec2ConformerConfig,
        dict(CONFORMER, position_embeddings_type="relative"),
        final_norm=True,
    ),
    "wav2vec2-conformer-rotary": Family(
        hf.Wav2Vec2ConformerModel,
        hf.Wav2Vec2ConformerConfig,
        dict(CONFORMER, position_embeddings_type="rotary"),
        final_norm=True,
    ),
    "wav2vec2-bert": Family(
        hf.Wav2Vec2BertModel, hf.Wav2Vec2BertConfig, BERT, lambda: hf.SeamlessM4TFeatureExtractor()
    ),
    "wav2vec2-bert-relative": Family(
        hf.Wav2Vec2BertModel,
        hf.Wav2Vec2BertConfig,
        dict(BERT, position_embeddings_type="relative"),
        lambda: hf.SeamlessM4TFeatureExtractor(),
    ),
    "whisper": Family(
        hf.WhisperModel,
        hf.WhisperConfig,
        WHISPER,
        lambda: hf.WhisperFeatureExtractor(feature_size=20, chunk_length=1),
        final_norm=True,
    ),
    "moonshine": Family(hf.MoonshineModel, hf.MoonshineConfig, MOONSHINE, raw, final_norm=True),
    "moonshine-streaming": Family(
        hf.MoonshineStreamingModel, hf.MoonshineStreamingConfig, STREAMING, raw, final_norm=True
    ),
}


def speechlike(samples: int, seed: int = 0) -> NDArray[np.float32]:
    """Noise with a moving level and an offset, of speech's loudness: nothing about it is stationary."""
    rng = np.random.default_rng(seed)
    level = 0.02 + 0.1 * np.abs(np.sin(np.arange(samples) / 1500 + rng.uniform(0, 6)))
    return (level * rng.standard_normal(samples) + 0.01).astype(np.float32)
