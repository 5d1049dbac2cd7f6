"""Every dialect of checkpoint, in and out; and what is wrong with one is named, and leaves nothing behind."""

import collections
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from mrhubert_golden import MODELS, checkpoint, golden
from small_networks import noise, small_model

from speechstrata.encoders.loading import load_encoder
from speechstrata.errors import CheckpointError, InputError
from speechstrata.mrhubert.checkpoints import convert_checkpoint, open_model, to_transformers
from speechstrata.mrhubert.config import block_plan
from speechstrata.mrhubert.masked_prediction import MRHubertForPreTraining
from speechstrata.mrhubert.model import MRHubertModel
from speechstrata.mrhubert.taps import benchmark_states
from speechstrata.mrhubert.unpickle import StoredTensor, plain, read_checkpoint


@pytest.mark.parametrize("name", MODELS)
def test_a_released_file_has_the_published_number_of_parameters(name: str) -> None:
    model = open_model(checkpoint(name))
    assert isinstance(model, MRHubertForPreTraining)
    assert sum(parameter.numel() for parameter in model.parameters()) == golden()["models"][name]["n_params"]


@pytest.mark.parametrize("variant", ["cfg_dictconfig", "args_namespace", "s3prl_converted", "fp16_weights"])
def test_every_dialect_gives_the_same_network(variant: str) -> None:
    model, base = open_model(checkpoint(f"variant_{variant}")), open_model(checkpoint("mr_b4a"))
    assert model.network == base.network
    for (name, value), expected in zip(model.state_dict().items(), base.state_dict().values(), strict=True):
        assert value.dtype == torch.float32
        if variant == "fp16_weights":
            expected = expected.half().float()
        assert torch.equal(value, expected), name


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("mr_b2a", "layers", (3, 2, 2, 3, 2)),
        ("mr_3res_asym", "layers", (1, 2, 1, 2, 3)),
        ("mr_3res_asym", "label_rates", (50.0, 25.0, 12.5)),
        ("mr_r23", "ratios", ((2, 3),)),
        ("mr_b5a", "ratios", ((1, 1),)),
        ("mr_b4a", "auxiliary_heads", False),
        ("mr_b3a", "sampling", "plain"),
        ("mr_k7", "sampling_kernel", 7),
        ("mr_two_target", "classes", (24, 17)),
        ("mr_multistream", "label_rates", (50.0, 50.0)),
        ("mr_large", "normalize", True),
        ("hubert_large", "extractor", "layer_norm"),
        ("hubert_large", "conv_bias", True),
        ("hubert_base", "ratios", ()),
    ],
)
def test_the_network_is_read_from_the_file(name: str, field: str, value: object) -> None:
    assert getattr(open_model(checkpoint(name)).network, field) == value


