// A client that is cut off again and again and comes back each time for what it missed, over plain sockets, so that a cut may fall
// into any byte: of the head, of a chunk's frame, of a character.
import { connect } from 'node:net';

/** A route, as such a client sees it. */
export interface ResumableRoute {
  readonly name: string;
  readonly path: string;
  readonly body: object;
  /** What ends an event. */
  readonly end: '\n\n' | '\n';
  /** Whether an event is the mark by which the dialect ends a stream. */
  readonly isLast: (data: string) => boolean;
  /** The answer's text in an event's JSON; '' where it has none. */
  readonly textOf: (json: never) => string;
}

const isDone = (data: string) => data === '[DONE]';

export const RESUMABLE_ROUTES: readonly ResumableRoute[] = [
  {
    name: 'generate_stream',
    path: '/v1/models/story/generate_stream',
    body: { prompt: 'Go on.' },
    end: '\n',
    isLast: (data) => /"finish_reason":"/.test(data),
    textOf: ({ choices }: { choices: [{ text: string }] }) => choices[0].text,
  },
  {
    name: 'chat/completions',
    path: '/v1/chat/completions',
    body: { model: 'story', stream: true, messages: [{ role: 'user', content: 'Go on.' }] },
    end: '\n\n',
    isLast: isDone,
    textOf: ({ choices }: { choices: [{ delta: { content?: string } }] }) => choices[0].delta.content ?? '',
  },
  {
    name: 'completions',
    path: '/v1/completions',
    body: { model: 'story', stream: true, prompt: 'Go on.', max_tokens: 1_000 },
    end: '\n\n',
    isLast: isDone,
    textOf: ({ choices }: { choices: [{ text: string }] }) => choices[0].text,
  },
  {
    name: 'responses',
    path: '/v1/responses',
    body: { model: 'story', stream: true, input: 'Go on.' },
    end: '\n\n',
    isLast: (data) => data.includes('"type":"response.completed"'),
    textOf: ({ type, delta }: { type: string; delta?: string }) =>
      type === 'response.output_text.delta' ? (delta ?? '') : '',
  },
  {
    name: 'messages',
    path: '/v1/messages',
    body: {
      model: 'story',
      stream: true,
      max_tokens: 1_000,
      messages: [{ role: 'user', content: 'Go on.' }],
    },
    end: '\n\n',
    isLast: (data) => data.includes('"type":"message_stop"'),
    textOf: ({ delta }: { delta?: { text?: string } }) => delta?.text ?? '',
  },
];

export interface Attempt {
  /** 0: the head did not come whole. */
  readonly status: number;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  /** As far as it came, without the chunks' frames. */
  readonly body: Buffer;
  readonly isWhole: boolean;
}

const SILENCE_LIMIT_MS = 20_000;

/** Sends a request and reads the answer's first `cutAfter` bytes, head and frames included; then resets the connection. */
export function attempt(
  port: number,
  method: string,
  path: string,
  headers: Readonly<Record<string, string>>,
  body = '',
  cutAfter = Number.POSITIVE_INFINITY,
): Promise<Attempt> {
  const lines = {
    host: 'localhost',
    connection: 'close',
    'content-length': `${Buffer.byteLength(body)}`,
    ...headers,
  };
  const head = Object.entries(lines).map(([name, value]) => `${name}: ${value}\r\n`);
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    let received = Buffer.alloc(0);
    const finish = () => resolve(answerIn(received));
    socket.setTimeout(SILENCE_LIMIT_MS, () => reject(new Error(`${path}: a silence too long.`)));
    socket.on('connect', () => socket.write(`${method} ${path} HTTP/1.1\r\n${head.join('')}\r\n${body}`));
    socket.on('data', (bytes) => {
      received = Buffer.concat([received, bytes]);
      if (received.length < cutAfter) return;
      received = received.subarray(0, cutAfter);
      socket.resetAndDestroy();
    });
    socket.on('error', () => {});
    socket.on('close', finish);
  });
}

function answerIn(received: Buffer): Attempt {
  const headEnd = received.indexOf('\r\n\r\n');
  if (headEnd < 0) return { status: 0, headers: {}, body: Buffer.alloc(0), isWhole: false };
  const [status = '', ...lines] = received.toString('latin1', 0, headEnd).split('\r\n');
  const headers = Object.fromEntries(
    lines.map((line) => [
      line.slice(0, line.indexOf(':')).toLowerCase(),
      line.slice(line.indexOf(':') + 1).trim(),
    ]),
  );
  const rest = received.subarray(headEnd + 4);
  const { body, isWhole } =
    headers['transfer-encoding'] === 'chunked' ? unframed(rest) : { body: rest, isWhole: true };
  return { status: Number(status.split(' ')[1]), headers, body, isWhole };
}

