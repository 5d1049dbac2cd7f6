"""The configuration of the family as transformers knows it."""

from dataclasses import fields
from typing import Any

from transformers import PreTrainedConfig

from speechstrata.mrhubert.config import NetworkConfig

_SETTINGS = tuple(field.name for field in fields(NetworkConfig))


class MRHubertConfig(PreTrainedConfig):
    """The transformers face of :class:`NetworkConfig`, whose settings it holds by the same names.

    Args:
        network: the settings, where they are at hand as one; otherwise give them by name.
        settings: settings of :class:`NetworkConfig`, and transformers' own.

    Raises:
        InputError: settings that do not fit together.
    """

    model_type = "mrhubert"
    attribute_map = {  # noqa: RUF012 - transformers declares it so
        "hidden_size": "dim",
        "num_attention_heads": "heads",
        "intermediate_size": "ffn_dim",
    }

    def __init__(self, network: NetworkConfig | None = None, **settings: Any) -> None:
        given = {name: settings.pop(name) for name in _SETTINGS if name in settings}
        base = NetworkConfig() if network is None else network
        for name, value in NetworkConfig.from_dict(base.to_dict() | given).to_dict().items():
            setattr(self, name, value)
        super().__init__(**settings)

    @property
    def network(self) -> NetworkConfig:
        """The settings, checked."""
        return NetworkConfig.from_dict({name: getattr(self, name) for name in _SETTINGS})

    @property
    def num_hidden_layers(self) -> int:
        """Transformer layers in all."""
        return sum(self.layers)
