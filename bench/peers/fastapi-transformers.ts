// FastAPI with transformers' `generate`, one answer at a time: what an article's reader deploys first.
import { freePort } from '../../gateway/test/e2e/harness.ts';
import { type Program, startProgram } from './program.ts';
import { pythonPrograms } from './python.ts';

export const TRANSFORMERS = '5.19.0';
const TORCH = '2.13.0';
/** Torch takes seconds to import, the weights a few more to unpack. */
const READY_LIMIT_MS = 180_000;

export interface OneAtATimeOptions {
  readonly modelFile: string;
  readonly threads: number;
}

/** The first run installs it: some minutes, 5 GB. */
export async function startFastApiTransformers({ modelFile, threads }: OneAtATimeOptions): Promise<Program> {
  const programs = pythonPrograms({
    name: 'venv-transformers',
    requirements: [
      `torch==${TORCH}`,
      `transformers==${TRANSFORMERS}`,
      'gguf==0.19.0',
      'accelerate==1.15.0',
      'fastapi==0.165.0',
      'uvicorn==0.54.0',
    ],
  });
  const port = await freePort();
  const script = new URL('./fastapi-transformers.py', import.meta.url).pathname;
  return startProgram({
    name: 'FastAPI with transformers',
    command: `${programs}/python`,
    args: [script, modelFile, String(port), String(threads)],
    env: { OMP_NUM_THREADS: String(threads), HF_HUB_OFFLINE: '1' },
    port,
    readyPath: '/health',
    readyLimitMs: READY_LIMIT_MS,
  });
}
