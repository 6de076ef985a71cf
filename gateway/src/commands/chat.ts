// `sluice chat`: a conversation in the terminal with any server that speaks OpenAI's protocol.
// Answers go to standard output, everything else to standard error, so that an answer can be piped on.
import { createInterface } from 'node:readline/promises';
import { createParser } from 'eventsource-parser';
import { clientKey, wantsColour } from '../config.ts';
import { fail } from './terminal.ts';

export interface ChatFlags {
  readonly url: string;
  readonly model?: string;
  readonly system?: string;
  readonly maxTokens?: number;
  readonly temperature?: number;
  readonly key?: string;
}

interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

/** The parts of a chunk that are shown. */
interface Chunk {
  readonly error?: { readonly message?: string };
  readonly usage?: { readonly completion_tokens?: number } | null;
  readonly choices?: readonly {
    readonly delta?: { readonly content?: string | null; readonly reasoning_content?: string | null };
  }[];
}

interface Connection {
  readonly base: string;
  readonly headers: Readonly<Record<string, string>>;
}

const CONNECT_LIMIT_MS = 10_000;

export async function chat(prompt: string, flags: ChatFlags): Promise<void> {
  const key = flags.key ?? clientKey();
  const connection: Connection = {
    base: baseUrl(flags.url),
    headers: { 'content-type': 'application/json', ...(key ? { authorization: `Bearer ${key}` } : {}) },
  };
  const model = flags.model ?? (await firstModel(connection));
  const messages: ChatMessage[] = flags.system ? [{ role: 'system', content: flags.system }] : [];
  if (prompt !== '') {
    messages.push({ role: 'user', content: prompt });
    const answer = await ask(connection, model, messages, flags);
    process.exitCode = answer === undefined ? 1 : 0;
    return;
  }
  await converse(connection, model, messages, flags);
}

async function converse(
  connection: Connection,
  model: string,
  messages: ChatMessage[],
  flags: ChatFlags,
): Promise<void> {
  note(`Talking to ${model}. An empty line or Ctrl-D ends; Ctrl-C stops an answer.`);
  const lines = createInterface({ input: process.stdin, output: process.stderr, prompt: '> ' });
  // While an answer streams, Ctrl-C is the answer's; at the prompt it ends the conversation.
  lines.on('SIGINT', () => {
    if (!process.emit('SIGINT', 'SIGINT')) lines.close();
  });
  // Piped input ends while an answer is still coming: then there is nobody to prompt.
  let isOpen = true;
  lines.on('close', () => {
    isOpen = false;
  });
  lines.prompt();
  for await (const line of lines) {
    if (line.trim() === '') break;
    messages.push({ role: 'user', content: line });
    const answer = await ask(connection, model, messages, flags);
    if (answer === undefined) messages.pop();
    else messages.push({ role: 'assistant', content: answer });
    if (isOpen) lines.prompt();
  }
  lines.close();
}

/** Shows the answer as it comes. Returns it, perhaps cut by Ctrl-C; undefined if there was none. */
async function ask(
  { base, headers }: Connection,
  model: string,
  messages: readonly ChatMessage[],
  { maxTokens, temperature }: ChatFlags,
): Promise<string | undefined> {
  const stop = new AbortController();
  const onInterrupt = () => stop.abort();
  process.once('SIGINT', onInterrupt);
  const startedAt = performance.now();
  const shown = new Shown(startedAt);
  try {
    const response = await fetch(`${base}/chat/completions`, {
      method: 'POST',
      headers,
      signal: stop.signal,
      body: JSON.stringify({
        model,
        messages,
        stream: true,
        stream_options: { include_usage: true },
        max_tokens: maxTokens,
        temperature,
      }),
    });
    if (!response.ok || !response.body) throw new Error(await refusal(response));
    const parser = createParser({
      onEvent: ({ data }) => {
        if (data !== '[DONE]') shown.take(JSON.parse(data) as Chunk);
      },
    });
    for await (const text of response.body.pipeThrough(new TextDecoderStream())) parser.feed(text);
    shown.close();
    return shown.answer;
  } catch (thrown) {
    shown.close();
    if (stop.signal.aborted) return shown.answer || undefined;
    note(`The answer ${shown.answer ? 'broke off' : 'did not come'}: ${reasonOf(thrown)}`);
    return undefined;
  } finally {
    process.off('SIGINT', onInterrupt);
  }
}

