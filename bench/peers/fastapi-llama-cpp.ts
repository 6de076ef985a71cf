// FastAPI with llama-cpp-python, one answer at a time: the usual way to a GGUF file from Python.
import { freePort } from '../../gateway/test/e2e/harness.ts';
import type { OneAtATimeOptions } from './fastapi-transformers.ts';
import { type Program, startProgram } from './program.ts';
import { pythonPrograms } from './python.ts';

export const LLAMA_CPP_PYTHON = '0.3.36';
const READY_LIMIT_MS = 60_000;

export interface FastApiLlamaCppOptions extends OneAtATimeOptions {
  readonly contextTokens: number;
}

/** The first run builds it, for this processor: ten minutes, and a C++ compiler and CMake must be there. */
export async function startFastApiLlamaCpp(options: FastApiLlamaCppOptions): Promise<Program> {
  const { modelFile, threads, contextTokens } = options;
  const programs = pythonPrograms({
    name: 'venv-llama-cpp',
    requirements: [`llama-cpp-python==${LLAMA_CPP_PYTHON}`, 'fastapi==0.165.0', 'uvicorn==0.54.0'],
  });
  const port = await freePort();
  const script = new URL('./fastapi-llama-cpp.py', import.meta.url).pathname;
  return startProgram({
    name: 'FastAPI with llama-cpp-python',
    command: `${programs}/python`,
    args: [script, modelFile, ...[port, threads, contextTokens].map(String)],
    port,
    readyPath: '/health',
    readyLimitMs: READY_LIMIT_MS,
  });
}
