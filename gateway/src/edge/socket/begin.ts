// How a frame comes to an answer: a call by the same way as a request of HTTP, a resumption by that of its stream. What is wrong
// is told as HTTP would tell it, in the shape of the call's dialect. Knows no connection.
import { GatewayError, toGatewayError } from '../../core/errors.ts';
import type { Log } from '../../core/log.ts';
import type { World } from '../../core/world.ts';
import type { Dialect } from '../../wire/dialect.ts';
import { errorBody } from '../../wire/error-body.ts';
import { type AccessRules, authenticate, type Caller } from '../access/access.ts';
import { setRateLimitHeaders } from '../access/rate-limit-headers.ts';
import { endStory, newStory } from '../answering/story.ts';
import type { Call } from '../asking/asked.ts';
import { type TakeOptions, take } from '../handlers/take.ts';
import type { Envelope } from '../http/envelope.ts';
import { requestId } from '../http/exchange.ts';
import type { KeptAnswer } from '../resume/kept-answer.ts';
import { type Coming, findStream, observed, tell } from '../resume/kept-reading.ts';
import { placeAfter } from '../resume/place.ts';
import { matchRoute, type Route } from '../routes.ts';
import type { CallFrame, FrameHeaders, ResumeFrame } from './frames.ts';

export interface BeginOptions extends TakeOptions {
  /** Asked once for each call, which then holds what it got. */
  readonly world: () => World;
  readonly access: AccessRules;
  readonly log: Log;
}

/** An answer to read. */
export interface Reading {
  readonly kept: KeptAnswer;
  /** The number of the first event to read; it is kept. */
  readonly from: number;
  /** What the answer's head says. */
  readonly headers: FrameHeaders;
}

/** Why there is none. */
export interface Refusal {
  readonly refusal: GatewayError;
  /** As the dialect tells it. */
  readonly body: object;
}

/** A call's frame as a request. Its answer is always kept: a socket that breaks is what it is for. */
class SocketEnvelope implements Envelope {
  readonly id: string;
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly #asked: ReadonlyMap<string, string | undefined>;

  constructor({ route, priority, deadline_ms, session, idempotency_key, headers = {} }: CallFrame) {
    this.path = route;
    this.id = requestId(headers['x-request-id']);
    this.headers = { 'x-request-id': this.id };
    this.#asked = new Map(
      Object.entries({
        ...headers,
        ...(priority !== undefined && { 'x-sluice-priority': priority }),
        ...(deadline_ms !== undefined && { 'x-sluice-deadline-ms': `${deadline_ms}` }),
        ...(session !== undefined && { 'x-sluice-session': session }),
        ...(idempotency_key !== undefined && { 'idempotency-key': idempotency_key }),
        'x-sluice-resumable': '1',
      }),
    );
  }

  header(name: string): string | undefined {
    return this.#asked.get(name) || undefined;
  }

  setHeader(name: string, value: string): void {
    this.headers[name] = value;
  }
}

/** `caller`: as the connection was asked for; whether its key still holds is looked at anew. */
export function beginCall(frame: CallFrame, caller: Caller, options: BeginOptions): Reading | Refusal {
  const envelope = new SocketEnvelope(frame);
  let dialect: Pick<Dialect, 'error'> | undefined;
  try {
    const world = options.world();
    const key = authenticate(caller, world, options.access);
    setRateLimitHeaders(envelope, options.quotas.standing(key));
    const { route, model: modelInPath } = matchRoute(frame.route);
    refuseOtherRoutes(route);
    dialect = route.dialect;
    const { idHeader } = route.dialect;
    if (idHeader !== undefined) envelope.setHeader(idHeader, envelope.id);
    const call = { exchange: envelope, dialect: route.dialect, modelInPath, key, world, keepsAll: true };
    const { kept, coming } = keptAnswer(call, frame.body, options);
    tell(options.observer, coming);
    const replayed = coming === 'again' ? { 'x-sluice-replayed': '1' } : {};
    return { kept, from: 1, headers: { ...envelope.headers, ...replayed } };
  } catch (thrown) {
    return refused(thrown, envelope.id, dialect, options);
  }
}

/** The answer may be one that another connection began, or a request of HTTP. */
export function resumeCall(
  { stream, after }: ResumeFrame,
  caller: Caller,
  options: BeginOptions,
): Reading | Refusal {
  let dialect: Pick<Dialect, 'error'> | undefined;
  const id = requestId(undefined);
  try {
    const key = authenticate(caller, options.world(), options.access);
    const kept = findStream(stream, key, options);
    dialect = kept.guise.dialect;
    const from = observed(options.observer, () => placeAfter(kept, after, 'after'));
    const hadAll = !kept.isRunning && from > 1 && from === kept.buffer.next;
    if (hadAll) options.observer.resumed?.('complete');
    else tell(options.observer, 'resuming');
    return { kept, from, headers: { 'x-request-id': id } };
  } catch (thrown) {
    return refused(thrown, id, dialect, options);
  }
}

function refuseOtherRoutes(
  route: Route,
): asserts route is Extract<Route, { readonly dialect: Dialect }> & { kind: 'generation' } {
  if (route.kind === 'generation') return;
  throw new GatewayError(
    'not_found',
    'On a socket there are only the routes on which a model answers in words.',
  );
}

/** What the request came to is told to the observers by whoever computes it; else here. */
function keptAnswer(
  call: Call,
  body: unknown,
  options: BeginOptions,
): { readonly kept: KeptAnswer; readonly coming: Coming } {
  const record = newStory(call, options);
  try {
    const bytes = () => Buffer.from(JSON.stringify(body) ?? '');
    const taken = take(call, record, { bytes, json: () => body }, options);
    if ('kept' in taken) return taken;
    throw new GatewayError(
      'overloaded',
      'There is no room to keep one more answer, as all on a socket are ("resume_memory_bytes").',
    );
  } catch (thrown) {
    endStory(record, options, thrown);
    throw thrown;
  }
}

function refused(
  thrown: unknown,
  id: string,
  dialect: Pick<Dialect, 'error'> | undefined,
  { log }: BeginOptions,
): Refusal {
  const refusal = toGatewayError(thrown);
  if (refusal.code === 'internal') log('error', 'A call failed by a bug.', { id, cause: refusal.cause });
  return { refusal, body: dialect?.error?.(refusal, id) ?? errorBody(refusal) };
}
