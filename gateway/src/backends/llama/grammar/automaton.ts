// From a pattern to a deterministic automaton: a grammar made of it has one way to go on at each place, whatever the
// pattern looks like, so a hostile one can only be refused and never slow a token down.
// It must never do more work than its allowance: an expression of twenty characters can need a million states.
// Pure.
import { type CharRange, intersection, union } from './char-ranges.ts';
import { type Pattern, PatternFault, REST } from './pattern.ts';

export interface State {
  readonly accepts: boolean;
  /** Disjoint sets; from each a text that is accepted can be reached. */
  readonly moves: readonly { readonly ranges: readonly CharRange[]; readonly to: number }[];
}

/** Steps of work, shared by all patterns of a schema: some 30 ms. */
export interface Allowance {
  left: number;
}
export const newAllowance = (): Allowance => ({ left: 60_000 });

const MAX_STATES = 2_000;

interface Move {
  readonly ranges: readonly CharRange[];
  readonly to: number;
}

/** Positions in a pattern, with moves by character and moves for free. */
class Positions {
  readonly moves: Move[][] = [];
  readonly free: number[][] = [];
  /** From here on every text matches. */
  private readonly won = new Set<number>();
  private readonly allowance: Allowance;

  constructor(allowance: Allowance) {
    this.allowance = allowance;
  }

  private position(): number {
    spend(this.allowance, 1);
    this.free.push([]);
    return this.moves.push([]) - 1;
  }

  /** From `from`, through the pattern: where it leaves. */
  through(pattern: Pattern, from: number): number {
    switch (pattern.type) {
      case 'set': {
        const to = this.position();
        if (pattern.ranges.length > 0) this.moves[from]!.push({ ranges: pattern.ranges, to });
        return to;
      }
      case 'all':
        return pattern.parts.reduce((at, part) => this.through(part, at), from);
      case 'any': {
        const to = this.position();
        for (const part of pattern.parts) {
          const start = this.position();
          this.free[from]!.push(start);
          this.free[this.through(part, start)]!.push(to);
        }
        return to;
      }
      case 'repeat': {
        const to = this.repeated(pattern, from);
        if (pattern === REST) this.won.add(to);
        return to;
      }
    }
  }

  private repeated({ part, low, high }: Extract<Pattern, { type: 'repeat' }>, from: number): number {
    let at = from;
    for (let count = 0; count < low; count++) at = this.through(part, at);
    if (high === undefined) {
      const loop = this.position();
      this.free[at]!.push(loop);
      this.free[this.through(part, loop)]!.push(loop);
      return loop;
    }
    const end = this.position();
    for (let count = low; count < high; count++) {
      this.free[at]!.push(end);
      at = this.through(part, at);
    }
    this.free[at]!.push(end);
    return end;
  }

  start(): number {
    return this.position();
  }

  closure(starts: Iterable<number>): number[] {
    const seen = this.reach(starts);
    for (const at of seen) if (this.won.has(at)) return sorted(this.reach([at]));
    return sorted(seen);
  }

  private reach(starts: Iterable<number>): Set<number> {
    const seen = new Set<number>();
    const left = [...starts];
    for (let at = left.pop(); at !== undefined; at = left.pop()) {
      if (seen.has(at)) continue;
      spend(this.allowance, 1);
      seen.add(at);
      left.push(...this.free[at]!);
    }
    return seen;
  }
}

function sorted(numbers: ReadonlySet<number>): number[] {
  return [...numbers].sort((a, b) => a - b);
}

function spend(allowance: Allowance, steps: number): void {
  allowance.left -= steps;
  if (allowance.left < 0) throw new PatternFault('is too complex');
}

export interface Lengths {
  /** In characters. */
  readonly low: number;
  readonly high: number | undefined;
}

/** The states of the texts that match; the first is where they begin. Throws PatternFault, also when no text does. */
export function automatonOf(pattern: Pattern, allowance: Allowance): readonly State[] {
  const positions = new Positions(allowance);
  const start = positions.start();
  const end = positions.through(pattern, start);
  const open = new Numbered<readonly number[]>();
  const first = positions.closure([start]);
  open.add(first.join(), first);
  const states: State[] = [];
  for (const set of open) {
    const moves = apart(
      set.flatMap((position) => positions.moves[position]!),
      allowance,
    );
    const found = moves.map(({ ranges, targets }) => {
      const next = positions.closure(targets);
      return { ranges, to: open.add(next.join(), next) };
    });
    states.push({ accepts: set.includes(end), moves: found });
  }
  return withoutDeadEnds(states);
}

