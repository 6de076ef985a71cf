// How varied texts are, and how often they say a thing again.
// Pure.

/** Distinct runs of `length` words over all runs of all texts (Li and others, "A Diversity-Promoting Objective", 2016). */
export function distinctShare(texts: readonly string[], length: number): number {
  const seen = new Set<string>();
  let all = 0;
  for (const text of texts) {
    for (const run of runsOf(text, length)) {
      seen.add(run);
      all += 1;
    }
  }
  return all === 0 ? 0 : seen.size / all;
}

/** Of a text's runs of `length` words, those that it had before. */
export function repeatedShare(text: string, length: number): number {
  const runs = runsOf(text, length);
  return runs.length === 0 ? 0 : 1 - new Set(runs).size / runs.length;
}

/** Words in lower case, without the marks around them. */
function runsOf(text: string, length: number): string[] {
  const words = text.toLowerCase().match(/[\p{L}\p{N}]+(?:['’-][\p{L}\p{N}]+)*/gu) ?? [];
  return Array.from({ length: Math.max(0, words.length - length + 1) }, (_, index) =>
    words.slice(index, index + length).join(' '),
  );
}

/** Whether a text holds one JSON object and nothing else, but for the fence that models put around it. */
export function isJsonObject(text: string): boolean {
  const inner = /^```(?:json)?\n([\s\S]*?)\n?```$/.exec(text.trim())?.[1] ?? text;
  try {
    const value: unknown = JSON.parse(inner);
    return typeof value === 'object' && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}
