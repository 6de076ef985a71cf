// One client's connection, and HTTP/1.1 on it: one exchange at a time, in the order of the requests. Whatever a client does or leaves
// undone, it ends: heads, idle times and good-byes have clocks, and what is read ahead of its turn has a bound.
import type { Socket } from 'node:net';
import { GatewayError } from '../../core/errors.ts';
import { errorBody } from '../../wire/error-body.ts';
import { HeadTooLarge, MalformedHttp } from '../../wire/http/head.ts';
import { leftEarly, Request } from './request.ts';
import { type RequestHead, RequestParser } from './request-parser.ts';
import { IDLE_MS, type OnWritten, Response, type ResponseChannel } from './response.ts';

export interface ConnectionOwner {
  /** How long a head may take, in ms: from the connection's beginning, or from its own first byte. */
  readonly headerTimeoutMs: number;
  readonly onExchange: (request: Request, response: Response) => void;
  /** Whether a request that asks for it is to have the connection for itself. */
  readonly takesOver: (request: Request) => boolean;
  /** It has it; `ahead`: what came behind it. */
  readonly onTakenOver: (request: Request, socket: Socket, ahead: Buffer) => void;
  /** It is closed, or taken over. */
  readonly onGone: (connection: ClientConnection) => void;
}

/** Of a body that nobody has asked for, and of requests that came before their turn, in bytes; then no more is read. */
const MOST_AHEAD_BYTES = 64 * 1024;
/** How long what a client still sends is read after the last answer, so that it gets to see it, in ms and bytes. */
const LINGER_MS = 2_000;
const LINGER_BYTES = 256 * 1024 * 1024;
const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n';
const NOTHING = Buffer.alloc(0);

export class ClientConnection implements ResponseChannel {
  readonly #socket: Socket;
  readonly #owner: ConnectionOwner;
  readonly #parser: RequestParser;
  /** The present ones, or the last. */
  #request: Request | undefined;
  #response: Response | undefined;
  /** Came before its turn. */
  #ahead: Buffer = NOTHING;
  #isAdvancing = false;
  #isTakenOver = false;
  /** No further request is read. */
  #isClosing = false;
  /** What comes is no HTTP. */
  #isBroken = false;
  #lingered = 0;
  /** Ends what may not take for ever: a head, a good-bye. */
  #limit: NodeJS.Timeout | undefined;
  /** Ends it when it was idle for long; made once, as there is one for every request. */
  #idle: NodeJS.Timeout | undefined;

