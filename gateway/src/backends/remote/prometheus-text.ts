// Reads a few metrics out of Prometheus' text format. Tolerant: a line that it does not understand is none, for servers
// differ in what else they print. Pure, and linear in the text.

/** The values of each wanted metric, over all its labels. What is no finite number is left out. */
export function readMetrics(text: string, wanted: readonly string[]): ReadonlyMap<string, readonly number[]> {
  const found = new Map<string, number[]>(wanted.map((name) => [name, []]));
  for (let at = 0; at < text.length; ) {
    const newline = text.indexOf('\n', at);
    const end = newline < 0 ? text.length : newline;
    const nameEnd = endOfName(text, at, end);
    const values = found.get(text.slice(at, nameEnd));
    if (values) {
      const value = readValue(text, nameEnd, end);
      if (value !== undefined) values.push(value);
    }
    at = end + 1;
  }
  return found;
}

function endOfName(text: string, from: number, end: number): number {
  let at = from;
  while (at < end && text[at] !== '{' && text[at] !== ' ' && text[at] !== '\t') at += 1;
  return at;
}

/** The number behind the labels; a time may follow it. */
function readValue(text: string, from: number, end: number): number | undefined {
  const start = text[from] === '{' ? endOfLabels(text, from + 1, end) : from;
  const word = text.slice(start, end).trim().split(/\s/, 1)[0];
  const value = word ? Number(word) : Number.NaN;
  return Number.isFinite(value) ? value : undefined;
}

/** Behind the brace that closes them: one within a quoted value closes nothing. */
function endOfLabels(text: string, from: number, end: number): number {
  let isQuoted = false;
  for (let at = from; at < end; at += 1) {
    const character = text[at];
    if (isQuoted && character === '\\') at += 1;
    else if (character === '"') isQuoted = !isQuoted;
    else if (character === '}' && !isQuoted) return at + 1;
  }
  return end;
}
