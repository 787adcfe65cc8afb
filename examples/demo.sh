#!/bin/sh
# A sweep from start to end: print the commands of a grid, run them on three slots, rank them.
#
#   sh examples/demo.sh
#
# Needs simple-gpu-scheduler and scikit-learn (pip install scikit-learn); no GPU. Where
# nvidia-smi lists GPUs, the jobs run on those instead. Each run keeps its results in a new
# folder under runs/. The exit status is not zero if a job failed.
#
#   GPUS=0,1 sh examples/demo.sh      run on these GPUs, or on so many slots
#   EPOCHS=20 sh examples/demo.sh     train for a shorter time
set -eu
cd "$(dirname "$0")/.."

if [ -n "${GPUS:-}" ]; then
    set -- --gpus "$GPUS"
elif command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L 2>/dev/null | grep -q '^GPU '; then
    set -- # the scheduler finds the GPUs itself
else
    set -- --gpus 0,1,2 # names of slots: nothing here needs a GPU behind them
fi

# A folder that is not there yet, so that no earlier result is touched.
first=runs/demo-$(date +%Y%m%d-%H%M%S)
results=$first
n=2
while [ -e "$results" ]; do
    results=$first-$n
    n=$((n + 1))
done

echo "12 settings of the learning rate and the batch size; results in $results" >&2

# The status of a pipe is that of its last command: 0 only if every job succeeded.
status=0
simple_hypersearch --sampling-mode grid \
    "python3 examples/train_digits.py --lr {lr} --batch-size {batch_size} --epochs ${EPOCHS:-200}" \
    -p lr 0.003 0.03 0.3 3 -p batch_size 16 64 256 |
    simple_gpu_scheduler "$@" --results "$results" >&2 || status=$?

if [ -d "$results" ]; then # else the scheduler has said why it made none
    echo >&2
    sgs results "$results" || [ "$status" -ne 0 ] || status=$?
fi
exit "$status"
