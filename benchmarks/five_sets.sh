#!/usr/bin/env bash
# The main job on five real data sets: bash benchmarks/five_sets.sh DATA_FOLDER OUT_FOLDER
# DATA_FOLDER holds JapaneseVowels_{TRAIN,TEST}.ts, mnist1d.npz, ETTh1.csv and monthly-sunspots.csv.
set -euo pipefail
data=$1 out=$2
size=(--points 8 --evaluation-seeds 10 --epochs 40 --patience 12 --lang en)
choose() { throughtime choose "$@" "${size[@]}"; }
choose digits --out "$out/digits"
choose "$data/JapaneseVowels_TRAIN.ts" --out "$out/JapaneseVowels"
choose "$data/mnist1d.npz" --out "$out/mnist1d"
choose "$data/monthly-sunspots.csv" --target Sunspots --window 48 --out "$out/sunspots"
choose "$data/ETTh1.csv" --target OT --horizon 24 --window 96 --stride 8 --out "$out/ETTh1"
