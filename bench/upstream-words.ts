// What the fake upstream says, and how a request asks it to hold still: the words that it shares with the clients and
// the scenario. It must never open a socket; the only thing it looks at is the clock.

/** Texts of one answer. */
export const TEXTS = 63;
/** Events of one answer: its opening, its texts and its end. */
export const EVENTS = TEXTS + 2;
/** Between two events of a stream, in ms. */
export const STEP_MS = 5;
/** How long a held answer is held, in ms: who has not left by then has not been noticed. */
export const HOLD_MS = 3_000;
export const MODEL = 'deepseek-r1';

/** In which part of an answer its client leaves: before the first token, between two, or before a whole answer. */
export const PHASES = ['waiting', 'streaming', 'JSON'] as const;
export type Phase = (typeof PHASES)[number];

/** How a held exchange ended. */
export interface Ending {
  readonly phase: Phase;
  /** When the upstream saw its socket close, by `monotonicMs`; null: not before the answer's end. */
  readonly atMs: number | null;
}

/** A prompt with this in it is held in that part, and how the exchange ends can be asked for. */
export function holdMark(phase: Phase): string {
  return `[hold: ${phase}]`;
}

/** The phase in which a request's text asks to be held. */
export function heldPhase(text: string): Phase | undefined {
  return text.includes('[hold: ') ? PHASES.find((phase) => text.includes(holdMark(phase))) : undefined;
}

/** A clock that all processes of a machine share, in ms. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

const STAMP = '@';
const STAMP_BYTE = STAMP.charCodeAt(0);
/** A stamp and what follows it: enough to know that the number is whole. */
const STAMP_LENGTH = 24;

/** A text that tells when it was sent. */
export function stamp(atMs: number): string {
  return `${STAMP}${atMs.toFixed(3)}`;
}

/**
 * Counts the stamps in a part of a stream, and appends how old each is, in ms. One that is cut by the part's end is counted
 * and its age is not taken.
 */
export function readStamps(bytes: Buffer, nowMs: number, agesMs: number[]): number {
  let count = 0;
  for (let at = bytes.indexOf(STAMP_BYTE); at >= 0; at = bytes.indexOf(STAMP_BYTE, at + 1)) {
    count += 1;
    const end = at + STAMP_LENGTH;
    if (end <= bytes.length) agesMs.push(nowMs - Number.parseFloat(bytes.toString('latin1', at + 1, end)));
  }
  return count;
}

const CREATED = 1_767_225_600;
const USAGE = { prompt_tokens: 120, completion_tokens: TEXTS, total_tokens: 120 + TEXTS };
const STREAM_HEAD =
  'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n' +
  'Transfer-Encoding: chunked\r\n\r\n';

/** The head of a stream and its opening event. */
export const OPENING = Buffer.from(
  STREAM_HEAD + framed(event({ choices: [choice({ role: 'assistant', content: '' })] })),
);

/** An event with this text. */
export function textEvent(content: string): Buffer {
  return Buffer.from(framed(event({ choices: [choice({ content })] })));
}

/** The last event, usage where it was asked for, `[DONE]` and the end of the body. */
export function closing(hasUsage: boolean): Buffer {
  const usage = hasUsage ? framed(event({ choices: [], usage: USAGE })) : '';
  return Buffer.from(
    `${framed(event({ choices: [choice({}, 'stop')] }))}${usage}${framed('data: [DONE]\n\n')}0\r\n\r\n`,
  );
}

/** A whole answer, as a response with its head. */
export const WHOLE = response('application/json', {
  id: 'chatcmpl-fake',
  object: 'chat.completion',
  created: CREATED,
  model: MODEL,
  choices: [
    {
      index: 0,
      message: { role: 'assistant', content: 'A short answer in one piece.' },
      logprobs: null,
      finish_reason: 'stop',
    },
  ],
  usage: USAGE,
});

/** A response of status 200: an object as JSON, a string as it is. */
export function response(type: string, body: object | string): Buffer {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return Buffer.from(
    `HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
}

function choice(delta: object, reason: string | null = null): object {
  return { index: 0, delta, logprobs: null, finish_reason: reason };
}

function event(members: object): string {
  const head = { id: 'chatcmpl-fake', object: 'chat.completion.chunk', created: CREATED, model: MODEL };
  return `data: ${JSON.stringify({ ...head, ...members })}\n\n`;
}

/** A chunk of a chunked body. */
function framed(text: string): string {
  return `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
}
