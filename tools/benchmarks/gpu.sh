#!/usr/bin/env bash
# Every check and figure that needs a GPU, in under 8 minutes, without a network. Prints one table; exit 1 if a check fails.
#
#   tools/benchmarks/gpu.sh [CHECK ...]        all checks, or the named ones: doctor quickstart runs families gradients
#                                              pretrain sft generation
#
# Environment:
#   PYTHON               Python with Lazarus, MLX for CUDA and mlx-lm     default: .venv/bin/python, else python3
#   TORCH_PYTHON         Python with torch and transformers               default: PYTHON, if it has both
#   LAZARUS_TEST_DATA    folder of real inputs (tools/README.md)          default: ../shared/data
#   GPU_SH_DEVICE        `cpu` proves the script itself with small sizes  default: gpu, refused where there is none
#   GPU_SH_LIMIT_S       seconds for everything                           default: 480 on a GPU, 1800 on a CPU
#
# It has run on a CPU only (GPU_SH_DEVICE=cpu). Leave 60 s for the first compilation of kernels on a new machine.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ -z "${PYTHON:-}" ]; then
  if [ -x .venv/bin/python ]; then PYTHON=$PWD/.venv/bin/python; else PYTHON=$(command -v python3); fi
fi
export PYTHON LAZARUS_TEST_DATA=${LAZARUS_TEST_DATA:-$PWD/../shared/data} GPU_SH_DEVICE=${GPU_SH_DEVICE:-gpu} HF_HUB_OFFLINE=1
if [ -z "${TORCH_PYTHON+set}" ]; then
  TORCH_PYTHON=
  if PYTHONPATH='' "$PYTHON" -c 'import torch, transformers' 2>/dev/null; then TORCH_PYTHON=$PYTHON; fi
fi
export TORCH_PYTHON
exec "$PYTHON" tools/benchmarks/gpu_checks.py "$@"
