// One streamed chat request over a plain socket, with the moment of every event that comes: what a client feels. For
// benchmarks of single moments, not of load. Times are on the monotonic clock, in ms.
import { connect, type Socket } from 'node:net';

export interface TimedEvent {
  readonly at: number;
  /** Of its first choice; "" where it has none. */
  readonly text: string;
}

export class TimedRequest {
  readonly sentAt: number;
  readonly events: TimedEvent[] = [];
  readonly #socket: Socket;
  readonly #waiting = new Set<() => void>();
  #text = '';
  #isEnded = false;

  private constructor(socket: Socket, request: string) {
    this.#socket = socket;
    socket.on('data', (bytes: Buffer) => this.#take(bytes.toString('utf8')));
    socket.on('error', () => {});
    socket.on('close', () => this.#end());
    this.sentAt = performance.now();
    socket.write(request);
  }

  /** Connected before the request is sent, so that the connection is no part of any time. */
  static async send(port: number, key: string, body: object): Promise<TimedRequest> {
    const socket = await new Promise<Socket>((resolve, reject) => {
      const one = connect({ port, host: '127.0.0.1', noDelay: true }, () => resolve(one));
      one.once('error', reject);
    });
    const text = JSON.stringify(body);
    const head =
      `POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${key}\r\n` +
      `Content-Type: application/json\r\nConnection: close\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n`;
    return new TimedRequest(socket, head + text);
  }

  /** Resolves when so many events with text have come, or it has ended. */
  async untilTexts(count: number): Promise<void> {
    while (this.texts.length < count && !this.#isEnded) {
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  async untilEnded(): Promise<void> {
    await this.untilTexts(Number.POSITIVE_INFINITY);
  }

  /** Closes the connection, as a client that loses interest; returns when. */
  leave(): number {
    const at = performance.now();
    this.#socket.destroy();
    return at;
  }

  get texts(): readonly TimedEvent[] {
    return this.events.filter(({ text }) => text !== '');
  }

  /** What the client has read, for who wants to see that it is right. */
  get answer(): string {
    return this.texts.map(({ text }) => text).join('');
  }

  /** Chunk frames lie between events and never within: the server writes an event at a time. */
  #take(text: string): void {
    const at = performance.now();
    this.#text += text;
    for (;;) {
      const from = this.#text.indexOf('data: ');
      const to = this.#text.indexOf('\n\n', from);
      if (from < 0 || to < 0) break;
      this.events.push({ at, text: textIn(this.#text.slice(from + 'data: '.length, to)) });
      this.#text = this.#text.slice(to + 2);
    }
    this.#wake();
  }

  #end(): void {
    this.#isEnded = true;
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}

function textIn(data: string): string {
  if (data === '[DONE]') return '';
  const { choices, error } = JSON.parse(data);
  if (error) throw new Error(`The answer failed: ${error.message}`);
  return choices?.[0]?.delta?.content ?? '';
}
