// Log lines, by pino: for people on a terminal, as JSON anywhere else. No prompt, no answer and no key is ever given
// to it; what a request said stays in the request.
import pino from 'pino';
import pretty from 'pino-pretty';
import { ERROR_TRAITS } from '../core/errors.ts';
import type { Log, LogLevel } from '../core/log.ts';
import type { RequestObserver, RequestOutcome } from '../core/observer.ts';

const STDERR = 2;
/** Each write wakes a thread: under load it is for a hundred lines. Half of what a pipe holds, in characters. */
const BUFFER_LENGTH = 32 * 1024;
const FLUSH_MS = 100;

export interface LoggerOptions {
  readonly level: LogLevel | 'silent';
  /** Pretty lines instead of JSON. */
  readonly isTerminal: boolean;
  readonly useColour: boolean;
}

/** Writes to standard error: standard output belongs to what a command gives. */
export function createLog({ level, isTerminal, useColour }: LoggerOptions): Log {
  const destination = isTerminal ? prettyLines(useColour) : bufferedLines();
  const logger = pino({ level, base: null, timestamp: isoTimes() }, destination);
  return (lineLevel, message, fields = {}) => {
    const { cause } = fields;
    logger[lineLevel](cause === undefined ? fields : { ...fields, cause: describe(cause) }, message);
  };
}

function prettyLines(useColour: boolean): pino.DestinationStream {
  return pretty({
    colorize: useColour,
    singleLine: true,
    ignore: 'pid,hostname',
    translateTime: 'SYS:HH:MM:ss',
    destination: STDERR,
    sync: true,
  });
}

/** A write for every line would cost a request more than all of its routing: lines leave together, a tenth of a second late. */
function bufferedLines(): pino.DestinationStream {
  // It begins no write before it is told: one that has begun at the process's end would be lost with its thread.
  const destination = pino.destination({
    dest: STDERR,
    sync: false,
    minLength: BUFFER_LENGTH,
    maxWrite: 2 * BUFFER_LENGTH,
  });
  let lines = '';
  let timer: NodeJS.Timeout | undefined;
  let isWriting = false;
  /** Lines are to leave as soon as the ones before them have. */
  let isDue = false;
  const flush = () => {
    clearTimeout(timer);
    isDue = isWriting;
    if (lines === '' || isWriting) return;
    isWriting = true;
    destination.write(lines);
    lines = '';
    destination.flush();
  };
  destination.on('drain', () => {
    isWriting = false;
    if (isDue) flush();
  });
  process.on('exit', () => {
    if (lines !== '') destination.write(lines);
    destination.flushSync();
  });
  return {
    // Gathered here, since pino's own destination measures all that waits at every line.
    write(line) {
      if (lines === '') timer = setTimeout(flush, FLUSH_MS).unref();
      lines += line;
      if (lines.length >= BUFFER_LENGTH) flush();
    },
  };
}

/** As pino's own ISO times, but a second is spelled out once for all of its lines. */
function isoTimes(): () => string {
  let second = Number.NaN;
  let spelled = '';
  return () => {
    const now = Date.now();
    const ms = now % 1000;
    if (now - ms !== second) {
      second = now - ms;
      spelled = new Date(second).toISOString().slice(0, -'000Z'.length);
    }
    return `,"time":"${spelled}${`${ms}`.padStart(3, '0')}Z"`;
  };
}

/** One line for each request to a model, when it ended. */
export function requestLog(log: Log): RequestObserver {
  return {
    ended(record, outcome, totalMs, cause) {
      const { level, message } = verdict(outcome);
      log(level, message, {
        id: record.id,
        route: record.route,
        model: record.model,
        outcome,
        tenant: record.tenant,
        priority: record.priority,
        backend: record.backend,
        queue_ms: rounded(record.queueMs),
        predicted_first_token_ms: rounded(record.predictedFirstTokenMs),
        first_token_ms: rounded(record.firstTokenMs),
        total_ms: rounded(totalMs),
        prompt_tokens: record.usage?.promptTokens,
        cached_tokens: record.usage?.cachedTokens,
        completion_tokens: record.usage?.completionTokens,
        stutters: record.stutters || undefined,
        failovers: record.failovers || undefined,
        continued: record.continued || undefined,
        hedged: record.hedged || undefined,
        preempted: record.preempted || undefined,
        degraded: record.degraded.join(',') || undefined,
        ...(cause === undefined ? {} : { cause }),
      });
    },
  };
}

/** Several observers as one; they are told in order. */
export function allObservers(...observers: readonly RequestObserver[]): RequestObserver {
  return {
    started: (record) => {
      for (const observer of observers) observer.started?.(record);
    },
    gap: (record, gapMs, heardMs) => {
      for (const observer of observers) observer.gap?.(record, gapMs, heardMs);
    },
    failedOver: (record, code) => {
      for (const observer of observers) observer.failedOver?.(record, code);
    },
    continued: (record, kind) => {
      for (const observer of observers) observer.continued?.(record, kind);
    },
    hedged: (record, result) => {
      for (const observer of observers) observer.hedged?.(record, result);
    },
    preempted: (record) => {
      for (const observer of observers) observer.preempted?.(record);
    },
    resumed: (outcome) => {
      for (const observer of observers) observer.resumed?.(outcome);
    },
    ended: (record, outcome, totalMs, cause) => {
      for (const observer of observers) observer.ended?.(record, outcome, totalMs, cause);
    },
  };
}

function verdict(outcome: RequestOutcome): { level: LogLevel; message: string } {
  if (outcome === 'ok') return { level: 'info', message: 'answered' };
  if (outcome === 'cancelled') return { level: 'info', message: 'client left' };
  if (outcome === 'internal') return { level: 'error', message: 'failed by a bug' };
  return { level: ERROR_TRAITS[outcome].status >= 500 ? 'warn' : 'info', message: 'not answered' };
}

function describe(cause: unknown): unknown {
  return cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
}

function rounded(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : Math.round(ms * 10) / 10;
}
