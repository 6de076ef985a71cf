// Opens many requests at once over plain sockets and counts what comes. Forked by clients.ts.
// It must never cost what an HTTP client costs, and never take an answer that failed or was cut for one that is whole.
import { connect, type Socket } from 'node:net';
import { monotonicMs, readStamps } from './upstream-words.ts';

export interface Order {
  /**
   * `stream`: until all have ended. `open`: until each has its first pieces, then left open. `json`: `total` requests over
   * `count` kept connections. `leave`: goes away in the middle of the answer. `close`: drops what was left open.
   */
  readonly kind: 'stream' | 'open' | 'json' | 'leave' | 'close';
  readonly port: number;
  readonly count: number;
  readonly total?: number;
  readonly path: string;
  readonly body: string;
  readonly key: string;
  /** More of them, by their names. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Never reads after the request was sent. */
  readonly isDeaf?: boolean;
  /** To `open`: how many pieces; default 1. */
  readonly afterLines?: number;
  /** To `leave`: after as many of the fake upstream's texts; 0: a little after the request. */
  readonly afterTexts?: number;
}

export interface Tally {
  /** Lines received. */
  readonly lines: number;
  /** Texts of the fake upstream received. */
  readonly texts: number;
  readonly requests: number;
  /** Milliseconds from request to last byte, for each that ended. */
  readonly totalsMs: readonly number[];
  /** Milliseconds between two reads of one stream. */
  readonly gapsMs: readonly number[];
  /** Milliseconds from the fake upstream's writing of a text to its being read here. */
  readonly agesMs: readonly number[];
  /** When the client left, by `monotonicMs`; 0 if none did. */
  readonly leftAtMs: number;
}

const NEWLINE = 10;
const BRACE = 125;
/** The end of a chunked answer. */
const END = '0\r\n\r\n';
const OK = 'HTTP/1.1 200 ';
/** No answer that is waited for is silent for longer. */
const SILENCE_LIMIT_MS = 60_000;
const LEAVE_AFTER_MS = 50;
const MOST_TOLD = 300;
const open = new Set<Socket>();

process.on('message', (order: Order) => {
  const tell = (outcome: Tally | Error) => process.send!(outcome);
  void carryOut(order).then(tell, tell);
});

type Mutable = { -readonly [Name in keyof Tally]: Tally[Name] extends readonly number[] ? number[] : number };

async function carryOut(order: Order): Promise<Tally> {
  const tally: Mutable = {
    lines: 0,
    texts: 0,
    requests: 0,
    totalsMs: [],
    gapsMs: [],
    agesMs: [],
    leftAtMs: 0,
  };
  if (order.kind === 'close') {
    for (const socket of open) socket.destroy();
    open.clear();
    return tally;
  }
  const share = Math.ceil((order.total ?? order.count) / order.count);
  const one = {
    json: () => askRepeatedly(order, share, tally),
    leave: () => leave(order, tally),
    stream: () => readStream(order, tally),
    open: () => readStream(order, tally),
  }[order.kind];
  await Promise.all(Array.from({ length: order.count }, one));
  return tally;
}

function requestText({ path, body, key, headers = {} }: Order): string {
  const more = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return (
    `POST ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${key}\r\n${more.join('')}` +
    `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
  );
}

/** A connection that ends with an error unless its answer is whole first; once settled that means nothing any more. */
function connected(
  order: Order,
  onConnect: (socket: Socket) => void,
  reject: (error: Error) => void,
): Socket {
  const socket = connect(order.port, '127.0.0.1', () => onConnect(socket));
  socket.on('error', reject);
  socket.on('close', () => reject(new Error(`${order.path}: the connection was closed before the end.`)));
  if (order.kind !== 'open' && !order.isDeaf) {
    socket.setTimeout(SILENCE_LIMIT_MS, () =>
      socket.destroy(new Error(`${order.path}: a silence too long.`)),
    );
  }
  return socket;
}

/** What is wrong with an answer that begins with these bytes. */
function failureIn(bytes: Buffer): Error | undefined {
  const start = bytes.toString('latin1', 0, OK.length);
  if (start === OK.slice(0, start.length)) return undefined;
  return new Error(`Not an answer: ${bytes.toString('utf8', 0, MOST_TOLD)}`);
}

function readStream(order: Order, tally: Mutable): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connected(order, () => socket.write(requestText(order)), reject);
    const startedAt = performance.now();
    let lastAt: number | undefined;
    let tail = '';
    let pieces = 0;
    let before = 0;
    open.add(socket);
    if (order.isDeaf) {
      socket.pause();
      resolve();
      return;
    }
    socket.on('data', (bytes: Buffer) => {
      const now = performance.now();
      const failure = lastAt === undefined && failureIn(bytes);
      if (failure) {
        socket.destroy(failure);
        return;
      }
      if (lastAt !== undefined) tally.gapsMs.push(now - lastAt);
      lastAt = now;
      tally.texts += readStamps(bytes, monotonicMs(), tally.agesMs);
      for (const byte of bytes) {
        if (byte === NEWLINE) tally.lines += 1;
        if (byte === NEWLINE && before === BRACE) pieces += 1;
        before = byte;
      }
      if (order.kind === 'open') {
        if (pieces < (order.afterLines ?? 1)) return;
        tally.requests += 1;
        socket.removeAllListeners('data');
        socket.resume();
        resolve();
        return;
      }
      // It may be cut, too.
      tail = (tail + bytes.toString('latin1', Math.max(0, bytes.length - END.length))).slice(-END.length);
      if (tail !== END) return;
      tally.requests += 1;
      tally.totalsMs.push(now - startedAt);
      open.delete(socket);
      resolve();
      socket.destroy();
    });
  });
}

function leave(order: Order, tally: Mutable): Promise<void> {
  const { afterTexts = 0 } = order;
  return new Promise((resolve, reject) => {
    const goAway = () => {
      tally.leftAtMs = monotonicMs();
      resolve();
      socket.destroy();
    };
    const socket = connected(
      order,
      () => {
        socket.write(requestText(order));
        if (afterTexts === 0) setTimeout(goAway, LEAVE_AFTER_MS);
      },
      reject,
    );
    let texts = 0;
    socket.on('data', (bytes: Buffer) => {
      texts += readStamps(bytes, 0, []);
      if (afterTexts > 0 && texts >= afterTexts) goAway();
    });
  });
}

function askRepeatedly(order: Order, times: number, tally: Mutable): Promise<void> {
  return new Promise((resolve, reject) => {
    let left = times;
    let received = '';
    let startedAt = 0;
    const text = requestText(order);
    const ask = () => {
      startedAt = performance.now();
      received = '';
      socket.write(text);
    };
    const socket = connected(order, ask, reject);
    socket.on('data', (bytes: Buffer) => {
      const failure = received === '' && failureIn(bytes);
      if (failure) {
        socket.destroy(failure);
        return;
      }
      received += bytes.toString('latin1');
      if (!isWhole(received)) return;
      tally.requests += 1;
      tally.totalsMs.push(performance.now() - startedAt);
      left -= 1;
      if (left > 0) {
        ask();
        return;
      }
      resolve();
      socket.destroy();
    });
  });
}

/** Whether an answer with its head is all there; `received` has a character for each byte. */
function isWhole(received: string): boolean {
  const headEnd = received.indexOf('\r\n\r\n');
  if (headEnd < 0) return false;
  const length = /\r\ncontent-length: *(\d+)/i.exec(received)?.[1];
  return length === undefined ? received.endsWith(END) : received.length >= headEnd + 4 + Number(length);
}
