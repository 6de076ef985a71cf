// Which of the engine's sequences a new call takes, so that it computes as little of its prompt as possible.
// It must never hand one tenant the computed state of another.
// Pure: it chooses; the driver erases and evaluates.

/** Below this a kept prefix gains nothing: computing so few tokens takes about as long as an ordinary step. */
export const LEAST_GAIN_TOKENS = 32;

/** A sequence as the choice sees it. */
export interface CachedSequence {
  /** The tokens in its KV cache. */
  readonly contextTokens: readonly number[];
  /** False: its state cannot be cut back, only continued or cleared (recurrent models, sliding windows). */
  readonly canTruncate: boolean;
}

export interface Placement<S> {
  readonly sequence: S;
  /** How many of the prompt's tokens stay in its cache; 0 means: clear it first. */
  readonly reusedTokens: number;
}

interface Seat<S> {
  readonly sequence: S;
  tenant: string | undefined;
  /** A count of releases, not a time: nothing here reads a clock. */
  lastUsed: number;
  busy: boolean;
}

/** A finished sequence keeps its tokens until another call needs the place. */
export class SequencePool<S extends CachedSequence> {
  private readonly seats: readonly Seat<S>[];
  private uses = 0;

  constructor(sequences: readonly S[]) {
    this.seats = sequences.map((sequence) => ({ sequence, tenant: undefined, lastUsed: 0, busy: false }));
  }

  /**
   * The free sequence with the longest common prefix of the same tenant; then the least recently used, which an
   * unused one is; then the lowest, because neighbouring sequences decode faster than scattered ones. Undefined: none
   * is free. A prefix of `kept` tokens can be put into any sequence: one that holds hardly more is not taken for it,
   * because its own conversation may come back to it. One of the first `among` goes before all others, for their
   * nearness again.
   */
  acquire(
    tenant: string,
    prompt: readonly number[],
    kept = 0,
    among = this.seats.length,
  ): Placement<S> | undefined {
    let best: { seat: Seat<S>; reused: number } | undefined;
    for (const [index, seat] of this.seats.entries()) {
      if (best !== undefined && index >= among) break;
      if (seat.busy) continue;
      const common = seat.tenant === tenant ? reusableTokens(seat.sequence, prompt) : 0;
      const reused = common < kept + LEAST_GAIN_TOKENS && kept > 0 ? 0 : common;
      if (
        best === undefined ||
        reused > best.reused ||
        (reused === best.reused && seat.lastUsed < best.seat.lastUsed)
      ) {
        best = { seat, reused };
      }
    }
    if (best === undefined) return undefined;
    best.seat.busy = true;
    best.seat.tenant = tenant;
    return { sequence: best.seat.sequence, reusedTokens: best.reused };
  }

  release(sequence: S): void {
    const seat = this.seats.find((candidate) => candidate.sequence === sequence);
    if (seat === undefined) return;
    seat.busy = false;
    seat.lastUsed = ++this.uses;
  }
}

/** At least the prompt's last token must be evaluated: it gives the first token's probabilities. */
function reusableTokens(sequence: CachedSequence, prompt: readonly number[]): number {
  const cached = sequence.contextTokens;
  const same = Math.min(commonPrefix(cached, prompt), prompt.length - 1);
  if (!sequence.canTruncate && same < cached.length) return 0;
  return same;
}

/** The number of tokens with which both begin. */
export function commonPrefix(a: readonly number[], b: readonly number[]): number {
  const most = Math.min(a.length, b.length);
  let same = 0;
  while (same < most && a[same] === b[same]) same++;
  return same;
}
