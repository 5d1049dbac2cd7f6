"""Trains in a process of its own: ``python run_training.py CUTS CONFIG OUTPUT``; for kills and for torchrun."""

import sys
from pathlib import Path

import torch
import yaml
from lhotse import CutSet

from speechstrata.pretraining.recipes import config_from
from speechstrata.pretraining.trainer import pretrain_cuts

if __name__ == "__main__":
    torch.set_num_threads(1)
    cuts, config, output = map(Path, sys.argv[1:])
    pretrain_cuts(config_from(yaml.safe_load(config.read_text()), str(config)), list(CutSet.from_file(cuts)), output)
