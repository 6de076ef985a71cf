// The page of documentation with what was seen on each engine: its prose stays, what stands between its marks is new. Pure.

export interface EngineResult {
  readonly name: string;
  readonly version: string;
  /** Of every check, in their order. */
  readonly cells: readonly string[];
}

/** A Markdown table: a row a check, a column an engine. */
export function tableOf(titles: readonly string[], results: readonly EngineResult[]): string {
  const row = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [
    row(['', ...results.map(({ name, version }) => `${name} (${version})`)]),
    `|${'---|'.repeat(results.length + 1)}`,
    ...titles.map((title, index) => row([title, ...results.map(({ cells }) => cells[index] ?? '')])),
  ].join('\n');
}

/** The page with another text between the marks of a name. Throws where it lacks them. */
export function withSection(page: string, name: string, text: string): string {
  const begin = `<!-- ${name}: written by npm run test:engines -->`;
  const end = `<!-- ${name}: end -->`;
  const from = page.indexOf(begin);
  const to = page.indexOf(end);
  if (from < 0 || to < from) throw new Error(`The page has no place for "${name}".`);
  return `${page.slice(0, from + begin.length)}\n${text}\n${page.slice(to)}`;
}
