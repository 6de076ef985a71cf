"""llama.cpp's own HTTP server, from PyPI's xllamacpp, for tests that put Sluice in front of it and benchmarks beside it.
It ends with its standard input, so that it never outlives whoever started it.

    python llama-server.py MODEL PORT SLOTS CONTEXT_TOKENS_A_SLOT THREADS [PROMPT_CACHE_MIB]
"""
import os
import sys

import xllamacpp

model, port, slots, context, threads, *cache_mib = sys.argv[1], *(int(value) for value in sys.argv[2:])
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
params.endpoint_metrics = True
params.endpoint_slots = True
# Its own default, spelt out: prefixes are kept, slot by slot.
params.cache_prompt = True
# What was computed and has no slot any more; its own default is 8 GiB.
if cache_mib:
    params.cache_ram_mib = cache_mib[0]
server = xllamacpp.Server(params)
sys.stdin.read()
# Its threads know no other end.
os._exit(0)
