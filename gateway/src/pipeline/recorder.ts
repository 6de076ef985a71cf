// Writes a request's story down on its events' way into the log: when the first word came, how long the silences were, and
// how much of each its client had to wait through. Whoever spoke before and after a silence, it is one.
// It passes every event on as it is, but for a second `start`: one answer begins once, whoever speaks in the end.
import { type EventSink, isDelta } from '../core/chat.ts';
import type { Clock } from '../core/clock.ts';
import { type RequestObserver, type RequestRecord, STUTTER_MS } from '../core/observer.ts';
import type { StreamLog } from './stream-log.ts';

export function recorded(
  record: RequestRecord,
  log: StreamLog,
  clock: Clock,
  observer: RequestObserver,
): EventSink {
  let lastDeltaAt: number | undefined;
  let hasStarted = false;
  return (event) => {
    if (event.type === 'start') {
      record.speaker ??= event.speaker;
      if (hasStarted) return;
      hasStarted = true;
    } else if (isDelta(event)) {
      const at = clock.now();
      record.firstTokenMs ??= at - record.startedAt;
      if (event.type === 'text-delta') record.firstAnswerMs ??= at - record.startedAt;
      if (lastDeltaAt !== undefined) {
        const heardMs = record.streamed ? at - Math.max(lastDeltaAt, log.readerWaitsSince ?? at) : 0;
        if (heardMs > record.longestGapMs) record.longestGapMs = heardMs;
        if (heardMs > STUTTER_MS) record.stutters += 1;
        observer.gap?.(record, at - lastDeltaAt, heardMs);
      }
      lastDeltaAt = at;
    }
    log.push(event);
  };
}
