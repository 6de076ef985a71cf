// A request whose body is there: what it comes to. An answer that is kept already, one that is to be, or one of its own connection.
// Nothing is waited for here: of two requests of one name the second finds what the first began.
import type { RequestRecord } from '../../core/observer.ts';
import type { Readiness } from '../../core/world.ts';
import { type Asked, type Call, understand } from '../asking/asked.ts';
import { refuseUnlessReady } from '../asking/served-models.ts';
import type { Envelope } from '../http/envelope.ts';
import { requestName } from '../resume/idempotency.ts';
import type { KeptAnswer } from '../resume/kept-answer.ts';
import { beginKept, type KeptComputeOptions } from '../resume/kept-compute.ts';
import { type Coming, findNamed } from '../resume/kept-reading.ts';

export interface TakeOptions extends KeptComputeOptions {
  readonly readiness: () => Readiness;
  /** By which this server knows its own requests again, should a back end send them back. */
  readonly instanceId: string;
}

/** A request's body, in the form that is wanted of it. */
export interface Body {
  /** By which a request that is sent twice is known again. */
  bytes(): Buffer;
  /** What `parseJson` gave; throws as it does. */
  json(): unknown;
}

/** What a request came to: a new answer of its own connection, or one that is kept. */
export type Taken<From extends Envelope> =
  | { readonly asked: Asked<From> }
  | { readonly kept: KeptAnswer; readonly coming: Coming };

/** Throws what is wrong with the request. */
export function take<From extends Envelope>(
  call: Call<From>,
  record: RequestRecord,
  body: Body,
  options: TakeOptions,
): Taken<From> {
  const name = requestName(call.exchange, call.dialect.name, call.key, body.bytes);
  const earlier = name && findNamed(name, options);
  if (earlier) return { kept: earlier, coming: 'again' };
  refuseUnlessReady(options.readiness());
  const asked = understand(call, record, body.json(), options.instanceId);
  if (!name && !asked.isResumable && call.keepsAll !== true) return { asked };
  const kept = beginKept(asked, name, options);
  return kept ? { kept, coming: 'first' } : { asked };
}
