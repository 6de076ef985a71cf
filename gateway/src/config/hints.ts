// What someone may have meant by a name that there is not. Pure.

/** Names that there were, and what they have become. */
const RENAMED: Readonly<Record<string, string>> = { slots: 'batch_size' };

/** What a name has become, or the known name that is like the unknown one, or else all that are known. A sentence. */
export function suggestion(unknown: string, known: readonly string[]): string {
  const renamed = RENAMED[unknown];
  if (renamed !== undefined && known.includes(renamed)) return `It is called "${renamed}" now.`;
  const near = nearest(unknown, known);
  return near === undefined ? `Known are: ${known.join(', ')}.` : `Did you mean "${near}"?`;
}

function nearest(unknown: string, known: readonly string[]): string | undefined {
  const [near] = known
    .map((name) => ({ name, edits: distance(simplified(name), simplified(unknown)) }))
    .filter(({ edits }) => edits <= 2)
    .sort((a, b) => a.edits - b.edits);
  return near?.name;
}

/** `keepAliveMs` and `keep-alive-ms` are `keep_alive_ms` to a hint. */
function simplified(name: string): string {
  return name.replaceAll(/[_-]/g, '').toLowerCase();
}

/** Edits from one word to the other (Levenshtein, row by row). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const swap = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(swap, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
