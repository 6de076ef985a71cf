// What is asked: prompts made of words, or read from a file in the forms that `vllm bench serve` reads.
// There is no tokenizer here: lengths are in words that are one token in most vocabularies, or estimated from
// characters. The figures of a run state what the server really counted.
// Pure.
import { seededRandom } from './seeded-random.ts';

export interface ChatMessage {
  readonly role: string;
  readonly content: string;
}

export interface Prompt {
  readonly messages: readonly ChatMessage[];
  readonly maxTokens: number;
}

/** The prompt of the request with this number, from 0 on; the same whenever it is asked for. */
export type PromptOf = (index: number) => Prompt;

/** Each a token of its own, with the blank before it, in the vocabularies of GPT, Llama, Qwen and DeepSeek. */
const WORDS = (
  'time people way water day part sound work place year back thing name sentence man line boy farm end men land ' +
  'home hand picture air animal house page letter point mother answer study plant school father tree city earth eye ' +
  'light thought head story life road book river car side feet mile night walk sea mountain horse music color face ' +
  'wood list bird body dog family song door wind ship area half rock order fire problem piece king space'
).split(' ');
/** Of English and its like; Chinese has more tokens a character. */
const CHARACTERS_PER_TOKEN = 4;

export interface RandomPrompts {
  readonly seed: number;
  /** Words that come first, as a system message, and are the same for all. */
  readonly prefixTokens: number;
  readonly lengthsOf: (index: number) => { readonly inputTokens: number; readonly outputTokens: number };
}

/** Words at random. */
export function randomPrompts({ seed, prefixTokens, lengthsOf }: RandomPrompts): PromptOf {
  const prefix = prefixTokens > 0 ? [{ role: 'system', content: words(seed, prefixTokens) }] : [];
  return (index) => {
    const { inputTokens, outputTokens } = lengthsOf(index);
    // A large odd factor: the next seed's prompts are none of this one's.
    const content = words(seed + (index + 1) * 0x9e3779b1, inputTokens);
    return { messages: [...prefix, { role: 'user', content }], maxTokens: outputTokens };
  };
}

function words(seed: number, count: number): string {
  const random = seededRandom(seed);
  return Array.from({ length: Math.max(1, count) }, () => WORDS[Math.floor(random() * WORDS.length)]).join(
    ' ',
  );
}

/** Words at random in each message's place, about as long as it: what a server has computed of them is of no use to `prompts`. */
export function strangersOf(prompts: PromptOf, seed: number): PromptOf {
  return (index) => {
    const { messages, maxTokens } = prompts(index);
    const strange = messages.map(({ role, content }, place) => ({
      role,
      content: words(seed + (index + 1) * 0x9e3779b1 + place, contentTokens(content)),
    }));
    return { messages: strange, maxTokens };
  };
}

/** Estimated. What a file has in a message's place may be parts of it. */
function contentTokens(content: unknown): number {
  const text = typeof content === 'string' ? content : (JSON.stringify(content) ?? '');
  return Math.ceil(text.length / CHARACTERS_PER_TOKEN);
}

/**
 * Conversations of people, as the dataset ShareGPT has them: the first question of each is asked, and the answer that is
 * there says how long the new one may be, unless `outputTokens` does. Throws an Error where the text is none.
 */
export function shareGptPrompts(text: string, outputTokens: number | undefined): Prompt[] {
  const conversations: unknown = JSON.parse(text);
  if (!Array.isArray(conversations)) throw new Error('is no list of conversations');
  const prompts: Prompt[] = [];
  for (const { conversations: turns } of conversations as { conversations?: { value?: unknown }[] }[]) {
    const [question, answer] = turns ?? [];
    if (typeof question?.value !== 'string' || typeof answer?.value !== 'string') continue;
    prompts.push({
      messages: [{ role: 'user', content: question.value }],
      maxTokens: outputTokens ?? Math.max(1, Math.round(answer.value.length / CHARACTERS_PER_TOKEN)),
    });
  }
  if (prompts.length === 0) throw new Error('holds no conversation with a question and an answer');
  return prompts;
}

/**
 * A JSON object a line with `prompt`, or `messages`, and `output_tokens` if that line is to differ from `outputTokens`.
 * Throws an Error that names the line.
 */
export function customPrompts(text: string, outputTokens: number): Prompt[] {
  const prompts: Prompt[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    const { prompt, messages, output_tokens } = rowOf(line, index + 1);
    const isChat = Array.isArray(messages) && messages.length > 0;
    if (!isChat && typeof prompt !== 'string')
      throw new Error(`line ${index + 1} has neither "prompt" nor "messages"`);
    prompts.push({
      messages: isChat ? (messages as ChatMessage[]) : [{ role: 'user', content: prompt as string }],
      maxTokens: Number.isInteger(output_tokens) ? (output_tokens as number) : outputTokens,
    });
  }
  if (prompts.length === 0) throw new Error('holds no prompt');
  return prompts;
}

function rowOf(line: string, number: number): Readonly<Record<string, unknown>> {
  let row: unknown;
  try {
    row = JSON.parse(line);
  } catch {
    throw new Error(`line ${number} is no JSON`);
  }
  if (typeof row !== 'object' || row === null) throw new Error(`line ${number} is no JSON object`);
  return row as Record<string, unknown>;
}

/** From the first on, and over again where more are asked than there are; shuffled by the seed. */
export function inTurn(prompts: readonly Prompt[], seed: number): PromptOf {
  const random = seededRandom(seed);
  const shuffled = prompts
    .map((prompt) => ({ prompt, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ prompt }) => prompt);
  return (index) => shuffled[index % shuffled.length]!;
}

export interface BodyOptions {
  readonly model: string;
  /** Chat completions; else text completions, where the messages become one text. */
  readonly isChat: boolean;
  /** The answer does not end before `maxTokens`: servers of vLLM's kind know the field. */
  readonly ignoresEos?: boolean | undefined;
  /** Default: the server's. */
  readonly temperature?: number | undefined;
  /** More fields, which win. */
  readonly extra?: Readonly<Record<string, unknown>> | undefined;
}

/** The request as JSON. It asks for a stream, and for the server's own count. */
export function bodyOf(
  { messages, maxTokens }: Prompt,
  { model, isChat, ignoresEos, temperature, extra }: BodyOptions,
): string {
  return JSON.stringify({
    model,
    ...(isChat ? { messages } : { prompt: messages.map(({ content }) => content).join('\n') }),
    max_tokens: maxTokens,
    temperature,
    ...(ignoresEos && { ignore_eos: true }),
    stream: true,
    stream_options: { include_usage: true },
    ...extra,
  });
}
