// Sets of characters as sorted ranges of code points, both ends included.
// No set here holds half a surrogate pair: no text of ours does.
// Pure.

export type CharRange = readonly [low: number, high: number];

/** Every character. */
export const ALL: readonly CharRange[] = [
  [0, 0xd7ff],
  [0xe000, 0x10ffff],
];

/** Sorted, without overlaps or neighbours. */
export function union(ranges: readonly CharRange[]): CharRange[] {
  const merged: [number, number][] = [];
  for (const [low, high] of ranges.toSorted((a, b) => a[0] - b[0])) {
    const last = merged.at(-1);
    if (last !== undefined && low <= last[1] + 1) last[1] = Math.max(last[1], high);
    else merged.push([low, high]);
  }
  return merged;
}

/** Those of `ranges` that are in `others` too. Both sorted. */
export function intersection(ranges: readonly CharRange[], others: readonly CharRange[]): CharRange[] {
  return ranges.flatMap(([low, high]) =>
    others
      .map(([from, to]): CharRange => [Math.max(low, from), Math.min(high, to)])
      .filter(([from, to]) => from <= to),
  );
}

/** Every character but these. */
export function complement(ranges: readonly CharRange[]): CharRange[] {
  const holes: CharRange[] = [];
  let next = 0;
  for (const [low, high] of union(ranges)) {
    if (low > next) holes.push([next, low - 1]);
    next = high + 1;
  }
  if (next <= 0x10ffff) holes.push([next, 0x10ffff]);
  return intersection(holes, ALL);
}

export function rangesOf(characters: string): CharRange[] {
  return union([...characters].map((one): CharRange => [one.codePointAt(0)!, one.codePointAt(0)!]));
}
