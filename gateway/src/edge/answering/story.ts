// What observers are told of a request to a model: its record from the beginning, and once how it ended.
import type { Clock } from '../../core/clock.ts';
import { toGatewayError } from '../../core/errors.ts';
import { newRecord, type RequestObserver, type RequestRecord } from '../../core/observer.ts';
import type { Call } from '../asking/asked.ts';

export interface StoryOptions {
  readonly observer: RequestObserver;
  readonly clock: Clock;
}

/** Before anything happened to it. */
export function newStory({ exchange, dialect, key }: Call, { clock }: StoryOptions): RequestRecord {
  return newRecord(exchange.id, dialect.name, key.tenant, clock.now());
}

/** `failure`: what it failed by, as it was thrown; undefined: it ended well. */
export function endStory(record: RequestRecord, { observer, clock }: StoryOptions, failure: unknown): void {
  const totalMs = clock.now() - record.startedAt;
  if (failure === undefined) {
    observer.ended?.(record, 'ok', totalMs, undefined);
    return;
  }
  const { code, cause } = toGatewayError(failure);
  observer.ended?.(record, code, totalMs, cause);
}
