#!/usr/bin/env bash
# Any stage on several nodes, as a Slurm job, from the checkout:
#   sbatch --nodes 2 --gpus-per-node 4 train/configs/slurm.sh train/configs/instruct.yaml out=runs/big
# One process per GPU, or one per node without GPUs, under DDP. For DeepSpeed set ZERO=train/configs/zero2.json before
# sbatch. To resume an interrupted job, submit it again with the same number of processes.
#SBATCH --job-name spex-train
#SBATCH --ntasks-per-node 1
#SBATCH --cpus-per-task 8
#SBATCH --requeue
set -euo pipefail

nodes=${SLURM_NNODES:-1}
processes_per_node=${SLURM_GPUS_ON_NODE:-1}
host=127.0.0.1
if [ -n "${SLURM_JOB_NODELIST:-}" ]; then
    hosts=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
    host=${hosts%%$'\n'*}
fi
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
if [ -n "${ZERO:-}" ]; then
    export ACCELERATE_USE_DEEPSPEED=true ACCELERATE_DEEPSPEED_CONFIG_FILE=$ZERO
elif [ -z "${SLURM_GPUS_ON_NODE:-}" ]; then
    export ACCELERATE_USE_CPU=true
fi
exec ${SLURM_JOB_ID:+srun --kill-on-bad-exit=1} python -m torch.distributed.run \
    --nnodes "$nodes" --nproc_per_node "$processes_per_node" \
    --rdzv_backend c10d --rdzv_id "${SLURM_JOB_ID:-0}" --rdzv_endpoint "$host:${PORT:-29500}" \
    -m train run "$@"
