// An engine's server without an engine, as cheap as can be: what stands in front of it is what is measured. It streams the
// same events to everybody who asks, at one pace, and tells when those that it held lost their sockets.
// One timer for all streams; bytes are made once a step. It must never take CPU that a gateway could be waiting for.
//   node bench/fake-upstream.ts PORT
import { createServer, type Socket } from 'node:net';
import { RequestReader } from './request-reader.ts';
import {
  closing,
  type Ending,
  HOLD_MS,
  heldPhase,
  MODEL,
  monotonicMs,
  OPENING,
  type Phase,
  response,
  STEP_MS,
  stamp,
  TEXTS,
  textEvent,
  WHOLE,
} from './upstream-words.ts';

/** An answer on its way. */
interface Exchange {
  readonly isStream: boolean;
  readonly texts: number;
  readonly end: Buffer;
  readonly phase: Phase | undefined;
  /** Steps before its first event. */
  wait: number;
  /** Events that it has sent. */
  sent: number;
}

const HOLD_STEPS = HOLD_MS / STEP_MS;
/** Of a reader that does not read. */
const MOST_UNREAD_BYTES = 1024 * 1024;
const MOST_ENDINGS = 1_000;
const CLOSING = closing(false);
const CLOSING_WITH_USAGE = closing(true);
const MODELS = response('application/json', { object: 'list', data: [{ id: MODEL, object: 'model' }] });
const METRICS = response('text/plain; charset=utf-8', '');
const NOT_FOUND = Buffer.from('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n');

const running = new Map<Socket, Exchange>();
let endings: Ending[] = [];
let timer: NodeJS.Timeout | undefined;

createServer({ noDelay: true }, (socket) => {
  const reader = new RequestReader(({ method, path, body }) => {
    if (method === 'GET') socket.write(lookUp(path));
    else if (path.endsWith('/chat/completions')) answer(socket, body);
    else socket.write(NOT_FOUND);
  });
  socket.on('data', (bytes: Buffer) => {
    try {
      reader.push(bytes);
    } catch (thrown) {
      socket.destroy(thrown as Error);
    }
  });
  socket.on('end', () => forget(socket, monotonicMs()));
  socket.on('close', () => forget(socket, monotonicMs()));
  // Who leaves in the middle may reset the connection: `close` follows.
  socket.on('error', () => {});
}).listen(Number(process.argv[2]), '127.0.0.1');

function lookUp(path: string): Buffer {
  if (path === '/metrics') return METRICS;
  if (path !== '/closed') return MODELS;
  const told = response('application/json', endings);
  endings = [];
  return told;
}

function answer(socket: Socket, body: string): void {
  const isStream = /"stream" *: *true/.test(body);
  const phase = heldPhase(body);
  if (!isStream && !phase) {
    socket.write(WHOLE);
    return;
  }
  running.set(socket, {
    isStream,
    texts: phase === 'streaming' ? HOLD_STEPS : TEXTS,
    end: /"include_usage" *: *true/.test(body) ? CLOSING_WITH_USAGE : CLOSING,
    phase,
    wait: phase && phase !== 'streaming' ? HOLD_STEPS : 0,
    sent: 0,
  });
  timer ??= setInterval(step, STEP_MS);
}

function step(): void {
  const text = textEvent(stamp(monotonicMs()));
  for (const [socket, exchange] of running) {
    if (exchange.wait > 0) {
      exchange.wait -= 1;
      continue;
    }
    const { sent } = exchange;
    exchange.sent += 1;
    const isLast = !exchange.isStream || sent > exchange.texts;
    // Before the bytes go: whoever has the whole answer must find its ending when it asks for it.
    if (isLast) forget(socket, null);
    if (!exchange.isStream) socket.write(WHOLE);
    else if (sent === 0) socket.write(OPENING);
    else socket.write(isLast ? exchange.end : text);
    if (socket.writableLength > MOST_UNREAD_BYTES) socket.destroy();
  }
}

/** The socket's exchange is over: at its end, or because the socket has closed. */
function forget(socket: Socket, atMs: number | null): void {
  const exchange = running.get(socket);
  if (!exchange) return;
  running.delete(socket);
  if (exchange.phase && endings.length < MOST_ENDINGS) endings.push({ phase: exchange.phase, atMs });
  if (running.size > 0) return;
  clearInterval(timer);
  timer = undefined;
}
