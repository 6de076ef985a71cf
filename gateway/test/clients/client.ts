// What tests ask of every client library, in one form, and what its user gets to see of the answer: so one suite fits all.
// It must never mend what a client shows: a client that loses something says so in `shows`.

/** One use of a client. */
export interface Asked {
  /** The server, without a path. */
  readonly url: string;
  readonly model: string;
  readonly prompt: string;
  readonly stream: boolean;
  /** The longest answer, in tokens. */
  readonly maxTokens: number;
  /** Offers `get_weather` to the model. */
  readonly tools?: boolean | undefined;
  /** Leaves, as its users would, once so many pieces of text have come. */
  readonly leaveAfter?: number | undefined;
  /** Runs when it has left, while the client's process still lives. */
  readonly afterLeaving?: (() => Promise<void>) | undefined;
}

export interface SeenCall {
  readonly name: string;
  /** Parsed. */
  readonly arguments: unknown;
}

export interface SeenError {
  /** HTTP status; undefined where it is not shown. */
  readonly status: number | undefined;
  readonly message: string;
}

/** What the client's user sees; it grows while the answer comes. */
export interface Seen {
  /** Pieces of text, in their order. */
  readonly pieces: string[];
  reasoning: string;
  finish: string | undefined;
  /** Tokens of the answer. */
  completionTokens: number | undefined;
  toolCalls: readonly SeenCall[];
  error: SeenError | undefined;
}

/** What of an answer the client passes on to its user. */
export interface Shows {
  /** It can ask for an answer as one JSON. */
  readonly whole: boolean;
  readonly reasoning: boolean;
  /** The answer's tokens and why it ended. */
  readonly usage: boolean;
  readonly tools: boolean;
  /** An error's HTTP status and words; else only that there was one. */
  readonly errors: boolean;
}

export interface Client {
  readonly name: string;
  readonly shows: Shows;
  /** Why it cannot run on this machine. */
  readonly missing: string | undefined;
  /** Never rejects for what the server does: that is in `error`. */
  ask(asked: Asked): Promise<Seen>;
}

/** Longest life of a client's process, in ms. */
export const CLIENT_LIMIT_MS = 60_000;

export const ALL: Shows = { whole: true, reasoning: true, usage: true, tools: true, errors: true };

export const WEATHER = {
  name: 'get_weather',
  description: 'The weather of a city.',
  parameters: {
    type: 'object',
    properties: { city: { type: 'string' } },
    required: ['city'],
    additionalProperties: false,
  },
} as const;

export function nothingSeen(): Seen {
  return {
    pieces: [],
    reasoning: '',
    finish: undefined,
    completionTokens: undefined,
    toolCalls: [],
    error: undefined,
  };
}

/** One of the two ways to use a library: it notes in `seen` what its user sees. Rejects with what the library throws. */
type Use = (asked: Asked, seen: Seen) => Promise<void>;

/** Uses a library as it was asked to; what it throws its user sees as well. */
export async function use(asked: Asked, stream: Use, whole: Use): Promise<Seen> {
  const seen = nothingSeen();
  try {
    await (asked.stream ? stream : whole)(asked, seen);
  } catch (thrown) {
    seen.error = errorOf(thrown);
  }
  return seen;
}

/** What a thrown value tells its user. */
export function errorOf(thrown: unknown): SeenError {
  if (typeof thrown === 'string') return { status: undefined, message: thrown };
  const { status, statusCode, message } = thrown as Readonly<Record<string, unknown>>;
  const code = status ?? statusCode;
  return { status: typeof code === 'number' ? code : undefined, message: String(message) };
}
