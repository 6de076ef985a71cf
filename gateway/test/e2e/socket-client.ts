// Clients of `/v1/socket`: one on Node's own WebSocket, which keeps what came by call; and one on a bare connection, for what
// no library would send.
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { waitUntil } from './harness.ts';

const LIMIT_MS = 20_000;

/** A frame as the server sends it. */
export interface Frame {
  readonly type: string;
  readonly id?: string;
  readonly stream?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly seq?: number;
  readonly data?: unknown;
  readonly status?: number;
  readonly error?: {
    readonly error: { readonly message: string; readonly code: string; readonly type: string };
  };
  readonly retry_after_ms?: number;
  readonly reason?: string;
  readonly drain_ms?: number;
}

export interface SocketClient {
  /** In their order. */
  readonly frames: Frame[];
  /** Once it has closed. */
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>;
  send(frame: object | string | Uint8Array): void;
  /** The frames of a call so far. */
  of(id: string): Frame[];
  /** All frames of a call, once it has ended. */
  ended(id: string): Promise<Frame[]>;
  /** The first frame that is meant, once it is there. */
  frame(isMeant: (frame: Frame) => boolean): Promise<Frame>;
  close(): Promise<void>;
}

/** `key`: sent as a page in a browser has to. Rejects where it is not let in. */
export async function openSocket(port: number, key?: string): Promise<SocketClient> {
  const protocols = [
    'sluice.v1',
    ...(key === undefined ? [] : [`key.${Buffer.from(key).toString('base64url')}`]),
  ];
  const ws = new WebSocket(`ws://127.0.0.1:${port}/v1/socket`, protocols);
  const frames: Frame[] = [];
  const { promise: closed, resolve } = Promise.withResolvers<{ code: number; reason: string }>();
  await new Promise<void>((opened, failed) => {
    ws.onopen = () => opened();
    ws.onerror = () => failed(new Error('The socket was refused.'));
    ws.onclose = ({ code, reason }) => resolve({ code, reason });
    ws.onmessage = ({ data }) => frames.push(JSON.parse(String(data)) as Frame);
  });
  const frame = async (isMeant: (one: Frame) => boolean) => {
    await waitUntil(
      () => frames.some(isMeant) || ws.readyState === WebSocket.CLOSED,
      LIMIT_MS,
      () => `No such frame: ${JSON.stringify(frames.slice(-5))}`,
    );
    const found = frames.find(isMeant);
    if (!found) throw new Error(`It closed before: ${JSON.stringify(frames.slice(-5))}`);
    return found;
  };
  const of = (id: string) => frames.filter((one) => one.id === id);
  return {
    frames,
    closed,
    of,
    frame,
    send: (one) =>
      ws.send(typeof one === 'string' || one instanceof Uint8Array ? (one as string) : JSON.stringify(one)),
    ended: async (id) => {
      await frame((one) => one.type === 'end' && one.id === id);
      return of(id);
    },
    close: async () => {
      ws.close();
      await closed;
    },
  };
}

/** A call of a chat with one message. */
export function chatCall(id: string, model: string, rest: object = {}, stream = true): object {
  const body = { model, stream, messages: [{ role: 'user', content: 'Go on.' }] };
  return { type: 'call', id, route: '/v1/chat/completions', body, ...rest };
}

/** The text in the chunks of a chat. */
export function chatText(frames: readonly Frame[]): string {
  return frames
    .filter(({ type }) => type === 'event')
    .map(
      ({ data }) =>
        (data as { choices?: [{ delta?: { content?: string } }?] }).choices?.[0]?.delta?.content ?? '',
    )
    .join('');
}

const OPCODES = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 };

export interface RawFrame {
  readonly opcode: keyof typeof OPCODES | number;
  readonly payload?: string | Buffer;
  readonly isLast?: boolean;
  readonly isMasked?: boolean;
  /** What the head claims; default: the payload's. */
  readonly length?: number;
}