def rewritten(source: Path, target: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A released file with something changed in it."""

    def tensors(value: Any) -> Any:
        if isinstance(value, StoredTensor):
            return value.load("x")
        if isinstance(value, dict):
            return {key: tensors(item) for key, item in value.items()}
        return value

    content = read_checkpoint(source)
    content = {"cfg": plain(content["cfg"]), "model": collections.OrderedDict(tensors(content["model"]))}
    change(content)
    torch.save(content, target)
    return target


def drop(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["model"].pop(name)


def setting(section: str, name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["cfg"][section].update({name: value})


def tensor(name: str, *shape: int) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["model"].update({name: torch.zeros(shape)})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (drop("mask_emb"), "mask_emb"),
        (drop("encoders.0.layers.1.fc1.weight"), r"tensor encoders\.0\.layers\.1\.fc1\.weight is missing"),
        (drop("encoders.0.layers.0.fc1.weight"), r"encoders\.0\.layers\.0\.fc1\.weight is missing"),
        (tensor("encoders.0.layers.1.fc1.weight", 3, 3), r"fc1\.weight has shape \(3, 3\), not \(96, 48\)"),
        (tensor("w2v_encoder.proj.weight", 3), r"unknown tensor w2v_encoder\.proj\.weight"),
        (tensor("decoders.0.layers.5.fc1.weight", 3), r"layers of decoders\.0 are not numbered"),
        (tensor("mask_emb"), "mask_emb has shape"),
        (drop("label_embs_concat.1"), r"unknown tensor final_projs\.1"),
        (setting("model", "encoder_attention_heads", 7), "heads = 7"),
        (setting("model", "encoder_attention_heads", None), "encoder_attention_heads = None"),
        (setting("model", "layer_norm_first", "no"), "layer_norm_first = 'no'"),
        (setting("model", "conv_feature_layers", "open('x')"), "was not read"),
        (setting("model", "conv_feature_layers", "[(32,10)]"), "conv_feature_layers"),
        (
            setting("model", "conv_feature_layers", "[(32,10,5)] * 3"),
            r"unknown tensor feature_extractor\.conv_layers\.3",
        ),
        (setting("model", "conv_feature_layers", "[(32,10,5)] * 7"), r"conv_layers\.1\.0\.weight has shape"),
        (setting("model", "label_rate_ratios", [1, 2, 1, 2]), "1 encoders do not fit"),
        (setting("model", "label_rate_ratios", [1]), "label_rate_ratios"),
        (setting("model", "activation_fn", "relu"), "activation_fn = 'relu'"),
        (setting("model", "layer_type", "conformer"), "layer_type = 'conformer'"),
        (setting("task", "label_rate", "fast"), "label_rate = 'fast'"),
        (lambda content: content["cfg"]["task"].pop("normalize"), "lacks normalize"),
        (lambda content: content["cfg"].pop("model"), "no configuration of its model"),
        (lambda content: content.pop("cfg"), "no configuration"),
        (lambda content: content.pop("model"), "no weights under 'model'"),
        (lambda content: content["model"].update(mask_emb="text"), "no weights under 'model'"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], named: str
) -> None:
    path = rewritten(checkpoint("mr_mono_base"), tmp_path / "broken.pt", change)
    with pytest.raises(CheckpointError, match=named) as caught:
        convert_checkpoint(path, tmp_path / "out")
    assert "broken.pt" in str(caught.value)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["broken.pt"]


def test_references_in_a_configuration_are_followed(tmp_path: Path) -> None:
    change = setting("model", "label_rate_ratios", "${task.label_rate_ratios}")
    path = rewritten(checkpoint("mr_mono_base"), tmp_path / "c.pt", change)
    assert open_model(path).network == open_model(checkpoint("mr_mono_base")).network


def test_the_tensors_are_believed_over_the_configuration(tmp_path: Path) -> None:
    """One table of classes is one head, whatever the configuration says."""
    change = setting("model", "use_single_prediction", False)
    path = rewritten(checkpoint("mr_b4a"), tmp_path / "c.pt", change)
    assert open_model(path).network.auxiliary_heads is False


def test_another_pytorch_file_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.ones(2)}, "epoch": 3}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="its keys: state_dict, epoch"):
        open_model(tmp_path / "other.pt")


@pytest.mark.parametrize("name", ["mr_mono_base", "mr_b3a_k7", "hubert_large"])
def test_our_folder_holds_the_same_network(tmp_path: Path, name: str) -> None:
    folder = convert_checkpoint(checkpoint(name), tmp_path / "out")
    model, base = open_model(folder), open_model(checkpoint(name))
    assert model.network == base.network
    assert all(torch.equal(*pair) for pair in zip(model.state_dict().values(), base.state_dict().values(), strict=True))
    assert sorted(entry.name for entry in folder.iterdir()) == [
        "config.json", "model.safetensors", "preprocessor_config.json"
    ]  # fmt: skip
    assert load_encoder(folder).fingerprint == load_encoder(checkpoint(name)).fingerprint


def test_a_folder_that_exists_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("keep")
    with pytest.raises(InputError, match="exists already"):
        convert_checkpoint(checkpoint("mr_b4a"), tmp_path / "out")
    assert (tmp_path / "out" / "mine").read_text() == "keep"


def test_an_mr_hubert_is_none_of_transformers_own(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="several blocks"):
        convert_checkpoint(checkpoint("mr_mono_base"), tmp_path / "out", to="transformers")
    with pytest.raises(CheckpointError, match="log-mel"):
        to_transformers(small_model("tiny-hubert"))
    assert list(tmp_path.iterdir()) == []


HUBERTS = {
    "base": {},
    "base without mask embedding": {"mask_time_prob": 0.0},
    "base, square projection": {"conv_dim": [24] * 7},
    "large": {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True},
}


@pytest.mark.parametrize("style", HUBERTS)
def test_a_hubert_of_transformers_is_ours_layer_by_layer(tmp_path: Path, style: str) -> None:
    torch.manual_seed(0)
    config = transformers.HubertConfig(
        **{"conv_dim": [16] * 7} | HUBERTS[style], hidden_size=24, num_hidden_layers=3, num_attention_heads=4,
        intermediate_size=48, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4,
    )  # fmt: skip
    theirs = transformers.HubertModel(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = open_model(tmp_path / "theirs")
    assert isinstance(ours, MRHubertModel)
    assert_equal_layers(ours, theirs)
    # and out again, through our own folder
    folder = convert_checkpoint(convert_checkpoint(tmp_path / "theirs", tmp_path / "ours"), tmp_path / "again",
                                to="transformers")  # fmt: skip
    again = transformers.HubertModel.from_pretrained(folder).eval()
    assert_equal_layers(ours, again)
    for name, value in theirs.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


@pytest.mark.parametrize("kind", ["hubert-base", "hubert-large"])
def test_a_hubert_of_ours_is_transformers_layer_by_layer(kind: str) -> None:
    model = small_model(kind, normalize=False)
    assert_equal_layers(model.model, to_transformers(model))


@pytest.mark.parametrize("name", ["hubert_base", "hubert_large"])
def test_a_released_hubert_is_transformers_layer_by_layer(tmp_path: Path, name: str) -> None:
    folder = convert_checkpoint(checkpoint(name), tmp_path / "out", to="transformers")
    processor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    assert processor.do_normalize is open_model(checkpoint(name)).network.normalize
    audio = noise(1, 9000)
    theirs = load_encoder(folder).hidden_states(audio, torch.tensor([9000]))
    ours = load_encoder(checkpoint(name)).hidden_states(audio, torch.tensor([9000]))
    assert list(theirs) == list(ours)
    for layer, states in theirs.items():
        # the waveform is normalised with eps 1e-7 there and 1e-5 here, as in each one's published code
        torch.testing.assert_close(ours[layer].states, states.states, atol=2e-3 if "large" in name else 2e-5, rtol=2e-3)


def assert_equal_layers(ours: MRHubertModel, theirs: transformers.HubertModel) -> None:
    audio = noise(2, 7000, seed=3)
    with torch.inference_mode():
        states = dict(ours.taps(audio, [7000, 7000]))
        expected = theirs(audio, output_hidden_states=True)
    names = list(benchmark_states(ours.network))
    final = states[names[-1]].padded()
    torch.testing.assert_close(final, expected.last_hidden_state, atol=2e-5, rtol=1e-4)
    if ours.network.layer_norm_first:  # transformers lists the last layer's output before the final LayerNorm
        names[-1] += "-unnormed"
    for name, state in zip(names, expected.hidden_states, strict=True):
        torch.testing.assert_close(states[name].padded(), state, atol=2e-5, rtol=1e-4)


def test_another_kind_of_hubert_is_refused(tmp_path: Path) -> None:
    config = transformers.HubertConfig(
        hidden_size=24, num_hidden_layers=1, num_attention_heads=4, intermediate_size=48, conv_dim=[16] * 7,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, hidden_act="relu",
    )  # fmt: skip
    transformers.HubertModel(config).save_pretrained(tmp_path / "relu")
    with pytest.raises(CheckpointError, match="hidden_act = 'relu'"):
        open_model(tmp_path / "relu")


def test_a_damaged_folder_is_refused(tmp_path: Path) -> None:
    folder = convert_checkpoint(checkpoint("hubert_base"), tmp_path / "out")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        open_model(folder)
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "bert"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="'bert'"):
        open_model(folder)


def test_weights_of_another_shape_are_named(tmp_path: Path) -> None:
    folder = convert_checkpoint(checkpoint("hubert_base"), tmp_path / "out")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"layers": [4]}))
    with pytest.raises(CheckpointError, match=r"blocks\.0\.layers\.3"):
        open_model(folder)


def test_the_random_control_keeps_the_shape(tmp_path: Path) -> None:
    encoder = load_encoder(checkpoint("mr_b2a"), control="random", seed=3)
    again = load_encoder(checkpoint("mr_b2a"), control="random", seed=3)
    assert (encoder.supervision, encoder.fingerprint) == ("random weights", again.fingerprint)
    assert encoder.layers == load_encoder(checkpoint("mr_b2a")).layers
    assert encoder.fingerprint != load_encoder(checkpoint("mr_b2a")).fingerprint
    assert len(block_plan(open_model(checkpoint("mr_b2a")).network)) == 5
