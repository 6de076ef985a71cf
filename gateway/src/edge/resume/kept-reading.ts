// Requests that come for an answer that is kept: from its beginning or from where they were, as often as they like. What is wrong
// with them is told in the shape of the answer's own dialect, as far as they may know that it exists.
import { GatewayError, toGatewayError } from '../../core/errors.ts';
import type { RequestObserver, ResumeOutcome } from '../../core/observer.ts';
import type { Exchange } from '../http/exchange.ts';
import type { KeptAnswer } from './kept-answer.ts';
import type { KeptAnswers, RequestName } from './kept-answers.ts';
import { writeKeptStream, writeKeptWhole } from './kept-writer.ts';
import { placeOf } from './place.ts';
import type { Owner } from './stream-ids.ts';

export interface KeptStoreOptions {
  readonly kept: KeptAnswers;
  readonly observer: RequestObserver;
}

export interface KeptReadingOptions extends KeptStoreOptions {
  /** Silence before a blank line of a JSON answer, in ms. */
  readonly keepAliveMs: number;
  /** How long the client may stop reading, in ms. */
  readonly slowReaderLimitMs: number;
}

/** How somebody came to an answer: with the request that began it, with the same one again, or for its stream. */
export type Coming = 'first' | 'again' | 'resuming';

const OUTCOMES: Partial<Record<GatewayError['code'], ResumeOutcome>> = {
  invalid_request: 'bad_id',
  not_found: 'unknown',
  stream_gone: 'gone',
  idempotency_mismatch: 'mismatch',
};

/** The answer that a request of this name began; undefined: it is the first. Throws `idempotency_mismatch`. */
export function findNamed(name: RequestName, { kept, observer }: KeptStoreOptions): KeptAnswer | undefined {
  return observed(observer, () => kept.named(name));
}

/** The stream of this id, of whoever asks. Throws `not_found`, `stream_gone`. */
export function findStream(id: string, owner: Owner, { kept, observer }: KeptStoreOptions): KeptAnswer {
  return observed(observer, () => kept.find(id, owner));
}

/** `GET /v1/streams/{id}`. Throws `not_found`, `stream_gone`. */
export async function resumeStream(
  exchange: Exchange,
  id: string,
  owner: Owner,
  options: KeptReadingOptions,
): Promise<void> {
  const kept = findStream(id, owner, options);
  await showKept(exchange, kept, 'resuming', options);
}

/** `DELETE /v1/streams/{id}`. Throws as `resumeStream` does. */
export function cancelStream(exchange: Exchange, id: string, owner: Owner, options: KeptStoreOptions): void {
  const found = findStream(id, owner, options);
  options.kept.remove(found, new GatewayError('cancelled', 'The client wants this answer no more.'));
  options.observer.resumed?.('cancelled');
  sendNothing(exchange);
}

/** Answers the request with it, whatever happens; never rejects. */
export async function showKept(
  exchange: Exchange,
  kept: KeptAnswer,
  coming: Coming,
  options: KeptReadingOptions,
): Promise<void> {
  const { slowReaderLimitMs } = options;
  exchange.speak(kept.guise.dialect);
  try {
    if (kept.guise.isStream) await showStream(exchange, kept, coming, options);
    else await showWhole(exchange, kept, coming, options);
  } catch (thrown) {
    exchange.sendError(toGatewayError(thrown), kept.guise.errorHeaders());
  }
  // What the client does not take is not waited for for ever; that it left has been seen to.
  await exchange.response.taken(slowReaderLimitMs)?.catch(() => {});
}

async function showStream(
  exchange: Exchange,
  kept: KeptAnswer,
  coming: Coming,
  { observer, slowReaderLimitMs }: KeptReadingOptions,
): Promise<void> {
  const { id, guise, buffer } = kept;
  const from = coming === 'first' ? 1 : observed(observer, () => placeOf(kept, exchange));
  if (!kept.isRunning && from > 1 && from === buffer.next) {
    observer.resumed?.('complete');
    sendNothing(exchange);
    return;
  }
  tell(observer, coming);
  await writeKeptStream(kept, exchange, {
    from,
    isBegun: coming === 'resuming',
    headers: { ...(guise.isNumbered && { 'x-sluice-stream': id }), ...headersOf(coming) },
    slowReaderLimitMs,
  });
}

async function showWhole(
  exchange: Exchange,
  kept: KeptAnswer,
  coming: Coming,
  { observer, keepAliveMs }: KeptReadingOptions,
): Promise<void> {
  tell(observer, coming);
  await writeKeptWhole(kept, exchange, { headers: headersOf(coming), keepAliveMs });
}

function headersOf(coming: Coming): { readonly 'x-sluice-replayed'?: string } {
  return coming === 'again' ? { 'x-sluice-replayed': '1' } : {};
}

/** Tells the observer of who came for an answer that was there. */
export function tell(observer: RequestObserver, coming: Coming): void {
  if (coming !== 'first') observer.resumed?.(coming === 'again' ? 'replayed' : 'resumed');
}

/** Tells the observer, too, why it is refused. */
export function observed<T>(observer: RequestObserver, find: () => T): T {
  try {
    return find();
  } catch (thrown) {
    const outcome = OUTCOMES[toGatewayError(thrown).code];
    if (outcome) observer.resumed?.(outcome);
    throw thrown;
  }
}

function sendNothing(exchange: Exchange): void {
  exchange.begin(204, {});
  exchange.response.end();
}
