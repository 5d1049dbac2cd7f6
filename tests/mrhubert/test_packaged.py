"""Models that come with the package: what is written loads again by its name, without its heads, in float32."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_networks import small_model

from speechstrata.encoders.loading import load_encoder
from speechstrata.encoders.registry import PACKAGED_NAMES
from speechstrata.errors import EncoderError
from speechstrata.mrhubert import packaged

NAME = PACKAGED_NAMES[0]


def test_a_packaged_model_gives_the_states_of_the_run_that_it_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_model("tiny").save_pretrained(tmp_path / "run")
    packaged.package_model(tmp_path / "run", tmp_path / "weights" / NAME, "# A card\n")
    monkeypatch.setattr(packaged, "_FOLDER", tmp_path / "weights")
    theirs, ours = load_encoder(tmp_path / "run"), load_encoder(NAME)
    waves = torch.randn(1, 16_000, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([16_000])
    wanted, states = theirs.hidden_states(waves, lengths), ours.hidden_states(waves, lengths)
    assert list(wanted) == list(states)
    for name, layer in states.items():
        rms = wanted[name].states.square().mean().sqrt()
        assert (layer.states - wanted[name].states).abs().max() < 0.02 * rms, name
    assert (ours.name, load_encoder(NAME, control="random").name) == (NAME, f"{NAME}+random")
    assert {p.dtype for p in ours.module.parameters()} == {torch.float32}
    stored = load_file(tmp_path / "weights" / NAME / "model.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.float16}
    assert not any("head" in key for key in stored)
    assert (tmp_path / "weights" / NAME / "README.md").read_text() == "# A card\n"


def test_an_installation_without_the_weights_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "_FOLDER", tmp_path)
    with pytest.raises(EncoderError, match=f"weights of {NAME} are not in this installation"):
        load_encoder(NAME)