/** Those texts that have these lengths. Throws PatternFault when there are none. */
export function withLengths(
  states: readonly State[],
  { low, high }: Lengths,
  allowance: Allowance,
): readonly State[] {
  if (low === 0 && high === undefined) return states;
  // Beyond this many characters their count no longer matters.
  const most = high ?? low;
  const open = new Numbered<readonly [state: number, count: number]>();
  open.add('0,0', [0, 0]);
  const found: State[] = [];
  for (const [number, count] of open) {
    const { accepts, moves } = states[number]!;
    spend(allowance, 1 + moves.length);
    const next = Math.min(count + 1, most);
    found.push({
      accepts: accepts && count >= low,
      moves:
        high !== undefined && count === high
          ? []
          : moves.map(({ ranges, to }) => ({ ranges, to: open.add(`${to},${next}`, [to, next]) })),
    });
  }
  return withoutDeadEnds(found);
}

/** Numbers what it has not seen, in the order in which it comes; whoever goes through it sees what is added meanwhile. */
class Numbered<T> implements Iterable<T> {
  private readonly numbers = new Map<string, number>();
  private readonly values: T[] = [];

  add(key: string, value: T): number {
    const known = this.numbers.get(key);
    if (known !== undefined) return known;
    if (this.values.length >= MAX_STATES) throw new PatternFault('is too complex');
    this.numbers.set(key, this.values.length);
    return this.values.push(value) - 1;
  }

  [Symbol.iterator](): Iterator<T> {
    return this.values.values();
  }
}

/** The moves as disjoint sets, each with all that it leads to. */
function apart(
  moves: readonly Move[],
  allowance: Allowance,
): readonly { ranges: readonly CharRange[]; targets: readonly number[] }[] {
  const edges = moves.flatMap(({ ranges }) => ranges.flatMap(([low, high]) => [low, high + 1]));
  const cuts = [...new Set(edges)].sort((a, b) => a - b);
  const byTargets = new Map<string, { ranges: CharRange[]; targets: number[] }>();
  for (const [index, low] of cuts.entries()) {
    const next = cuts[index + 1];
    if (next === undefined) break;
    spend(allowance, moves.length);
    const targets = moves
      .filter(({ ranges }) => ranges.some(([from, to]) => from <= low && low <= to))
      .map(({ to }) => to);
    if (targets.length === 0) continue;
    const key = targets.join();
    const group = byTargets.get(key) ?? { ranges: [], targets };
    group.ranges.push([low, next - 1]);
    byTargets.set(key, group);
  }
  return [...byTargets.values()].map(({ ranges, targets }) => ({ ranges: union(ranges), targets }));
}

/** A model led into a place without an end could say nothing more. */
function withoutDeadEnds(states: readonly State[]): readonly State[] {
  const ways: number[][] = states.map(() => []);
  for (const [from, { moves }] of states.entries()) for (const { to } of moves) ways[to]!.push(from);
  const alive = new Set<number>();
  const left = [...states.keys()].filter((number) => states[number]!.accepts);
  for (let at = left.pop(); at !== undefined; at = left.pop()) {
    if (alive.has(at)) continue;
    alive.add(at);
    left.push(...ways[at]!);
  }
  if (!alive.has(0)) throw new PatternFault('matches no text that the other keywords allow');
  return states.map(({ accepts, moves }) => ({ accepts, moves: moves.filter(({ to }) => alive.has(to)) }));
}

/** The texts that both accept. Throws PatternFault when there are none. */
export function both(a: readonly State[], b: readonly State[], allowance: Allowance): readonly State[] {
  const open = new Numbered<readonly [number, number]>();
  open.add('0,0', [0, 0]);
  const states: State[] = [];
  for (const [left, right] of open) {
    const [one, other] = [a[left]!, b[right]!];
    spend(allowance, 1 + one.moves.length * other.moves.length);
    const moves: Move[] = [];
    for (const { ranges, to } of one.moves) {
      for (const move of other.moves) {
        const shared = intersection(ranges, move.ranges);
        if (shared.length > 0)
          moves.push({ ranges: shared, to: open.add(`${to},${move.to}`, [to, move.to]) });
      }
    }
    states.push({ accepts: one.accepts && other.accepts, moves });
  }
  return withoutDeadEnds(states);
}
