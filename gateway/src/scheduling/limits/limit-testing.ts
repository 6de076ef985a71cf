// A server under a load that never lets up, in virtual time: what a limit makes of it. For tests of limits.
import type { ConcurrencyLimit } from './concurrency-limit.ts';

/** What a call meets that begins beside `running - 1` others. */
export interface SimulatedAnswer {
  /** To its first word, in ms; undefined: it is refused. */
  readonly firstTokenMs: number | undefined;
  /** To its end, in ms. */
  readonly holdMs: number;
}

export interface SimulationOptions {
  readonly server: (running: number, now: number) => SimulatedAnswer;
  /** Calls that wait for a place at a time; default: any number. */
  readonly offered?: ((now: number) => number) | undefined;
  readonly untilMs: number;
}

interface Event {
  readonly at: number;
  readonly run: () => void;
}

/** Where the limit stood whenever it was told something. */
export interface LimitAt {
  readonly at: number;
  readonly value: number;
}

/** Keeps as many calls running as the limit lets, and tells it what becomes of them. */
export function simulateLimit(limit: ConcurrencyLimit, options: SimulationOptions): LimitAt[] {
  const { server, offered = () => Number.POSITIVE_INFINITY, untilMs } = options;
  const events: Event[] = [];
  const course: LimitAt[] = [];
  let now = 0;
  let running = 0;
  const plan = (afterMs: number, run: () => void) => {
    const at = now + afterMs;
    const behind = events.findLastIndex((event) => event.at <= at);
    events.splice(behind + 1, 0, { at, run });
  };
  const fill = () => {
    while (running < Math.min(limit.value, offered(now))) begin();
  };
  const begin = () => {
    running += 1;
    const startedAt = now;
    const { firstTokenMs, holdMs } = server(running, now);
    const tell = (outcome: 'ok' | 'overload') => {
      limit.sampled({ startedAt, at: now, firstTokenMs, running, outcome });
      course.push({ at: now, value: limit.value });
    };
    if (firstTokenMs !== undefined) plan(firstTokenMs, () => tell('ok'));
    plan(holdMs, () => {
      if (firstTokenMs === undefined) tell('overload');
      running -= 1;
    });
  };
  // Callers look again now and then, whatever ends.
  const look = () => {
    fill();
    plan(50, look);
  };
  plan(0, look);
  for (let event = events.shift(); event && event.at <= untilMs; event = events.shift()) {
    now = event.at;
    event.run();
    fill();
  }
  return course;
}

/** The limits between two times. */
export function valuesBetween(course: readonly LimitAt[], from: number, to: number): number[] {
  return course.filter(({ at }) => at >= from && at < to).map(({ value }) => value);
}

export function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
