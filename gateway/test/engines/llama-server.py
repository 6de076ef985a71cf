"""llama.cpp's own HTTP server, from PyPI's xllamacpp, for the benchmarks that compare with it.

    python bench/peers/llama-server.py MODEL PORT SLOTS CONTEXT_TOKENS_A_SLOT THREADS
"""
import signal
import sys

import xllamacpp

model, port, slots, context, threads = sys.argv[1], *(int(value) for value in sys.argv[2:])
params = xllamacpp.CommonParams()
params.model.path = model
params.hostnames = ["127.0.0.1"]
params.port = port
params.n_parallel = slots
params.n_ctx = context * slots
params.cpuparams.n_threads = threads
params.cpuparams_batch.n_threads = threads
params.n_gpu_layers = 0
params.cont_batching = True
params.warmup = True
# Its own default, spelt out: prefixes are kept, slot by slot.
params.cache_prompt = True
server = xllamacpp.Server(params)
signal.sigwait({signal.SIGTERM, signal.SIGINT})
