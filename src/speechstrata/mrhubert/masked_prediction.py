"""The network with its masked-prediction heads: what pre-training trains."""

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from transformers import AutoModelForPreTraining

from speechstrata.errors import InputError
from speechstrata.mrhubert.config import frontend_length
from speechstrata.mrhubert.configuration import MRHubertConfig
from speechstrata.mrhubert.model import MRHubertModel, MRHubertPreTrainedModel, batch_lengths
from speechstrata.mrhubert.objective import (
    PredictionHead,
    PreTrainingOutput,
    carry_masks,
    combine,
    head_labels,
    labels_cover,
    score_head,
)
from speechstrata.mrhubert.packing import Frames


class MRHubertForPreTraining(MRHubertPreTrainedModel):
    """The network with its masked-prediction heads, finest resolution first."""

    def __init__(self, config: MRHubertConfig) -> None:
        super().__init__(config)
        self.model = MRHubertModel(config)
        self.network = self.model.network
        self.heads = nn.ModuleList(PredictionHead(self.network, index) for index in range(self.network.head_count))
        self.post_init()

    def forward(
        self,
        input_values: Tensor,
        lengths: Sequence[int] | Tensor,
        mask: Tensor,
        targets: Sequence[Tensor],
        unmasked_weight: float = 0.0,
        score_unmasked: bool = False,
    ) -> PreTrainingOutput:
        """The objective of one batch.

        Args:
            input_values: (batch, samples) waveforms padded with anything, or (batch, 10 ms frames, bins) of
                log-mel for that front-end.
            lengths: (batch,), in samples (or 10 ms frames); list them rather than keep them on a GPU.
            mask: (batch, frames) bool at the front-end's rate (20 ms): True is hidden and scored. At least
                as many frames as the longest utterance has.
            targets: one (batch, labels) int64 tensor for each label stream, units from 0, padded with
                :data:`~speechstrata.mrhubert.objective.IGNORE`. Frames without a label are not scored.
            unmasked_weight: weight of the cross-entropy of unmasked frames in the loss.
            score_unmasked: give their cross-entropy and hits even where their weight is 0.

        Raises:
            InputError: a wrong number of streams, a unit outside its class table, or lengths that do not fit.
        """
        network = self.network
        if len(targets) != len(network.classes):
            raise InputError(
                f"{len(targets)} label streams for a network with {len(network.classes)}",
                "give one label tensor for each entry of classes",
            )
        limit = None
        if network.padding == "reference" and len(self.model.plan) == 1:  # published for HuBERT alone
            limit = labels_cover(network, targets[0].shape[1], frontend_length(network, input_values.shape[1]))
        counts = batch_lengths(input_values, None, lengths)
        features, outputs = self.model.block_outputs(input_values, counts, mask, limit)
        masks = carry_masks(mask[:, : max(features.lengths)], self.model.plan, network)
        weight = unmasked_weight if score_unmasked or unmasked_weight > 0 else None
        scored = sorted((block.head, block.name) for block in self.model.plan if block.head is not None)
        scores = []
        for index, name in scored:
            frames = outputs[name]
            labels = head_labels(network, index, targets[index if len(targets) > 1 else 0], frames)
            masked = Frames.pack(masks[name], frames.lengths).data
            head = cast(PredictionHead, self.heads[index])
            scores.append(score_head(head, frames.data, labels, masked, weight))
        penalty = features.data.float().square().mean()
        return combine(scores, penalty, network, unmasked_weight)


AutoModelForPreTraining.register(MRHubertConfig, MRHubertForPreTraining)
