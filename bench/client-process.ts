// Opens many requests at once over plain sockets and counts what comes. Forked by clients.ts.
import { connect, type Socket } from 'node:net';

export interface Order {
  /** `stream`: until all have ended. `open`: until each has its first piece, then left open. `json`: `total` requests over `count` kept connections. `close`: drops what was left open. */
  readonly kind: 'stream' | 'open' | 'json' | 'close';
  readonly port: number;
  readonly count: number;
  readonly total?: number;
  readonly path: string;
  readonly body: string;
  readonly key: string;
  /** Never reads after the request was sent. */
  readonly isDeaf?: boolean;
}

export interface Tally {
  /** Lines received. */
  readonly lines: number;
  readonly requests: number;
  /** Milliseconds from request to last byte, for each that ended. */
  readonly totalsMs: readonly number[];
  /** Milliseconds between two reads of one stream. */
  readonly gapsMs: readonly number[];
}

const NEWLINE = 10;
const open = new Set<Socket>();

process.on('message', (order: Order) => void carryOut(order).then((tally) => process.send!(tally)));

async function carryOut(order: Order): Promise<Tally> {
  const tally = { lines: 0, requests: 0, totalsMs: [] as number[], gapsMs: [] as number[] };
  if (order.kind === 'close') {
    for (const socket of open) socket.destroy();
    open.clear();
    return tally;
  }
  const share = Math.ceil((order.total ?? order.count) / order.count);
  const one =
    order.kind === 'json' ? () => askRepeatedly(order, share, tally) : () => readStream(order, tally);
  await Promise.all(Array.from({ length: order.count }, one));
  return tally;
}

function requestText({ path, body, key }: Order): string {
  return (
    `POST ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${key}\r\n` +
    `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
  );
}

type Mutable = { lines: number; requests: number; totalsMs: number[]; gapsMs: number[] };

function readStream(order: Order, tally: Mutable): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(order.port, '127.0.0.1', () => socket.write(requestText(order)));
    const startedAt = performance.now();
    let lastAt: number | undefined;
    socket.on('error', reject);
    open.add(socket);
    if (order.isDeaf) {
      socket.pause();
      resolve();
      return;
    }
    socket.on('data', (bytes: Buffer) => {
      const now = performance.now();
      if (lastAt !== undefined) tally.gapsMs.push(now - lastAt);
      lastAt = now;
      for (const byte of bytes) if (byte === NEWLINE) tally.lines += 1;
      if (order.kind === 'open') {
        if (!bytes.includes('}\n')) return;
        tally.requests += 1;
        socket.removeAllListeners('data');
        socket.resume();
        resolve();
        return;
      }
      // The end of a chunked answer.
      if (bytes.subarray(-5).toString('latin1') !== '0\r\n\r\n') return;
      tally.requests += 1;
      tally.totalsMs.push(now - startedAt);
      open.delete(socket);
      socket.destroy();
      resolve();
    });
  });
}

function askRepeatedly(order: Order, times: number, tally: Mutable): Promise<void> {
  return new Promise((resolve, reject) => {
    let left = times;
    let expected = -1;
    let received = '';
    let startedAt = 0;
    const text = requestText(order);
    const ask = () => {
      startedAt = performance.now();
      expected = -1;
      received = '';
      socket.write(text);
    };
    const socket = connect(order.port, '127.0.0.1', ask);
    socket.on('error', reject);
    socket.on('data', (bytes: Buffer) => {
      received += bytes.toString('latin1');
      if (expected < 0) {
        const headEnd = received.indexOf('\r\n\r\n');
        if (headEnd < 0) return;
        expected = headEnd + 4 + Number(/content-length: (\d+)/i.exec(received)![1]);
      }
      if (received.length < expected) return;
      tally.requests += 1;
      tally.totalsMs.push(performance.now() - startedAt);
      left -= 1;
      if (left > 0) {
        ask();
        return;
      }
      socket.destroy();
      resolve();
    });
  });
}
