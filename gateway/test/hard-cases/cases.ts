// The hard cases as they stand in their file, read once and checked for the form that the runner understands: a member
// that nobody looks at would be a check that never fails.
import { readFileSync } from 'node:fs';
import { readScripts, type Script } from '../upstream/script.ts';

export interface CaseRequest {
  readonly method: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** JSON, in which `{"$repeat", "times"}` stands for a long text. */
  readonly body?: unknown;
  /** To be sent byte for byte. */
  readonly bodyText?: string | undefined;
}

/** `assert`: names that `expectations.ts` knows, and what is expected. */
export type Expected = Readonly<Record<string, unknown>>;

export interface HardCase {
  readonly id: string;
  readonly group: string;
  readonly kind: 'upstream-stream' | 'client-request' | 'sequence';
  /** What the case presumes, in words: `setups.ts` has it as configuration. */
  readonly setup: string | undefined;
  readonly upstream: Script | undefined;
  readonly upstreams: Readonly<Record<string, Script>>;
  readonly request: CaseRequest | undefined;
  readonly expected: Expected;
}

const KNOWN = new Set([
  ...['id', 'group', 'kind', 'why', 'setup', 'upstream', 'upstreams'],
  ...['request', 'steps', 'assert', 'expect', 'source'],
]);

/** By their ids, in the file's order. */
export const CASES: ReadonlyMap<string, HardCase> = new Map(
  readFileSync(new URL('./hard-cases.jsonl', import.meta.url), 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => caseOf(JSON.parse(line)))
    .map((one) => [one.id, one]),
);

/** Throws if there is no such case. */
export function hardCase(id: string): HardCase {
  const one = CASES.get(id);
  if (!one) throw new Error(`The file has no case "${id}".`);
  return one;
}

/** The case's only upstream. Throws if it has none. */
export function upstreamOf({ id, upstream }: HardCase): Script {
  if (!upstream) throw new Error(`The case ${id} has no upstream.`);
  return upstream;
}

/** The case's only request. Throws if it has none. */
export function requestOf({ id, request }: HardCase): CaseRequest {
  if (!request) throw new Error(`The case ${id} has no request.`);
  return request;
}

/** The bytes of a request's body, as text; undefined: it has none. */
export function bodyTextOf({ body, bodyText }: CaseRequest): string | undefined {
  if (bodyText !== undefined) return bodyText;
  return body === undefined ? undefined : JSON.stringify(body, (_, value) => written(value));
}

/** The body's members; those of a case that has none are none. */
export function membersOf({ body }: CaseRequest): Readonly<Record<string, unknown>> {
  return typeof body === 'object' && body !== null ? (body as Record<string, unknown>) : {};
}

interface Repeat {
  readonly $repeat: string;
  readonly times: number;
  readonly prefix?: string;
  readonly suffix?: string;
}

function written(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('$repeat' in value)) return value;
  const { $repeat, times, prefix = '', suffix = '' } = value as Repeat;
  return prefix + $repeat.repeat(times) + suffix;
}

function caseOf(line: Record<string, unknown>): HardCase {
  const id = String(line.id);
  for (const name of Object.keys(line))
    if (!KNOWN.has(name)) throw new Error(`${id}: unknown member ${name}`);
  const upstreams = Object.entries((line.upstreams ?? {}) as Record<string, unknown>);
  return {
    id,
    group: String(line.group),
    kind: line.kind as HardCase['kind'],
    setup: line.setup as string | undefined,
    upstream: line.upstream === undefined ? undefined : readScripts(line.upstream)[0],
    upstreams: Object.fromEntries(upstreams.map(([name, script]) => [name, readScripts(script)[0]!])),
    request: line.request as CaseRequest | undefined,
    expected: (line.assert ?? {}) as Expected,
  };
}