  constructor(socket: Socket, owner: ConnectionOwner) {
    this.#socket = socket;
    this.#owner = owner;
    this.#parser = new RequestParser({
      head: (head) => this.#begin(head),
      data: (bytes) => this.#request!.push(bytes),
    });
    socket.on('data', this.#receive).on('end', this.#finish).on('drain', this.#flow);
    socket.on('close', this.#lose).on('error', ignore);
    this.#limitHead();
  }

  /** An answer is under way, or not with the system yet. */
  get isBusy(): boolean {
    return this.#isAnswering || !this.isDrained;
  }

  get mayStay(): boolean {
    return this.#request?.isComplete === true;
  }

  get isFull(): boolean {
    return this.#socket.writableNeedDrain;
  }

  get isDrained(): boolean {
    return this.#socket.writableLength === 0;
  }

  write(data: string | Buffer, encoding: 'latin1' | 'utf8', onWritten?: OnWritten): boolean {
    return this.#socket.write(data, encoding, onWritten);
  }

  ended(keepsAlive: boolean): void {
    this.#request?.discard();
    if (!keepsAlive) {
      this.#close();
      return;
    }
    if (this.#idle) this.#idle.refresh();
    else {
      this.#idle = setTimeout(() => {
        if (!this.#isAnswering) this.destroy();
      }, IDLE_MS).unref();
    }
    this.#advance();
  }

  get isGone(): boolean {
    return this.#socket.destroyed;
  }

  destroy(): void {
    this.#socket.destroy();
  }

  get #isAnswering(): boolean {
    return this.#response !== undefined && !this.#response.hasEnded;
  }

  readonly #receive = (bytes: Buffer): void => {
    if (this.#isClosing) {
      this.#linger(bytes);
      return;
    }
    this.#ahead = this.#ahead.length === 0 ? bytes : Buffer.concat([this.#ahead, bytes]);
    this.#advance();
  };

  /** Reads what has come, as far as it is its turn. One exchange may end while it is read, and the next begin. */
  #advance(): void {
    if (this.#isAdvancing) return;
    this.#isAdvancing = true;
    try {
      while (this.#ahead.length > 0 && this.#mayRead) this.#read();
    } catch (thrown) {
      if (!(thrown instanceof MalformedHttp)) throw thrown;
      this.#refuse(thrown);
    } finally {
      this.#isAdvancing = false;
    }
    if (this.#isTakenOver) return;
    const held = this.#ahead.length + (this.#request?.heldBytes ?? 0);
    if (held > MOST_AHEAD_BYTES) this.#socket.pause();
    else this.#readOn();
  }

  /** What comes next belongs to the present request, or it is the next one's turn. */
  get #mayRead(): boolean {
    if (this.#isClosing) return false;
    return this.#isAnswering ? !this.#parser.isDone : !this.isFull;
  }

  #read(): void {
    if (this.#parser.isDone) this.#parser.next();
    const bytes = this.#ahead;
    const used = this.#parser.read(bytes);
    this.#ahead = this.#isClosing || used === bytes.length ? NOTHING : bytes.subarray(used);
    if (this.#isTakenOver) {
      this.#handOver();
      return;
    }
    if (this.#parser.isDone) this.#completes();
    else if (!this.#isAnswering && !this.#parser.isIdle) this.#limitHead();
  }

  #begin(head: RequestHead): void {
    clearTimeout(this.#limit);
    this.#limit = undefined;
    const request = new Request(head, () => {
      if (head.awaitsContinue) this.#socket.write(CONTINUE);
      this.#readOn();
    });
    this.#request = request;
    if (head.asksForUpgrade && !head.hasBody && this.#owner.takesOver(request)) {
      this.#isTakenOver = true;
      return;
    }
    const { method, isOld, keepsAlive } = head;
    this.#response = new Response(this, { isHead: method === 'HEAD', isOld, keepsAlive });
    this.#owner.onExchange(request, this.#response);
  }

  #completes(): void {
    this.#request?.end();
    if (this.#isClosing) this.#socket.end();
  }

  #handOver(): void {
    this.#stop();
    const ahead = this.#ahead;
    this.#ahead = NOTHING;
    this.#socket.off('data', this.#receive).off('end', this.#finish).off('drain', this.#flow);
    this.#socket.off('close', this.#lose).off('error', ignore);
    this.#owner.onTakenOver(this.#request!, this.#socket, ahead);
  }

  /** What is no request gets an answer that says why; where one is under way, who reads it is told. */
  #refuse(fault: MalformedHttp | 'late'): void {
    this.#isBroken = true;
    if (this.#isClosing) {
      this.#socket.end();
      return;
    }
    if (this.#isAnswering) {
      this.#isClosing = true;
      this.#request!.fail(malformed());
      return;
    }
    const { status, error } = answerTo(fault);
    const text = `${JSON.stringify(errorBody(error))}\n`;
    this.#response = new Response(this, { isHead: false, isOld: false, keepsAlive: false });
    this.#response.begin(status, {
      'content-type': 'application/json; charset=utf-8',
      'content-length': Buffer.byteLength(text),
    });
    this.#response.end(text);
  }

  /** Closing while the client still sends would reset the connection, and the answer would be lost with it. */
  #close(): void {
    this.#isClosing = true;
    this.#ahead = NOTHING;
    this.#endLater(IDLE_MS);
    if (this.#isBroken || this.mayStay) this.#socket.end();
    this.#readOn();
  }

  /** The client may still read what it has not read yet. */
  #endLater(leftMs: number): void {
    clearTimeout(this.#limit);
    this.#limit = setTimeout(() => {
      if (this.isDrained || leftMs < LINGER_MS) this.destroy();
      else this.#endLater(leftMs - LINGER_MS);
    }, LINGER_MS).unref();
  }

  #linger(bytes: Buffer): void {
    this.#lingered += bytes.length;
    if (this.#lingered > LINGER_BYTES) this.destroy();
    if (this.#isBroken || this.#parser.isDone) return;
    try {
      this.#parser.read(bytes);
    } catch {
      this.destroy();
      return;
    }
    if (this.#parser.isDone) this.#completes();
  }

  readonly #flow = (): void => {
    this.#response?.flowed();
    this.#advance();
  };

  /** The client says no more: what is under way for it is no longer wanted. */
  readonly #finish = (): void => {
    if (this.#isAnswering) this.destroy();
  };

  readonly #lose = (): void => {
    this.#stop();
    // Most have come whole, and an error bears a stack.
    if (!this.mayStay) this.#request?.fail(leftEarly());
    this.#response?.lose();
  };

  #stop(): void {
    clearTimeout(this.#limit);
    clearTimeout(this.#idle);
    this.#owner.onGone(this);
  }

  #readOn(): void {
    if (this.#socket.isPaused()) this.#socket.resume();
  }

  #limitHead(): void {
    this.#limit ??= setTimeout(() => this.#refuse('late'), this.#owner.headerTimeoutMs).unref();
  }
}

/** What is wrong with a connection, its `close` tells. */
function ignore(): void {}

function malformed(): GatewayError {
  return new GatewayError('invalid_request', 'This is not HTTP/1.1.');
}

function answerTo(fault: MalformedHttp | 'late'): { readonly status: number; readonly error: GatewayError } {
  if (fault === 'late') {
    const error = new GatewayError('request_timeout', 'The headers were not complete in time.');
    return { status: error.status, error };
  }
  if (fault instanceof HeadTooLarge) {
    return { status: 431, error: new GatewayError('invalid_request', 'The headers are too large.') };
  }
  return { status: 400, error: malformed() };
}
