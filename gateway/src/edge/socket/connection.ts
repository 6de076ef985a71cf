// One socket: it takes frames, runs their calls, and sends what these have to say in turns, one event each, so that a long answer
// does not hold up a short one. Nothing is sent ahead of a client that does not read; what it may have open or waiting is bounded.
import type { Socket } from 'node:net';
import type { RawData, WebSocket } from 'ws';
import { GatewayError } from '../../core/errors.ts';
import { errorBody } from '../../wire/error-body.ts';
import type { Caller } from '../access/access.ts';
import { retryMs } from '../http/exchange.ts';
import type { RequestHeaders } from '../http/request-parser.ts';
import { type BeginOptions, beginCall, type Reading, type Refusal, resumeCall } from './begin.ts';
import {
  type CallFrame,
  endFrame,
  errorFrame,
  type FrameKind,
  goingAwayFrame,
  PONG,
  parseFrame,
  type ResumeFrame,
  type ServerFrame,
} from './frames.ts';
import { SocketCall } from './socket-call.ts';
import { textFrames } from './text-frames.ts';

export interface ConnectionOptions extends BeginOptions {
  /** How long the client may stop reading, in ms. */
  readonly slowReaderLimitMs: number;
  /** Told of every frame, either way. */
  readonly count: (kind: FrameKind) => void;
}

/** Open calls on one connection. */
export const MOST_CALLS = 256;
/** Messages that are no frames. */
export const MOST_FAULTS = 20;
/** UTF-16 units: no single write is made longer than this by joining frames. */
const MOST_AT_ONCE = 16 * 1024;
/** Answers to frames that the client does not read, in bytes; then its own are not read either. */
const MOST_BACKLOG_BYTES = 1024 * 1024;
/** Pings in a row that nothing came after. */
const MOST_MISSED = 2;
/** How long the other side may take to close, in ms. */
const CLOSE_LIMIT_MS = 2_000;

/** Of RFC 6455, 7.4.1. */
const GOING_AWAY = 1001;
const UNSUPPORTED_DATA = 1003;
const POLICY_VIOLATION = 1008;
const TRY_AGAIN_LATER = 1013;

export class SocketConnection {
  readonly #ws: WebSocket;
  readonly #socket: Socket;
  readonly #caller: Caller;
  readonly #options: ConnectionOptions;
  /** By their ids. */
  readonly #calls = new Map<string, SocketCall>();
  /** Those that may have something to send, whose turn is next first. */
  readonly #ready = new Set<SocketCall>();
  #isTurnDue = false;
  #isGoing = false;
  #faults = 0;
  #missed = 0;
  #bytesHeard: number;
  /** Takes back the limit of a client that does not read. */
  #stopWaiting: (() => void) | undefined;
  #stopClosing: (() => void) | undefined;