function unframed(bytes: Buffer): { body: Buffer; isWhole: boolean } {
  const parts: Buffer[] = [];
  for (let at = 0; ; ) {
    const lineEnd = bytes.indexOf('\r\n', at);
    if (lineEnd < 0) return { body: Buffer.concat(parts), isWhole: false };
    const length = Number.parseInt(bytes.toString('latin1', at, lineEnd), 16);
    if (length === 0) return { body: Buffer.concat(parts), isWhole: true };
    parts.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + length));
    at = lineEnd + 2 + length + 2;
    if (at > bytes.length) return { body: Buffer.concat(parts), isWhole: false };
  }
}

/** An event with its id. */
export interface Event {
  readonly id: string;
  /** The JSON, or `[DONE]`. */
  readonly data: string;
}

/** The whole events of a body that may be cut, but for the blank ones. Throws on what is no event. */
export function eventsIn(body: Buffer, end: ResumableRoute['end']): Event[] {
  const pieces = body.toString('utf8').split(end).slice(0, -1);
  return pieces
    .filter((piece) => piece !== '')
    .map((piece) => (end === '\n' ? lineEvent(piece) : sentEvent(piece)));
}

function lineEvent(line: string): Event {
  const { event_id: id, ...rest } = JSON.parse(line) as { event_id: string };
  return { id, data: JSON.stringify(rest) };
}

function sentEvent(text: string): Event {
  const [, id, data] = /^id: (\S+)\n(?:event: \S+\n)?data: (.*)$/.exec(text) ?? [];
  if (id === undefined || data === undefined)
    throw new Error(`This is no event with an id: ${JSON.stringify(text)}`);
  return { id, data };
}

export interface ResumedStream {
  readonly events: readonly Event[];
  readonly text: string;
  readonly resets: number;
  /** Cuts before the stream's id was known. */
  readonly early: number;
}

export interface ResumeOptions {
  readonly port: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Unique: by it the client comes again while it does not know the stream's id. */
  readonly name: string;
  /** How often it is cut off, at most. */
  readonly resets: number;
  /** Bytes after which it is, at most. */
  readonly mostBytes: number;
  readonly random: () => number;
  /** Told how many events there are, after each connection. */
  readonly onEvents?: ((count: number) => void) | undefined;
}

/** Reads a stream to its end over as many connections as it takes. Rejects with what is wrong with an answer. */
export async function readResuming(route: ResumableRoute, options: ResumeOptions): Promise<ResumedStream> {
  const { port, headers, name, resets: most, mostBytes, random, onEvents } = options;
  const events: Event[] = [];
  let stream: string | undefined;
  let early = 0;
  for (let resets = 0; ; resets += 1) {
    const cutAfter = resets < most ? 1 + Math.floor(random() * mostBytes) : undefined;
    const last = events.at(-1)?.id;
    const got =
      stream === undefined
        ? await attempt(
            port,
            'POST',
            route.path,
            {
              ...headers,
              'content-type': 'application/json',
              'x-sluice-resumable': '1',
              'idempotency-key': name,
            },
            JSON.stringify(route.body),
            cutAfter,
          )
        : await attempt(
            port,
            'GET',
            `/v1/streams/${stream}`,
            { ...headers, ...(last !== undefined && { 'last-event-id': last }) },
            '',
            cutAfter,
          );
    if (got.status !== 0 && got.status !== 200 && got.status !== 204) {
      throw new Error(`${route.name}: ${got.status} ${got.body}`);
    }
    stream ??= got.headers['x-sluice-stream'];
    if (stream === undefined) early += 1;
    events.push(...eventsIn(got.body, route.end));
    onEvents?.(events.length);
    if (got.status === 204 || got.isWhole) return { events, text: textOf(events, route), resets, early };
  }
}

function textOf(events: readonly Event[], { textOf: read }: ResumableRoute): string {
  const objects = events.filter(({ data }) => data !== '[DONE]').map(({ data }) => JSON.parse(data));
  const failed = objects.find(({ error }) => error);
  if (failed) throw new Error(`It failed: ${JSON.stringify(failed)}`);
  return objects.map((object) => read(object as never)).join('');
}

/** What is wrong with the ids of a stream that was read in pieces; undefined: they rise, and none comes twice. */
export function flawOfIds(events: readonly Event[]): string | undefined {
  let before = 0;
  const [stream] = events[0]?.id.split(':') ?? [];
  for (const { id } of events) {
    const [own, number] = id.split(':');
    if (own !== stream) return `${id} is of another stream`;
    if (Number(number) <= before) return `${id} comes after ${before}`;
    before = Number(number);
  }
  return undefined;
}
