// One response on its way to a client: its head leaves with the first of its body, each piece is one write, and its end is told.
// Whoever makes it may wait until its client takes more, or all of it, and never for ever: the client reads, it leaves, or its
// time is up.

// Not the global one, which is asked for through a getter each time.
import { Buffer } from 'node:buffer';
import { STATUS_CODES } from 'node:http';
import { setImmediate as turnsEnd } from 'node:timers/promises';
import { GatewayError } from '../../core/errors.ts';

/** Names in lower case. */
export type ResponseHeaders = Readonly<Record<string, string | number | undefined>>;

/** What a response needs of its connection. */
export interface ResponseChannel {
  /** Another request may follow on it: all of the present one has come. */
  readonly mayStay: boolean;
  /** The system takes no more for now. */
  readonly isFull: boolean;
  /** The system has taken all that was written. */
  readonly isDrained: boolean;
  readonly isGone: boolean;
  /** False: it is full. `onWritten`: the system has it, or an error says why it never will. */
  write(data: string | Buffer, encoding: 'latin1' | 'utf8', onWritten?: OnWritten): boolean;
  /** The response has been written whole. `keepsAlive`: its head said that another one may follow. */
  ended(keepsAlive: boolean): void;
  /** Cuts the connection. */
  destroy(): void;
}

export type OnWritten = (error?: Error | null) => void;

/** What its request said of how it is to be sent. */
export interface ResponseForm {
  readonly isHead: boolean;
  /** HTTP/1.0 has no chunks: such a body ends with its connection. */
  readonly isOld: boolean;
  /** The connection may serve another request, as far as the client goes. */
  readonly keepsAlive: boolean;
}

interface Listener {
  readonly lost: (reason: GatewayError) => void;
  readonly flows?: () => void;
  readonly taken?: () => void;
}

/** How long a connection is kept for its next request. Behind a proxy ours must be the longer time: one that uses a socket again as we close it reports a 502. */
export const IDLE_MS = 75_000;
const STAYS = `connection: keep-alive\r\nkeep-alive: timeout=${IDLE_MS / 1000}\r\n`;
const CLOSES = 'connection: close\r\n';
const LAST_CHUNK = '0\r\n\r\n';
const LINE_END = Buffer.from('\r\n');

export class Response {
  /** Nothing can change its status any more. */
  hasBegun = false;
  hasEnded = false;
  readonly #channel: ResponseChannel;
  readonly #form: ResponseForm;
  readonly #listeners = new Set<Listener>();
  /** Not yet written. */
  #head: { readonly status: number; readonly headers: ResponseHeaders } | undefined;
  #framing: 'none' | 'plain' | 'chunks' = 'plain';
  #keepsAlive = false;
  #isLost = false;
  /** The system has said that it has all of it. */
  #isWritten = false;

  constructor(channel: ResponseChannel, form: ResponseForm) {
    this.#channel = channel;
    this.#form = form;
  }

  /** The system has all of it. */
  get isTaken(): boolean {
    return this.hasEnded && !this.#isLost && (this.#isWritten || this.#channel.isDrained);
  }

  /** Its client will not get all of it: it left, or was cut off. */
  get isLost(): boolean {
    return this.#isLost || (this.#channel.isGone && !this.isTaken);
  }

  /** Its client is to read before more of it is made. */
  get isFull(): boolean {
    return this.#channel.isFull;
  }

