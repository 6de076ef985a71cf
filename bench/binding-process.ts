// The engine's binding and nothing else: what the embedded engine is measured against. Forked by scenarios/engine.ts.
// Told how many streams to run, it runs them as the binding's own examples do, and says how many tokens a second came.
import { getLlama } from 'node-llama-cpp';

export interface BindingOrder {
  readonly streams: number;
  readonly newTokens: number;
  readonly prompts: readonly string[];
}

const [modelFile = '', sequences = '8', threads = '1'] = process.argv.slice(2);
const llama = await getLlama({ gpu: false, build: 'never' });
const model = await llama.loadModel({ modelPath: modelFile, defaultContextFlashAttention: true });
const context = await model.createContext({
  sequences: Number(sequences),
  contextSize: 4096,
  batchSize: 512,
  threads: Number(threads),
  flashAttention: true,
});
const pool = Array.from({ length: Number(sequences) }, () => context.getSequence());

process.on('message', async ({ streams, newTokens, prompts }: BindingOrder) => {
  await Promise.all(pool.map((sequence) => sequence.clearHistory()));
  const startedAt = performance.now();
  let tokens = 0;
  await Promise.all(
    pool.slice(0, streams).map(async (sequence, index) => {
      let left = newTokens;
      const options = { temperature: 0, yieldEogToken: true };
      for await (const token of sequence.evaluate(model.tokenize(prompts[index]!), options)) {
        tokens += 1;
        left -= 1;
        // Asked for the end token, the binding goes on after it; the server ends there, and counts it too.
        if (left === 0 || model.isEogToken(token)) break;
      }
    }),
  );
  process.send!((tokens * 1000) / (performance.now() - startedAt));
});
process.send!('ready');