/** What of an answer is on the screen, and how fast it came. */
class Shown {
  answer = '';
  readonly #startedAt: number;
  readonly #useColour = wantsColour(process.stdout.isTTY === true);
  #firstAt: number | undefined;
  #pieces = 0;
  #tokens: number | undefined;
  #isThinking = false;

  constructor(startedAt: number) {
    this.#startedAt = startedAt;
  }

  /** Throws what the server reports in the stream. */
  take({ error, usage, choices }: Chunk): void {
    if (error) throw new Error(error.message ?? 'the server reports an error without words');
    this.#tokens = usage?.completion_tokens ?? this.#tokens;
    const { content, reasoning_content: thinking } = choices?.[0]?.delta ?? {};
    if (thinking) this.#write(thinking, true);
    if (content) {
      this.#write(content, false);
      this.answer += content;
    }
  }

  /** Ends the line and says how fast it was. */
  close(): void {
    if (this.#firstAt === undefined) return;
    process.stdout.write(this.#isThinking && this.#useColour ? '\u001b[0m\n' : '\n');
    const seconds = (performance.now() - this.#firstAt) / 1000;
    const tokens = this.#tokens ?? this.#pieces;
    const rate = seconds > 0 && tokens > 1 ? `, ${((tokens - 1) / seconds).toFixed(1)} tokens/s` : '';
    note(`first token ${Math.round(this.#firstAt - this.#startedAt)} ms${rate}`);
  }

  #write(text: string, isThinking: boolean): void {
    this.#firstAt ??= performance.now();
    this.#pieces += 1;
    // Thinking is for reading, not for piping: where standard output is no terminal it is left out.
    if (isThinking && !process.stdout.isTTY) return;
    if (isThinking !== this.#isThinking && this.#useColour)
      process.stdout.write(isThinking ? '\u001b[2m' : '\u001b[0m\n');
    this.#isThinking = isThinking;
    process.stdout.write(text);
  }
}

async function firstModel({ base, headers }: Connection): Promise<string> {
  let response: Response;
  try {
    response = await fetch(`${base}/models`, { headers, signal: AbortSignal.timeout(CONNECT_LIMIT_MS) });
  } catch (thrown) {
    return fail(
      `No server answers at ${base} (${reasonOf(thrown)}). Start one with "npm start", or name one by --url.`,
    );
  }
  if (!response.ok) return fail(await refusal(response));
  const list = (await response.json()) as { data?: { id: string }[] };
  return list.data?.[0]?.id ?? fail(`The server at ${base} has no model yet: it may still be loading one.`);
}

async function refusal(response: Response): Promise<string> {
  const text = await response.text();
  try {
    const { error } = JSON.parse(text) as Chunk;
    if (error?.message) return error.message;
  } catch {
    // Not JSON: the status has to do.
  }
  return `HTTP ${response.status} ${response.statusText}`.trim();
}

/** As an OpenAI client takes it: `/v1` is added where there is no path. */
function baseUrl(text: string): string {
  if (!URL.canParse(text) || !/^https?:/.test(text))
    return fail(`--url must be an http(s) address, not "${text}".`);
  const url = new URL(text);
  const path = url.pathname.replace(/\/+$/, '');
  return `${url.origin}${path === '' ? '/v1' : path}`;
}

function reasonOf(thrown: unknown): string {
  const { message, cause } = thrown as Error;
  return cause instanceof Error ? ((cause as NodeJS.ErrnoException).code ?? cause.message) : message;
}

function note(line: string): void {
  const dim = wantsColour(process.stderr.isTTY === true);
  process.stderr.write(dim ? `\u001b[2m${line}\u001b[0m\n` : `${line}\n`);
}
