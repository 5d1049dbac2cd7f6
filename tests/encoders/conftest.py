"""The small models, saved and loaded once for all the tests of this room."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import FAMILIES, Family

from speechstrata.encoders.base import SpeechEncoder
from speechstrata.encoders.loading import load_encoder


@dataclass(frozen=True)
class Case:
    """A family's folder, transformers' model, and ours."""

    name: str
    family: Family
    folder: Path
    model: Any
    encoder: SpeechEncoder


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Small models are faster without threads, and then their sums have one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def make_case(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Case]:
    cases: dict[str, Case] = {}

    def make(name: str) -> Case:
        if name not in cases:
            family = FAMILIES[name]
            folder = tmp_path_factory.mktemp("models") / name
            model = family.save(folder)
            cases[name] = Case(name, family, folder, model, load_encoder(folder, unnormed=True))
        return cases[name]

    return make


@pytest.fixture(params=FAMILIES)
def case(request: pytest.FixtureRequest, make_case: Callable[[str], Case]) -> Case:
    """Each family in turn."""
    return make_case(request.param)
