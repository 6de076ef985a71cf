// A chat model's sequences, above node-llama-cpp. It must never be imported by the gateway's own process: native code that
// crashes takes its process along.
import type { LlamaContextSequence, LlamaModel, SequenceEvaluateOptions, Token } from 'node-llama-cpp';
import type { Constraint, EngineSequence } from './engine-sequence.ts';
import { constrainerOf, GrammarConstraint, shownControls } from './grammar-constraint.ts';
import type { LoadedModel } from './load-model.ts';
import type { EngineSampling, EngineSettings, LikelyToken, SampledToken } from './messages.ts';
import type { InfillMarks, Vocabulary } from './prompt.ts';
import { tellRawLogprobs } from './raw-logprobs.ts';
import type { Detokenize } from './text.ts';
import { type SingleToken, singleToken } from './token-text.ts';

export interface Engine {
  readonly sequences: readonly EngineSequence[];
  /** Tokens in each sequence's window; may be less than asked for when the model was trained on less. */
  readonly contextTokens: number;
  /** Memory of all windows together. */
  readonly contextBytes: number;
  readonly chatTemplate: string | undefined;
  readonly vocabulary: Vocabulary;
  readonly detokenize: Detokenize;
  /** What a token is written as where it stands alone; control tokens too. */
  describe(token: number): SingleToken;
  isEndToken(token: number): boolean;
  /** For one answer; throws when the grammar cannot be read. */
  constrain(grammar: string): Constraint;
  /** From the next step on, up to `settings.mostThreads`. */
  setThreads(threads: number): void;
}

/** Makes the model's sequences. Rejects where there is no room for their windows. */
export async function openEngine({ llama, model }: LoadedModel, settings: EngineSettings): Promise<Engine> {
  const contextTokens = Math.min(settings.contextTokens, model.trainContextSize);
  // On a CPU it makes prefill half as fast again; elsewhere the model decides.
  const flashAttention = llama.gpu === false ? true : 'auto';
  const sequences = await sequencesThatFit(model, contextTokens, flashAttention, settings);
  const context = await model.createContext({
    sequences,
    contextSize: contextTokens,
    threads: { ideal: settings.mostThreads, min: 1 },
    flashAttention,
    // A smaller window than promised would be a lie: better to fail.
    failedCreationRemedy: false,
  });
  tellRawLogprobs(llama, model, context);
  const usage = context.memoryUsage;
  return {
    sequences: Array.from({ length: sequences }, () => new LlamaSequence(context.getSequence())),
    // llama.cpp may round the window up; what was asked for is what is promised.
    contextTokens,
    contextBytes: usage.ram + usage.vram,
    chatTemplate: model.fileInfo.metadata.tokenizer.chat_template,
    vocabulary: vocabularyOf(model),
    detokenize: detokenizerOf(model),
    describe: describerOf(model),
    isEndToken: (token) => model.isEogToken(token as Token),
    constrain: constrainerOf(llama, model),
    setThreads: (threads) => {
      llama.maxThreads = threads;
    },
  };
}

/** All windows are allocated at once, whether calls come or not. */
async function sequencesThatFit(
  model: LlamaModel,
  contextSize: number,
  flashAttention: true | 'auto',
  { sequences: most, windowBytes }: EngineSettings,
): Promise<number> {
  if (windowBytes === undefined) return most;
  const bytesOf = async (sequences: number) => {
    const options = { contextSize, sequences, flashAttention, modelGpuLayers: model.gpuLayers };
    const { cpuRam, gpuVram } = await model.fileInsights.estimateContextResourceRequirementsV2(options);
    return cpuRam + gpuVram;
  };
  const [one, two] = [await bytesOf(1), await bytesOf(2)];
  const more = Math.floor((windowBytes - one) / Math.max(1, two - one));
  return Math.min(most, 1 + Math.max(0, more));
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

  async saveState(file: string): Promise<void> {
    await this.sequence.saveStateToFile(file);
  }

  /** The file must be one that this model's `saveState` wrote: another can end the process. */
  loadState(file: string): Promise<void> {
    return this.sequence.loadStateFromFile(file, { acceptRisk: true });
  }

  generate(
    tokens: readonly number[],
    sampling: EngineSampling,
    before: readonly number[],
    constraint?: Constraint | undefined,
  ): AsyncIterator<SampledToken> {
    const generated = [...before] as Token[];
    const options = {
      ...samplerOptions(sampling, generated, this.sequence.contextSize),
      ...(constraint instanceof GrammarConstraint && constraint.options),
      yieldEogToken: true,
    };
    const { logprobs } = sampling;
    const metadata = { probabilities: logprobs !== undefined };
    const iterator = this.sequence.evaluateWithMetadata([...tokens] as Token[], metadata, options);
    return mapIterator(iterator, ({ token, probabilities }) => {
      if (options.repeatPenalty !== undefined) generated.push(token);
      return probabilities === undefined
        ? { token }
        : { token, likely: likelyOf(token, probabilities, logprobs) };
    });
  }
}

/** What the binding yields; probabilities are what `tellRawLogprobs` makes of them. */
interface Told {
  readonly token: Token;
  readonly probabilities?: ReadonlyMap<Token, number>;
}

/** Not a generator: one would add its own turn of the queue to every token, and `return` would wait for `next`. */
function mapIterator(
  iterator: AsyncIterator<Told>,
  sampled: (told: Told) => SampledToken,
): AsyncIterator<SampledToken> {
  return {
    next: async () => {
      const result = await iterator.next();
      if (result.done === true) return { done: true, value: undefined };
      return { done: false, value: sampled(result.value) };
    },
    return: async () => {
      await iterator.return?.();
      return { done: true, value: undefined };
    },
  };
}

/** `logprobs`: likeliest first, and the sampled token among them. */
function likelyOf(token: Token, logprobs: ReadonlyMap<Token, number>, count = 0): SampledToken['likely'] {
  const top: LikelyToken[] = [];
  for (const [one, logprob] of logprobs) {
    if (top.length === count) break;
    top.push({ token: one, logprob });
  }
  return { logprob: logprobs.get(token)!, top };
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
    infill: infillOf(model),
  };
}

/** A file that has only some of the marks cannot be used for it. */
function infillOf({ tokens }: LlamaModel): InfillMarks | undefined {
  const { prefix, suffix, middle } = tokens.infill;
  if (prefix === null || suffix === null || middle === null) return undefined;
  return { prefix, suffix, middle };
}

/** Control tokens have no text, but for the tags of thinking and of calls where a vocabulary has them as such. */
function detokenizerOf(model: LlamaModel): Detokenize {
  const shown = shownControls(model);
  return (tokens, before) => {
    const special = tokens.some((token) => shown.has(token as Token));
    return model.detokenize(tokens as Token[], special, before as Token[]);
  };
}

function describerOf(model: LlamaModel): Engine['describe'] {
  const entries: readonly string[] = model.fileInfo.metadata.tokenizer.ggml.tokens;
  return (token) => {
    // After itself, so that no detokenizer takes its leading space for a text's.
    const text = model.detokenize([token as Token], true, [token as Token]);
    return singleToken(text, entries[token] ?? text);
  };
}
