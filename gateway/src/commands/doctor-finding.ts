// One finding of `sluice doctor`, and how findings look on a terminal or in a log: a line each, with a mark in front.

export interface Check {
  /** What was looked at, in one word or two. */
  readonly id: string;
  /** `problem`: serving would not work. `note`: it would, and there is something to know. */
  readonly state: 'ok' | 'note' | 'problem';
  readonly text: string;
}

const MARKS: Readonly<Record<Check['state'], { readonly mark: string; readonly colour: string }>> = {
  ok: { mark: 'ok', colour: '\u001b[32m' },
  note: { mark: 'note', colour: '\u001b[33m' },
  problem: { mark: 'PROBLEM', colour: '\u001b[31m' },
};

/** A line each, and one that sums up. */
export function renderChecks(checks: readonly Check[], useColour: boolean): string {
  const width = Math.max(...checks.map(({ id }) => id.length));
  const lines = checks.map(({ id, state, text }) => {
    const { mark, colour } = MARKS[state];
    const padded = mark.padEnd(7);
    return `${useColour ? `${colour}${padded}\u001b[0m` : padded}  ${id.padEnd(width)}  ${text}`;
  });
  const problems = checks.filter(({ state }) => state === 'problem').length;
  const sum =
    problems === 0
      ? 'Serving would work: sluice serve.'
      : `Serving would not work: ${problems === 1 ? 'one problem' : `${problems} problems`} above.`;
  return `${lines.join('\n')}\n\n${sum}\n`;
}
