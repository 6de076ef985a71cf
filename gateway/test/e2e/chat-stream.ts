// Reads a streamed chat completion as strictly as a test can: every byte is accounted for, and what a client could take for a
// seam in the answer is counted.
import { post } from './harness.ts';

/** A stream's text at a moment; for who wants to do something in the middle of it. */
export type OnText = (text: string) => void;

export interface StreamedChat {
  /** Of HTTP. */
  readonly status: number;
  readonly backend: string | null;
  readonly text: string;
  /** Chunks that had text. */
  readonly pieces: number;
  /** The distinct `id`s and `created`s of its chunks. */
  readonly ids: readonly string[];
  readonly createds: readonly number[];
  /** Chunks that named a role. */
  readonly roles: number;
  readonly finishes: readonly string[];
  /** `[DONE]` was there, and was the end. */
  readonly isDone: boolean;
  /** The error's words, of the status' body or of an event. */
  readonly error: string | undefined;
  /** By the report, how often it went on after losing its back end. */
  readonly continued: number | undefined;
  readonly promptTokens: number | undefined;
  readonly completionTokens: number | undefined;
}

interface Chunk {
  readonly id: string;
  readonly created: number;
  readonly choices: readonly {
    readonly delta: { readonly role?: string; readonly content?: string };
    readonly finish_reason: string | null;
  }[];
  readonly usage?: { readonly prompt_tokens: number; readonly completion_tokens: number } | null;
  readonly sluice?: { readonly continued: number };
  readonly error?: { readonly message: string };
}

const DONE = 'data: [DONE]';

/** Asks for a stream, with its usage and report, and reads it to its end. Rejects only where the connection breaks. */
export async function readChat(
  url: string,
  body: object,
  onText: OnText = () => {},
  init: RequestInit = {},
): Promise<StreamedChat> {
  const asked = { stream: true, stream_options: { include_usage: true }, ...body };
  const response = await post(`${url}/v1/chat/completions`, asked, {
    ...init,
    headers: { 'x-sluice-report': '1', ...init.headers },
  });
  const seen = new ChatFold(response, onText);
  let rest = '';
  for await (const text of response.body!.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split('\n');
    rest = lines.pop()!;
    for (const line of lines) seen.line(line);
  }
  if (rest !== '') seen.line(rest);
  return seen.end();
}

class ChatFold {
  readonly #response: Response;
  readonly #onText: OnText;
  readonly #ids = new Set<string>();
  readonly #createds = new Set<number>();
  readonly #finishes: string[] = [];
  #text = '';
  #pieces = 0;
  #roles = 0;
  #isDone = false;
  #error: string | undefined;
  #continued: number | undefined;
  #usage: Chunk['usage'];

  constructor(response: Response, onText: OnText) {
    this.#response = response;
    this.#onText = onText;
  }

  line(line: string): void {
    if (line === '') return;
    if (this.#response.status !== 200) {
      this.#error = JSON.parse(line).error.message;
      return;
    }
    if (this.#isDone || !line.startsWith('data: '))
      throw new Error(`This has no place in the stream: ${line}`);
    if (line === DONE) this.#isDone = true;
    else this.#chunk(JSON.parse(line.slice('data: '.length)));
  }

  end(): StreamedChat {
    return {
      status: this.#response.status,
      backend: this.#response.headers.get('x-sluice-backend'),
      text: this.#text,
      pieces: this.#pieces,
      ids: [...this.#ids],
      createds: [...this.#createds],
      roles: this.#roles,
      finishes: this.#finishes,
      isDone: this.#isDone,
      error: this.#error,
      continued: this.#continued,
      promptTokens: this.#usage?.prompt_tokens,
      completionTokens: this.#usage?.completion_tokens,
    };
  }

  #chunk({ id, created, choices, usage, sluice, error }: Chunk): void {
    if (error) {
      this.#error = error.message;
      return;
    }
    this.#ids.add(id);
    this.#createds.add(created);
    this.#continued = sluice?.continued ?? this.#continued;
    this.#usage = usage ?? this.#usage;
    for (const { delta, finish_reason } of choices) {
      if (delta.role !== undefined) this.#roles += 1;
      if (finish_reason !== null) this.#finishes.push(finish_reason);
      if (!delta.content) continue;
      this.#text += delta.content;
      this.#pieces += 1;
      this.#onText(this.#text);
    }
  }
}

/** What is wrong with an answer that should be this text, whole and without a seam; undefined if it is. */
export function flawOf(chat: StreamedChat, text: string): string | undefined {
  if (chat.error !== undefined) return `an error: ${chat.error}`;
  if (chat.text !== text) return differenceOf(chat.text, text);
  if (chat.ids.length !== 1) return `${chat.ids.length} ids`;
  if (chat.createds.length !== 1) return `${chat.createds.length} times of creation`;
  if (chat.roles !== 1) return `${chat.roles} roles`;
  if (chat.finishes.length !== 1) return `finish reasons: ${chat.finishes.join(', ') || 'none'}`;
  return chat.isDone ? undefined : 'no [DONE]';
}

const AROUND = 24;

function differenceOf(text: string, expected: string): string {
  let at = 0;
  while (at < expected.length && text[at] === expected[at]) at += 1;
  const part = (whole: string) => JSON.stringify(whole.slice(Math.max(0, at - AROUND), at + AROUND));
  return `at ${at} of ${expected.length}: ${part(text)} instead of ${part(expected)}`;
}
