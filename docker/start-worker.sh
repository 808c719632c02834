#!/bin/sh
# A Ray worker with one GPU of its machine. Docker gives every container that asks for "1 GPU" the same first one, so
# the workers of a machine share out its GPUs themselves: each holds the lock of its GPU for as long as it lives.
# Usage: start-worker FOLDER RAY-START-OPTIONS...; FOLDER is one that all workers of the machine see.
set -eu
folder=$1
shift
gpus=$(if command -v nvidia-smi > /dev/null; then nvidia-smi --list-gpus | wc -l; else echo 0; fi)
if [ "$gpus" -eq 0 ]; then
    echo "start-worker: no GPU on this machine, training on CPUs"
    exec ray start --block "$@"
fi
gpu=0
while [ "$gpu" -lt "$gpus" ]; do
    exec 9> "$folder/gpu-$gpu.lock"
    if flock --nonblock 9; then
        echo "start-worker: GPU $gpu of $gpus"
        # The order of nvidia-smi, for CUDA's own puts the fastest first.
        export CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES="$gpu"
        exec ray start --block "$@"
    fi
    gpu=$((gpu + 1))
done
echo "start-worker: each of the $gpus GPUs has a worker already; start at most $gpus" >&2
exit 1
