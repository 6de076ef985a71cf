// A model that makes vectors of texts or judges documents, above node-llama-cpp: one text after the other, because the binding
// has no batches of them. It must never be imported by the gateway's own process.
import type { LlamaModel, Token } from 'node-llama-cpp';
import type { LoadedModel } from './load-model.ts';
import type { EngineSettings, EngineText } from './messages.ts';
import type { ReadText, TextReader } from './text-driver.ts';

export interface TextEngine extends TextReader {
  /** Memory of the window. */
  readonly contextBytes: number;
  /** From the next text on, up to `settings.mostThreads`. */
  setThreads(threads: number): void;
}

/** Makes the model's window. Rejects where there is no room for it, or the binding cannot use the file so. */
export async function openTextEngine(
  { llama, model, purpose }: LoadedModel,
  settings: EngineSettings,
): Promise<TextEngine> {
  const contextTokens = Math.min(settings.contextTokens, model.trainContextSize);
  const options = {
    // The binding wants a place more than the longest text has.
    contextSize: contextTokens + 1,
    // A text that is read in two parts would be pooled wrongly.
    batchSize: contextTokens + 1,
    threads: settings.mostThreads,
  };
  const { cpuRam, gpuVram } = await model.fileInsights.estimateContextResourceRequirementsV2({
    contextSize: options.contextSize,
    batchSize: options.batchSize,
    modelGpuLayers: model.gpuLayers,
    isEmbeddingContext: true,
    sequences: 1,
  });
  return {
    contextTokens,
    vocabularySize: model.fileInfo.metadata.tokenizer.ggml.tokens.length,
    contextBytes: cpuRam + gpuVram,
    ...(purpose === 'rerank' ? await ranking(model, options) : await embedding(model, options)),
    setThreads: (threads) => {
      llama.maxThreads = threads;
    },
  };
}

interface ContextOptions {
  readonly contextSize: number;
  readonly batchSize: number;
  readonly threads: number;
}

async function embedding(model: LlamaModel, options: ContextOptions) {
  const context = await model.createEmbeddingContext(options);
  return {
    vectorLength: model.embeddingVectorSize,
    read: (input: EngineText): ReadText => {
      const tokens = tokensOf(model, input);
      return {
        tokens: tokens.length === 0 ? 0 : context.calculateInputLength(tokens),
        compute: async () => Float32Array.from((await context.getEmbeddingFor(tokens)).vector),
      };
    },
  };
}

async function ranking(model: LlamaModel, options: ContextOptions) {
  const context = await model.createRankingContext(options);
  const { eos, sep } = model.tokens;
  // Where a vocabulary has only a separator the binding leaves out the one behind the document, which BERT was taught with.
  const closing = eos === null && sep !== null ? [sep] : [];
  return {
    vectorLength: 1,
    read: (input: EngineText, query = ''): ReadText => {
      const asked = tokensOf(model, query);
      const tokens = tokensOf(model, input);
      const document = [...tokens, ...closing];
      return {
        tokens: tokens.length === 0 ? 0 : context.calculateInputLength(asked, document),
        compute: async () => Float32Array.of(await context.rank(asked, document)),
      };
    },
  };
}

/** What looks like a control token in a client's text is text. */
function tokensOf(model: LlamaModel, input: EngineText): Token[] {
  return typeof input === 'string' ? model.tokenize(input, false) : ([...input] as Token[]);
}
