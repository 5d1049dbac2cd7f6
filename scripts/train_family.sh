#!/usr/bin/env bash
# The packaged family from raw speech: one HuBERT on MFCC units, units from its best layer, then every model on these.
#
#   speechstrata corpus prepare amazon-queen --output corpora/queen
#   scripts/train_family.sh corpora/queen training          # about five minutes a run on one core, Table 3 longer; go on by running it again
#
# What the first iteration's layers and numbers of units were compared by: docs/family.md.
set -euo pipefail
corpus=$1
output=$2
export OMP_NUM_THREADS=1 # the models are small: two runs side by side are faster than one on two cores
speakers=(--validation_share 0.05 --test_share 0.12)

if [ ! -f "$output/units/mfcc-100/targets.json" ]; then
  speechstrata targets --corpus "$corpus" --output "$output/units/mfcc-100" --clusters 100 "${speakers[@]}"
fi
speechstrata pretrain tiny-hubert-it1 --corpus "$corpus" --targets "$output/units/mfcc-100" --output "$output/tiny-hubert-it1-s1"

units="$output/units/hubert-T3-200"
if [ ! -f "$units/targets.json" ]; then
  speechstrata targets --corpus "$corpus" --features "$output/tiny-hubert-it1-s1/model" --layer T3 --clusters 200 \
    --sample_frames 100000 --output "$units" "${speakers[@]}"
fi
train() { # RECIPE SEED [SETTINGS]
  speechstrata pretrain "$1" --corpus "$corpus" --targets "$units" --output "$output/$1-s$2" --set "seed=$2" "${@:3}"
}
for recipe in tiny-mrhubert-base tiny-b4-a tiny-b5-a tiny-neither tiny-hubert tiny-b2-a; do train "$recipe" 1; done
for seed in 2 3; do
  for recipe in tiny-mrhubert-base tiny-b4-a tiny-b5-a tiny-neither tiny-hubert tiny-b2-a; do train "$recipe" "$seed"; done
done
for recipe in tiny-large-hubert tiny-large-mrhubert; do train "$recipe" 1; done

# Table 3, where the residual is added: at this size, and at Appendix C's with its convolutional front-end (a small batch and few steps)
for seed in 1 2; do train tiny-pre "$seed"; done
small=(masking.span=5 data.batches_per_step=1 data.batch_seconds=10 data.maximum_seconds=10 data.minimum_seconds=0.5
  data.validation_seconds=200 data.validation_share=0.05 data.test_share=0.12 data.cache=waveform data.workers=0
  optimizer.steps=400 optimizer.warmup_steps=40 optimizer.learning_rate=1e-3
  run.precision=bf16 run.log_every=20 run.checkpoint_every=200 run.validate_every=200 run.keep_every=0)
for seed in 1 2; do
  for recipe in small-post small-pre; do train "$recipe" "$seed" "${small[@]}"; done
done