/** The bytes of a client's frame (RFC 6455, 5.2), right or wrong. */
export function rawFrame({ opcode, payload = '', isLast = true, isMasked = true, length }: RawFrame): Buffer {
  const bytes = Buffer.from(payload);
  const claimed = length ?? bytes.length;
  const first = (isLast ? 0x80 : 0) | (typeof opcode === 'number' ? opcode : OPCODES[opcode]);
  const mask = isMasked ? 0x80 : 0;
  const size = Buffer.alloc(claimed < 126 ? 0 : claimed < 65_536 ? 2 : 8);
  if (size.length === 2) size.writeUInt16BE(claimed);
  if (size.length === 8) size.writeBigUInt64BE(BigInt(claimed));
  const short = size.length === 0 ? claimed : size.length === 2 ? 126 : 127;
  const head = Buffer.concat([Buffer.from([first, mask | short]), size]);
  if (!isMasked) return Buffer.concat([head, bytes]);
  const key = randomBytes(4);
  return Buffer.concat([head, key, bytes.map((byte, at) => byte ^ key[at % 4]!)]);
}

export interface RawClient {
  readonly socket: Socket;
  /** Of a close frame; undefined: none has come. */
  closeCode(): number | undefined;
  /** What came after the head. */
  text(): string;
  /** Pings that came. */
  pings(): number;
  /** Resolves when the connection has ended. */
  readonly ended: Promise<void>;
}

/** Upgraded, and answers nothing by itself. */
export function openRaw(port: number, headers: Readonly<Record<string, string>> = {}): Promise<RawClient> {
  const lines = {
    host: `127.0.0.1:${port}`,
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': randomBytes(16).toString('base64'),
    ...headers,
  };
  const head = Object.entries(lines).map(([name, value]) => `${name}: ${value}\r\n`);
  const socket = connect(port, '127.0.0.1');
  let bytes = Buffer.alloc(0);
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  socket.on('error', () => {});
  socket.on('close', () => end());
  return new Promise((resolve, reject) => {
    socket.setTimeout(LIMIT_MS, () => socket.destroy());
    socket.write(`GET /v1/socket HTTP/1.1\r\n${head.join('')}\r\n`);
    void ended.then(() => reject(new Error(bytes.toString())));
    socket.on('data', (more) => {
      const isOpen = bytes.includes('\r\n\r\n');
      bytes = Buffer.concat([bytes, more]);
      const bodyAt = bytes.indexOf('\r\n\r\n') + 4;
      if (isOpen || bodyAt < 4) return;
      if (!bytes.toString('latin1').startsWith('HTTP/1.1 101 ')) return reject(new Error(bytes.toString()));
      resolve({
        socket,
        ended,
        text: () => bytes.toString('utf8', bodyAt),
        pings: () => framesIn(bytes.subarray(bodyAt)).filter(({ opcode }) => opcode === OPCODES.ping).length,
        closeCode: () =>
          framesIn(bytes.subarray(bodyAt))
            .find(({ opcode }) => opcode === OPCODES.close)
            ?.payload.readUInt16BE(),
      });
    });
  });
}

/** The server's frames, which are not masked, as far as they are whole. */
export function framesIn(bytes: Buffer): { readonly opcode: number; readonly payload: Buffer }[] {
  const frames = [];
  for (let at = 0; at + 2 <= bytes.length; ) {
    const short = bytes[at + 1]! & 0x7f;
    const wide = short === 126 ? 2 : short === 127 ? 8 : 0;
    const begin = at + 2 + wide;
    if (begin > bytes.length) break;
    const length =
      wide === 0 ? short : wide === 2 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2));
    if (begin + length > bytes.length) break;
    frames.push({ opcode: bytes[at]! & 0x0f, payload: bytes.subarray(begin, begin + length) });
    at = begin + length;
  }
  return frames;
}
