// What a load has brought so far: one entry for each request, a count for each second, the silences between words in a
// histogram. It is bounded by the number of requests and the length of the run, not by the length of answers.
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import { STUTTER_MS } from '../core/observer.ts';
import { longestGap } from './answer-reader.ts';
import type { Ending, Heard } from './streamed-request.ts';

/** One request, as its client saw it. Durations in ms, from the moment at which it was due, sent late or not. */
export interface Attempt {
  /** Who asks; the same one may come back after a refusal. */
  readonly visitor: number;
  /** 1 the first time. */
  readonly number: number;
  readonly tenant: string;
  /** From the start of the load. */
  readonly dueMs: number;
  /** How late it was sent, by our fault: the time in which it was held back on purpose is not in it. */
  readonly lateMs: number;
  readonly ending: Ending;
  readonly reason: string | undefined;
  readonly retryAfterMs: number | undefined;
  readonly backend: string | undefined;
  /** Absent: no word came. */
  readonly firstMs: number | undefined;
  readonly lastMs: number | undefined;
  readonly endMs: number;
  readonly longestGapMs: number;
  readonly stutters: number;
  readonly pieces: number;
  /** As the server counts, else its pieces. */
  readonly tokens: number;
  readonly promptTokens: number | undefined;
  readonly cachedTokens: number | undefined;
}

/** Which request of which visitor, and when it was due and sent; on the load's clock. */
export interface Sending {
  readonly visitor: number;
  readonly number: number;
  readonly tenant: string;
  readonly dueAt: number;
  readonly lateMs: number;
}

/** Of one second. */
export interface Second {
  sent: number;
  complete: number;
  refused: number;
  /** Gave up, lost or failed. */
  unhappy: number;
  pieces: number;
}

/** In µs, exact to a hundredth. */
export type GapHistogram = RecordableHistogram;

const MICROS = 1_000;
/** A gap of more than this is counted as this. */
const MOST_GAP_MICROS = 3_600_000_000;

export class LoadRecord {
  readonly attempts: Attempt[] = [];
  /** Silences between pieces, by the name of a group; `""` for all. */
  readonly gaps = new Map<string, GapHistogram>();
  /** By the second since the start. */
  readonly seconds: Second[] = [];
  inFlight = 0;
  mostInFlight = 0;
  /** Messages of failures, the first of each reason: for people, who cannot act on a number. */
  readonly messages = new Map<string, string>();
  readonly startedAt: number;
  private readonly groupsOf: (attempt: Attempt) => readonly string[];

  /** `startedAt`: by the load's clock. `groupsOf`: the names of the groups, beside all, whose figures a request belongs to. */
  constructor(startedAt: number, groupsOf: (attempt: Attempt) => readonly string[] = () => []) {
    this.startedAt = startedAt;
    this.groupsOf = groupsOf;
  }

  sent(at: number): void {
    this.inFlight += 1;
    this.mostInFlight = Math.max(this.mostInFlight, this.inFlight);
    this.second(at).sent += 1;
  }

  word(at: number): void {
    this.second(at).pieces += 1;
  }

  ended({ visitor, number, tenant, dueAt, lateMs }: Sending, heard: Heard): void {
    this.inFlight -= 1;
    const { ending, reason, retryAfterMs, backend, endedAt, wordsAt, usage } = heard;
    if (ending === 'stopped') return;
    const second = this.second(endedAt);
    if (ending === 'complete' || ending === 'refused') second[ending] += 1;
    else second.unhappy += 1;
    if (reason !== undefined && heard.message && !this.messages.has(reason) && this.messages.size < 100)
      this.messages.set(reason, heard.message);
    const first = wordsAt[0];
    const last = wordsAt.at(-1);
    const attempt: Attempt = {
      visitor,
      number,
      tenant,
      dueMs: dueAt - this.startedAt,
      lateMs,
      ending,
      reason,
      retryAfterMs,
      backend,
      firstMs: first === undefined ? undefined : first - dueAt,
      lastMs: last === undefined ? undefined : last - dueAt,
      endMs: endedAt - dueAt,
      longestGapMs: longestGap(wordsAt),
      stutters: stuttersIn(wordsAt),
      pieces: wordsAt.length,
      tokens: usage?.tokens ?? wordsAt.length,
      promptTokens: usage?.promptTokens,
      cachedTokens: usage?.cachedTokens,
    };
    this.attempts.push(attempt);
    this.countGaps(attempt, wordsAt);
  }

  private countGaps(attempt: Attempt, wordsAt: readonly number[]): void {
    if (wordsAt.length < 2) return;
    const histograms = ['', ...this.groupsOf(attempt)].map((group) => this.histogram(group));
    for (let index = 1; index < wordsAt.length; index += 1) {
      const micros = Math.round((wordsAt[index]! - wordsAt[index - 1]!) * MICROS);
      const counted = Math.min(MOST_GAP_MICROS, Math.max(1, micros));
      for (const histogram of histograms) histogram.record(counted);
    }
  }

  private histogram(group: string): GapHistogram {
    let histogram = this.gaps.get(group);
    if (!histogram) {
      histogram = createHistogram({ lowest: 1, highest: MOST_GAP_MICROS, figures: 2 });
      this.gaps.set(group, histogram);
    }
    return histogram;
  }

  private second(at: number): Second {
    const index = Math.max(0, Math.floor((at - this.startedAt) / 1000));
    while (this.seconds.length <= index)
      this.seconds.push({ sent: 0, complete: 0, refused: 0, unhappy: 0, pieces: 0 });
    return this.seconds[index]!;
  }
}

function stuttersIn(wordsAt: readonly number[]): number {
  let count = 0;
  for (let index = 1; index < wordsAt.length; index += 1)
    if (wordsAt[index]! - wordsAt[index - 1]! > STUTTER_MS) count += 1;
  return count;
}
