// A recorded hour (or more) of requests: when each came, how long its prompt was and its answer. The columns are those of
// the public traces "Azure LLM inference" (Patel et al., Splitwise, 2024): TIMESTAMP,ContextTokens,GeneratedTokens.
// Pure.

export interface TraceRow {
  /** From the first request. */
  readonly atMs: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
}

const HEAD = 'TIMESTAMP,ContextTokens,GeneratedTokens';

/** Throws an Error that names the line where the text is no such trace. */
export function parseTrace(text: string): TraceRow[] {
  const [head, ...lines] = text.split('\n').map((line) => line.trim());
  if (head !== HEAD) throw new Error(`line 1 must be "${HEAD}"`);
  const rows: TraceRow[] = [];
  for (const [index, line] of lines.entries()) {
    if (line === '') continue;
    const [time = '', prompt, output] = line.split(',');
    // Tenths of microseconds are more than a Date reads.
    const at = Date.parse(`${time.replace(' ', 'T').replace(/(\.\d{3})\d*$/, '$1')}Z`);
    const [promptTokens, outputTokens] = [Number(prompt), Number(output)];
    if (!(Number.isFinite(at) && promptTokens >= 0 && outputTokens >= 0))
      throw new Error(`line ${index + 2} is no time and two numbers: "${line.slice(0, 80)}"`);
    rows.push({ atMs: at, promptTokens, outputTokens });
  }
  rows.sort((a, b) => a.atMs - b.atMs);
  const first = rows[0]?.atMs ?? 0;
  return rows.map((row) => ({ ...row, atMs: row.atMs - first }));
}
