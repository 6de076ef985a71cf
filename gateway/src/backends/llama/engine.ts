// The model and its sequences, above node-llama-cpp: the only file that imports the binding.
// It must never be imported by the gateway's own process: native code that crashes takes its process along.
import {
  getLlama,
  type LlamaContextSequence,
  LlamaLogLevel,
  type LlamaModel,
  type SequenceEvaluateOptions,
  type Token,
} from 'node-llama-cpp';
import type { LogLevel } from '../../core/log.ts';
import type { EngineSequence } from './driver.ts';
import type { EngineSampling, EngineSettings } from './messages.ts';
import type { Vocabulary } from './prompt.ts';
import type { Detokenize } from './text.ts';

export interface Engine {
  readonly sequences: readonly EngineSequence[];
  /** Tokens in each sequence's window; may be less than asked for when the model was trained on less. */
  readonly contextTokens: number;
  /** Memory of all windows together. */
  readonly contextBytes: number;
  readonly chatTemplate: string | undefined;
  readonly vocabulary: Vocabulary;
  readonly detokenize: Detokenize;
  isEndToken(token: number): boolean;
}

/** Loads the model and makes its sequences. Rejects, or ends the process, when the file is no good. */
export async function loadEngine(
  settings: EngineSettings,
  log: (level: LogLevel, message: string) => void,
): Promise<Engine> {
  const llama = await getLlama({
    gpu: settings.gpu,
    build: 'never',
    skipDownload: true,
    progressLogs: false,
    maxThreads: settings.threads,
    logLevel: LlamaLogLevel.warn,
    logger: (level, message) => log(level === LlamaLogLevel.warn ? 'debug' : 'warn', message.trim()),
  });
  const model = await llama.loadModel({ modelPath: settings.modelFile });
  const contextTokens = Math.min(settings.contextTokens, model.trainContextSize);
  const context = await model.createContext({
    sequences: settings.slots,
    contextSize: contextTokens,
    threads: settings.threads,
    // On a CPU it makes prefill half as fast again; elsewhere the model decides.
    flashAttention: llama.gpu === false ? true : 'auto',
    // A smaller window than promised would be a lie: better to fail.
    failedCreationRemedy: false,
  });
  const usage = context.memoryUsage;
  return {
    sequences: Array.from({ length: settings.slots }, () => new LlamaSequence(context.getSequence())),
    // llama.cpp may round the window up; what was asked for is what is promised.
    contextTokens,
    contextBytes: usage.ram + usage.vram,
    chatTemplate: model.fileInfo.metadata.tokenizer.chat_template,
    vocabulary: vocabularyOf(model),
    detokenize: detokenizerOf(model),
    isEndToken: (token) => model.isEogToken(token as Token),
  };
}

class LlamaSequence implements EngineSequence {
  private readonly sequence: LlamaContextSequence;

  constructor(sequence: LlamaContextSequence) {
    this.sequence = sequence;
  }

  get contextTokens(): readonly number[] {
    return this.sequence.contextTokens;
  }

  get canTruncate(): boolean {
    return !this.sequence.needsCheckpoints;
  }

  async truncate(length: number): Promise<void> {
    const end = this.sequence.nextTokenIndex;
    if (length >= end) return;
    if (length === 0) await this.sequence.clearHistory();
    else await this.sequence.eraseContextTokenRanges([{ start: length, end }]);
  }

  feed(tokens: readonly number[]): Promise<void> {
    return this.sequence.evaluateWithoutGeneratingNewTokens([...tokens] as Token[]);
  }

  generate(tokens: readonly number[], sampling: EngineSampling): AsyncIterator<number> {
    const generated: Token[] = [];
    const options = {
      ...samplerOptions(sampling, generated, this.sequence.contextSize),
      yieldEogToken: true,
    };
    const iterator = this.sequence.evaluateWithMetadata([...tokens] as Token[], {}, options);
    if (options.repeatPenalty === undefined) return mapIterator(iterator, () => {});
    return mapIterator(iterator, (token) => generated.push(token));
  }
}

/** Not a generator: one would add its own turn of the queue to every token, and `return` would wait for `next`. */
function mapIterator(
  iterator: AsyncIterator<{ token: Token }>,
  seen: (token: Token) => void,
): AsyncIterator<number> {
  return {
    next: async () => {
      const result = await iterator.next();
      if (result.done === true) return { done: true, value: undefined };
      seen(result.value.token);
      return { done: false, value: result.value.token };
    },
    return: async () => {
      await iterator.return?.();
      return { done: true, value: undefined };
    },
  };
}

function samplerOptions(
  sampling: EngineSampling,
  generated: Token[],
  contextTokens: number,
): SequenceEvaluateOptions {
  const { temperature, topP, topK, minP, seed } = sampling;
  const { presencePenalty, frequencyPenalty, repetitionPenalty } = sampling;
  const penalised = presencePenalty !== 0 || frequencyPenalty !== 0 || repetitionPenalty !== 1;
  return {
    temperature,
    topP,
    topK,
    minP,
    seed,
    ...(penalised && {
      repeatPenalty: {
        punishTokens: () => generated,
        // Constant: another size would make the binding rebuild its sampler for every token.
        maxPunishTokens: contextTokens,
        penalty: repetitionPenalty,
        presencePenalty,
        frequencyPenalty,
      },
    }),
  };
}

function vocabularyOf(model: LlamaModel): Vocabulary {
  const controlTokens: string[] = [];
  for (const token of model.iterateAllTokens()) {
    const attributes = model.getTokenAttributes(token);
    const isControl = attributes.control || attributes.unknown;
    if (!isControl && !attributes.userDefined) continue;
    const text = model.detokenize([token], true);
    // Converters have marked turn marks as ordinary user-defined tokens: their shape gives them away.
    if (isControl || /^<[|｜].+[|｜]>$|^<(start|end)_of_turn>$/.test(text)) controlTokens.push(text);
  }
  return {
    tokenize: (text, special, continues) =>
      model.tokenize(text, special, continues ? 'trimLeadingSpace' : undefined),
    prependBos: model.tokens.shouldPrependBosToken,
    bos: model.tokens.bos ?? undefined,
    bosText: model.tokens.bosString ?? '',
    eosText: model.tokens.eosString ?? '',
    controlTokens,
  };
}

/** Control tokens have no text, but for the thinking tags where a vocabulary has them as control tokens. */
function detokenizerOf(model: LlamaModel): Detokenize {
  const shown = new Set(
    ['<think>', '</think>']
      .map((tag) => model.tokenize(tag, true))
      .filter((tokens) => tokens.length === 1)
      .flat(),
  );
  return (tokens, before) => {
    const special = tokens.some((token) => shown.has(token as Token));
    return model.detokenize(tokens as Token[], special, before as Token[]);
  };
}
