// The embedded engine keeps the contract, with a real model.
import { LlamaBackend } from '../../src/backends/llama/llama-backend.ts';
import { missingModel } from '../parts.ts';
import { describeBackend } from './backend.ts';

describeBackend(
  'the embedded engine',
  // It cannot be silent at will: it is aborted while it reads its prompt, and between its words.
  async () => {
    const backend = new LlamaBackend({
      id: 'engine',
      modelFile: process.env.SLUICE_TEST_MODEL ?? '',
      speaker: 'the-model',
      batchSize: 2,
      contextTokens: 1024,
      log: () => {},
    });
    await backend.start();
    return {
      backend,
      kill: () => void process.kill(backend.childPid ?? 0, 'SIGKILL'),
      // Its supervisor brings it back.
      revive: () => {},
      close: () => backend.close(),
    };
  },
  { skip: missingModel() },
);
