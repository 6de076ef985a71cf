// A real engine as tests meet it: where it is, how it is asked directly, and what it says of itself. What stands here is what
// its makers document: nothing of it is taken from the gateway's own table of vendors, which is what is tested.
import { setTimeout as sleep } from 'node:timers/promises';
import { readChat } from '../e2e/chat-stream.ts';
import { post } from '../e2e/harness.ts';

export interface Engine {
  /** As the table names it. */
  readonly name: string;
  readonly version: string;
  /** `kind` of the configuration. */
  readonly kind: string;
  /** The base of its API, with `/v1`. */
  readonly url: string;
  /** What it calls its model. */
  readonly model: string;
  /** Tokens that prompt and answer share. */
  readonly contextTokens: number;
  /** Calls at once, as it was started. */
  readonly slots: number;
  /** Members of a body by which it goes on with an assistant's last message. */
  readonly continues: Readonly<Record<string, unknown>>;
  /** Members of a body by which it computes all of a prompt: what it kept of others may change a greedy text. */
  readonly afresh: Readonly<Record<string, unknown>>;
  /** What it tells of its load that shows in the gateway. */
  readonly tells: readonly ('slots' | 'running')[];
  /** Calls that it runs now, by its own word. */
  running(): Promise<number>;
  stop(): Promise<void>;
}

export interface Message {
  readonly role: 'user' | 'assistant';
  readonly content: string;
}

/** OpenAI's answers, as far as the checks look at them. */
export interface Completion {
  readonly id: string;
  readonly object: string;
  readonly model: string;
  readonly choices: readonly {
    readonly index: number;
    readonly text?: string;
    readonly message?: { readonly role: string; readonly content: string | null };
    readonly logprobs?: {
      readonly content: readonly { readonly token: string; readonly top_logprobs: readonly unknown[] }[];
    } | null;
    readonly finish_reason: string;
  }[];
  readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number };
}

/** Asks an API for an answer as one JSON; rejects with the body where the status is not 200. */
export async function complete(url: string, path: string, body: object): Promise<Completion> {
  const response = await post(`${url}/${path}`, body);
  const text = await response.text();
  if (response.status !== 200) throw new Error(`status ${response.status}: ${text}`);
  return JSON.parse(text);
}

export interface DirectAnswer {
  readonly text: string;
  readonly promptTokens: number;
  readonly completionTokens: number;
}

/** Greedy, and asked of the engine itself: what the gateway's answers are compared with. */
export async function askDirectly(
  { url, model, afresh }: Engine,
  messages: readonly Message[],
  maxTokens: number,
  rest: object = {},
): Promise<DirectAnswer> {
  const body = { model, messages, max_tokens: maxTokens, temperature: 0, ...afresh, ...rest };
  // Streamed: as one JSON, some give the beginning that they were given once more.
  const seen = await readChat(new URL(url).origin, body);
  if (seen.error !== undefined) throw new Error(`The engine itself says: ${seen.error}`);
  const { text, promptTokens = 0, completionTokens = 0 } = seen;
  return { text, promptTokens, completionTokens };
}

/** Polls until it says that it runs so many calls or more; with 0, until it runs none. Rejects after the limit. */
export async function untilRunning(engine: Engine, count: number, limitMs: number): Promise<void> {
  const until = performance.now() + limitMs;
  for (;;) {
    const running = await engine.running();
    if (count === 0 ? running === 0 : running >= count) return;
    if (performance.now() > until) throw new Error(`${engine.name} runs ${running} calls, not ${count}.`);
    await sleep(20);
  }
}

/** The sum of a metric over its labels, from Prometheus' text format. */
export async function metricSum(url: string, name: string): Promise<number> {
  const text = await (await fetch(url)).text();
  const lines = text.split('\n').filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}