  constructor(ws: WebSocket, socket: Socket, headers: RequestHeaders, options: ConnectionOptions) {
    this.#ws = ws;
    this.#socket = socket;
    this.#caller = { headers: whoAsks(headers) };
    this.#options = options;
    this.#bytesHeard = socket.bytesRead;
    ws.on('message', (data, isBinary) => this.#hear(data, isBinary));
    ws.on('close', () => this.#gone());
    // It is followed by the close, and the client's bytes are no fault of ours.
    ws.on('error', () => {});
    socket.on('drain', () => this.#flows());
  }

  /** A call is open, or something was not sent yet. */
  get isBusy(): boolean {
    return this.#calls.size > 0 || this.#socket.writableLength > 0;
  }

  get #isOpen(): boolean {
    return this.#ws.readyState === this.#ws.OPEN;
  }

  /** Called now and then: looks whether the other side is still there. One that does not read has its own limit. */
  beat(): void {
    if (!this.#isOpen || this.#stopWaiting) return;
    const { bytesRead } = this.#socket;
    if (bytesRead !== this.#bytesHeard) this.#missed = 0;
    this.#bytesHeard = bytesRead;
    if (this.#missed === MOST_MISSED) {
      this.cut();
      return;
    }
    this.#missed += 1;
    this.#ws.ping();
  }

  /** No new calls; it closes when the last one has ended. */
  goAway(drainMs: number): void {
    this.#isGoing = true;
    this.#send([goingAwayFrame(drainMs)]);
    this.#closeIfDone();
  }

  /** Ends it at once. */
  cut(): void {
    this.#ws.terminate();
  }

  #hear(data: RawData, isBinary: boolean): void {
    // What was on its way when it was closed.
    if (!this.#isOpen) return;
    if (isBinary) {
      this.#close(UNSUPPORTED_DATA, 'A message here is text.');
      return;
    }
    const frame = parseFrame(data as Buffer);
    if ('fault' in frame) {
      this.#options.count('unknown');
      this.#refuseFrame(frame.fault, frame.id);
      return;
    }
    this.#options.count(frame.type);
    switch (frame.type) {
      case 'call':
      case 'resume':
        this.#begin(frame);
        break;
      case 'cancel':
        this.#cancel(frame.id);
        break;
      case 'ping':
        this.#send([PONG]);
    }
  }

  #begin(frame: CallFrame | ResumeFrame): void {
    const { id } = frame;
    if (this.#calls.has(id)) {
      const message = `The call "${id}" is open: a new one needs another id.`;
      this.#refuseFrame(new GatewayError('invalid_request', message, { param: 'id' }), id);
      return;
    }
    const begun = this.#calls.size < MOST_CALLS ? this.#take(frame) : tooMany();
    if ('refusal' in begun) {
      this.#refuse(begun, id);
      return;
    }
    const call = new SocketCall(id, begun);
    this.#calls.set(id, call);
    this.#takesTurn(call);
  }

  #take(frame: CallFrame | ResumeFrame): Reading | Refusal {
    return frame.type === 'call'
      ? beginCall(frame, this.#caller, this.#options)
      : resumeCall(frame, this.#caller, this.#options);
  }

  /** Of a call that has ended meanwhile it is no mistake. */
  #cancel(id: string): void {
    const call = this.#calls.get(id);
    if (!call) return;
    this.#forget(call);
    const reason = new GatewayError('cancelled', 'The client wants this answer no more.');
    if (!call.kept.isRead) this.#options.kept.remove(call.kept, reason);
    this.#send([endFrame(id, 'cancelled')]);
    this.#closeIfDone();
  }

  /** What is none of a call that could be told apart is told without an id. */
  #refuseFrame(fault: GatewayError, id: string | undefined): void {
    const own = id === undefined || this.#calls.has(id) ? undefined : id;
    this.#refuse({ refusal: fault, body: errorBody(fault) }, own);
    this.#faults += 1;
    if (this.#faults === MOST_FAULTS) this.#close(POLICY_VIOLATION, 'Too many messages that are no frames.');
  }

  #refuse({ refusal, body }: Refusal, id: string | undefined): void {
    const error = errorFrame(id, refusal.status, body, retryMs(refusal));
    this.#send(id === undefined ? [error] : [error, endFrame(id, 'failed')]);
  }

  #takesTurn(call: SocketCall): void {
    if (this.#calls.get(call.id) !== call) return;
    this.#ready.add(call);
    this.#turnLater();
  }

  /** All that comes within one turn of the event loop leaves in one write. */
  #turnLater(): void {
    if (this.#isTurnDue) return;
    this.#isTurnDue = true;
    setImmediate(() => {
      this.#isTurnDue = false;
      this.#turn();
    });
  }

  /** Until nobody has anything to send, or the client is to read first. */
  #turn(): void {
    while (this.#ready.size > 0 && this.#isOpen && !this.#socket.writableNeedDrain)
      this.#send(this.#nextFrames());
    this.#closeIfDone();
  }

  #nextFrames(): ServerFrame[] {
    const frames: ServerFrame[] = [];
    let length = 0;
    for (const call of this.#ready) {
      if (length > MOST_AT_ONCE) break;
      this.#ready.delete(call);
      const frame = call.next();
      if (!frame) {
        void call.news().then(() => this.#takesTurn(call));
        continue;
      }
      // Behind all others: a set is walked in the order in which it was filled, also while it is.
      this.#ready.add(call);
      if (frame.kind === 'end') this.#forget(call);
      frames.push(frame);
      length += frame.text.length;
    }
    return frames;
  }

  #send(frames: readonly ServerFrame[]): void {
    if (!this.#isOpen || frames.length === 0) return;
    for (const { kind } of frames) this.#options.count(kind);
    if (this.#socket.write(textFrames(frames.map(({ text }) => text)))) return;
    const { clock, slowReaderLimitMs } = this.#options;
    this.#stopWaiting ??= clock.after(slowReaderLimitMs, () =>
      this.#close(TRY_AGAIN_LATER, `Nothing was read for ${slowReaderLimitMs / 1000} s.`),
    );
    if (this.#socket.writableLength > MOST_BACKLOG_BYTES) this.#ws.pause();
  }

  #flows(): void {
    this.#stopWaiting?.();
    this.#stopWaiting = undefined;
    if (this.#ws.isPaused) this.#ws.resume();
    this.#turnLater();
  }

  #forget(call: SocketCall): void {
    this.#calls.delete(call.id);
    this.#ready.delete(call);
    call.leave();
  }

  #closeIfDone(): void {
    if (this.#isGoing && this.#calls.size === 0) this.#close(GOING_AWAY, 'The server is shutting down.');
  }

  #close(code: number, reason: string): void {
    if (!this.#isOpen) return;
    this.#leaveAll();
    this.#ws.close(code, reason);
    this.#stopClosing = this.#options.clock.after(CLOSE_LIMIT_MS, () => this.cut());
  }

  #gone(): void {
    this.#leaveAll();
    this.#stopClosing?.();
  }

  /** Their answers go on for those who come again within the grace. */
  #leaveAll(): void {
    for (const call of this.#calls.values()) this.#forget(call);
    this.#stopWaiting?.();
    this.#stopWaiting = undefined;
  }
}

/** What says who a client is, of all that it said: a connection may last for days. */
function whoAsks(headers: RequestHeaders): RequestHeaders {
  const { host, origin, authorization } = headers;
  return {
    host,
    origin,
    authorization,
    'x-api-key': headers['x-api-key'],
    'sec-websocket-protocol': headers['sec-websocket-protocol'],
  };
}

function tooMany(): Refusal {
  const refusal = new GatewayError('rate_limited', `At most ${MOST_CALLS} calls are open on one connection.`);
  return { refusal, body: errorBody(refusal) };
}
