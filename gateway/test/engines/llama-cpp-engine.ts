// llama.cpp's own server as an engine under test.
import { TEST_PYTHON } from '../parts.ts';
import type { Engine } from './engine.ts';
import { startLlamaServer, XLLAMACPP } from './llama-server.ts';

const SLOTS = 2;
const CONTEXT_TOKENS = 1024;

/** Resolves when it serves. `modelFile`: a GGUF file. */
export async function startLlamaCpp(modelFile: string): Promise<Engine> {
  const server = await startLlamaServer({
    python: TEST_PYTHON,
    modelFile,
    slots: SLOTS,
    contextTokens: CONTEXT_TOKENS,
    threads: 1,
  });
  const origin = `http://127.0.0.1:${server.port}`;
  return {
    name: "llama.cpp's server",
    version: `xllamacpp ${XLLAMACPP}`,
    kind: 'llama.cpp',
    url: `${origin}/v1`,
    // It has one, and takes any name for it.
    model: 'smollm2',
    contextTokens: CONTEXT_TOKENS,
    slots: SLOTS,
    // An assistant's message at the end is gone on with.
    continues: {},
    afresh: { cache_prompt: false },
    tells: ['slots', 'running'],
    running: async () => {
      const slots = (await (await fetch(`${origin}/slots`)).json()) as { is_processing: boolean }[];
      return slots.filter((slot) => slot.is_processing).length;
    },
    stop: () => server.stop(),
  };
}