  /** Status and headers, which leave with the first of the body. A body without a `content-length` is sent in chunks. */
  begin(status: number, headers: ResponseHeaders): void {
    if (this.hasBegun) throw new Error('A response has one head.');
    this.hasBegun = true;
    this.#head = { status, headers };
    if (this.#form.isHead || status === 204 || status === 304) this.#framing = 'none';
    else if (headers['content-length'] === undefined && !this.#form.isOld) this.#framing = 'chunks';
  }

  /** Sends the head before there is anything to write. */
  flushHead(): void {
    if (!this.isLost) this.#send('', '');
  }

  /** A piece of the body, in one write. False: wait for `flows` before the next. */
  write(body: string | Buffer): boolean {
    if (this.isLost || this.hasEnded) return false;
    return this.#send(body, '');
  }

  /** The last piece. */
  end(body = ''): void {
    if (this.hasEnded) return;
    this.#isLost = this.isLost;
    this.hasEnded = true;
    if (this.#isLost) return;
    this.#send(body, this.#framing === 'chunks' ? LAST_CHUNK : '', this.#written);
    this.#channel.ended(this.#keepsAlive);
  }

  /** Cuts its connection. */
  destroy(): void {
    this.#channel.destroy();
  }

  /**
   * Calls `onLost` when the client leaves before all of it is taken, at once if it has. Returns what ends the watch, to be called with
   * the end of the work: a connection serves many requests.
   */
  watch(onLost: (reason: GatewayError) => void): () => void {
    if (this.isLost) onLost(clientLeft());
    const listener = { lost: onLost };
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /**
   * Resolves when the system takes more. Rejects with `cancelled` if the client leaves before, and with `slow_reader` after the
   * limit, in ms; its connection is cut then, since it would not read an error either.
   */
  flows(limitMs: number): Promise<void> {
    return this.#channel.isFull || this.isLost ? this.#waits('flows', limitMs) : Promise.resolve();
  }

  /** Resolves when the system has all of it, and rejects as `flows` does; undefined: it has. */
  taken(limitMs: number): Promise<void> | undefined {
    return this.isTaken ? undefined : this.#takes(limitMs);
  }

  /** Its connection takes more again. */
  flowed(): void {
    for (const { flows } of [...this.#listeners]) flows?.();
  }

  /** Its connection is gone. */
  lose(): void {
    if (this.isTaken || this.#isLost) return;
    this.#isLost = true;
    for (const { lost } of [...this.#listeners]) lost(clientLeft());
  }

  readonly #written: OnWritten = (error) => {
    if (error) {
      this.lose();
      return;
    }
    this.#isWritten = true;
    for (const { taken } of [...this.#listeners]) taken?.();
  };

  /** What was made in this turn leaves at its end (`Exchange.send`): then mostly nobody need be waited for. */
  async #takes(limitMs: number): Promise<void> {
    await turnsEnd();
    if (!this.isTaken) await this.#waits('taken', limitMs);
  }

  #waits(event: 'flows' | 'taken', limitMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (error?: GatewayError) => {
        clearTimeout(timer);
        this.#listeners.delete(listener);
        if (error) reject(error);
        else resolve();
      };
      const timer = setTimeout(() => {
        settle(new GatewayError('slow_reader', `The client read nothing for ${limitMs / 1000} s.`));
        this.destroy();
      }, limitMs).unref();
      const listener: Listener = {
        lost: settle,
        [event]: () => settle(),
      };
      this.#listeners.add(listener);
      if (this.isLost) settle(clientLeft());
    });
  }

  /** The head as it is sent, once. Whether its connection stays is known no earlier: the rest of the request may have come meanwhile. */
  #takeHead(): string {
    if (!this.#head) return '';
    const { status, headers } = this.#head;
    this.#head = undefined;
    let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`;
    for (const name in headers) {
      const value = headers[name];
      if (value !== undefined)
        head += `${name}: ${typeof value === 'string' ? headerSafe(value) : value}\r\n`;
    }
    if (this.#framing === 'chunks') head += 'transfer-encoding: chunked\r\n';
    if (headers.connection === undefined) {
      const endsWithConnection = this.#framing === 'plain' && headers['content-length'] === undefined;
      this.#keepsAlive = this.#form.keepsAlive && this.#channel.mayStay && !endsWithConnection;
      head += this.#keepsAlive ? STAYS : CLOSES;
    }
    return `${head}date: ${httpDate()}\r\n\r\n`;
  }

  #send(body: string | Buffer, last: string, onWritten?: OnWritten): boolean {
    const head = this.#takeHead();
    const shown = this.#framing === 'none' ? '' : body;
    // An empty chunk would be the last one.
    const isChunk = this.#framing === 'chunks' && shown.length > 0;
    if (head === '' && shown.length === 0 && last === '' && !onWritten) return !this.#channel.isFull;
    if (typeof shown !== 'string') {
      const before = Buffer.from(isChunk ? `${head}${shown.length.toString(16)}\r\n` : head, 'latin1');
      // To copy some kilobytes costs less than a second write.
      return this.#channel.write(
        Buffer.concat(isChunk ? [before, shown, LINE_END] : [before, shown]),
        'latin1',
      );
    }
    const length = Buffer.byteLength(shown);
    const framed = isChunk ? `${length.toString(16)}\r\n${shown}\r\n` : shown;
    return this.#channel.write(head + framed + last, length === shown.length ? 'latin1' : 'utf8', onWritten);
  }
}

/** Why the work for a client ends that has left. */
export function clientLeft(): GatewayError {
  return new GatewayError('cancelled', 'The client left.');
}

/** Text as a header's value: what is not plain ASCII is percent-encoded, and so is `%` itself then. */
export function headerSafe(text: string): string {
  return /^[\x20-\x7e]*$/.test(text) ? text : encodeURIComponent(text.toWellFormed()).replaceAll('%2F', '/');
}

let second = 0;
let date = '';

/** Of now (RFC 9110, 6.6.1). Made once a second. */
function httpDate(): string {
  const now = Math.floor(Date.now() / 1000);
  if (now !== second) {
    second = now;
    date = new Date(now * 1000).toUTCString();
  }
  return date;
}
