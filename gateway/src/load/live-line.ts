// What is going on while a load runs: one line that redraws itself on a terminal, else a plain line now and then.
// It must never cost what would disturb the load: it looks at the newest requests only.
import { quantile } from '../figures/statistics.ts';
import type { LoadRecord } from './load-record.ts';
import type { Words } from './words.ts';

export interface LiveLineOptions {
  /** That of the standard error, so that the standard output stays clean. */
  readonly write: (text: string) => void;
  readonly isTerminal: boolean;
  /** Of the terminal; undefined: unknown. */
  readonly columns: () => number | undefined;
  readonly words: Words;
  readonly now: () => number;
}

/** First tokens and speed are those of the last so many seconds. */
const RECENT_SECONDS = 5;
/** At most so many of the newest requests are looked at. */
const MOST_RECENT = 2_000;
const REDRAW_MS = 250;
const PLAIN_LINE_MS = 5_000;

/** Shows it until the returned function is called, which takes the line away. */
export function showLiveLine(record: LoadRecord, options: LiveLineOptions): () => void {
  const { write, isTerminal, columns, words, now } = options;
  const draw = () => {
    const line = liveLine(record, now(), words);
    // One column stays free: a full line would wrap, and the next draw would start a line too low.
    write(isTerminal ? `\r\u001b[2K${line.slice(0, Math.max(20, (columns() || 80) - 1))}` : `${line}\n`);
  };
  const timer = setInterval(draw, isTerminal ? REDRAW_MS : PLAIN_LINE_MS);
  return () => {
    clearInterval(timer);
    if (isTerminal) write('\r\u001b[2K');
  };
}

/** At `now`, by the load's clock. */
export function liveLine(record: LoadRecord, now: number, words: Words): string {
  const { attempts, seconds, startedAt, inFlight } = record;
  const elapsed = (now - startedAt) / 1000;
  const from = Math.max(0, Math.floor(elapsed) - RECENT_SECONDS);
  const recent = attempts
    .slice(-MOST_RECENT)
    .filter(({ dueMs, endMs, firstMs }) => firstMs !== undefined && dueMs + endMs >= from * 1000)
    .map(({ firstMs }) => firstMs!);
  let [complete, refused, unhappy, pieces] = [0, 0, 0, 0];
  for (const [index, second] of seconds.entries()) {
    complete += second.complete;
    refused += second.refused;
    unhappy += second.unhappy;
    if (index >= from) pieces += second.pieces;
  }
  const parts = [
    `${Math.floor(elapsed)} s`,
    `${words.inFlight} ${inFlight}`,
    `${words.complete} ${complete}`,
    `${words.refused} ${refused}`,
    `${words.unhappy} ${unhappy}`,
    `${words.firstToken} P50 ${recent.length > 0 ? `${Math.round(quantile(recent, 0.5))} ms` : '–'}`,
    // Pieces are tokens with most servers; only usage, at the end, says how many there were.
    `${Math.round(pieces / Math.max(elapsed - from, 1))} ${words.piecesPerSecond}`,
  ];
  return parts.join('  ');
}
