// What differs between two configurations, by the names of the file: what a running server can take, and what only its
// next start can. Pure.
import { isDeepStrictEqual } from 'node:util';
import { type Config, usesEngine } from '../config.ts';

export interface Changes {
  /** What a running server takes. */
  readonly live: readonly string[];
  /** What is taken at the next start only. */
  readonly atRestart: readonly string[];
}

/** What a new picture of models, back ends and keys is made of. All else is built into the running server. */
const LIVE: ReadonlySet<string> = new Set([
  'backends',
  'models',
  'keys',
  'first_token_timeout_ms',
  'silence_limit_ms',
  'answer_timeout_ms',
  'probe_interval_ms',
]);
/** Not of the file. */
const OF_THE_PROCESS: ReadonlySet<string> = new Set(['env', 'homedir', 'warnings', 'adminKeyDigest']);

export function changesOf(before: Config, after: Config): Changes {
  const live: string[] = [];
  const atRestart: string[] = [];
  for (const name of differing(before, after)) {
    if (OF_THE_PROCESS.has(name)) continue;
    if (LIVE.has(name)) live.push(name);
    else atRestart.push(...within(name, settingOf(before, name), settingOf(after, name)));
  }
  if (usesEngine(before) !== usesEngine(after)) atRestart.push('backends (the embedded engine)');
  return { live, atRestart };
}

/** The settings of a section that differ, or the one setting. */
function within(name: string, before: unknown, after: unknown): string[] {
  if (!isSection(before) || !isSection(after)) return [name];
  return differing(before, after).map((key) => `${name}.${key}`);
}

function differing(before: object, after: object): string[] {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names].filter((name) => !isDeepStrictEqual(settingOf(before, name), settingOf(after, name)));
}

function settingOf(settings: object, name: string): unknown {
  return (settings as Readonly<Record<string, unknown>>)[name];
}

function isSection(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
