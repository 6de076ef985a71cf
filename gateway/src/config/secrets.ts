// Secrets of a configuration: a variable of the environment, a file, or the text itself, which works and is warned of.
// What is read here never stands in a message: only where it was looked for does.
import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { type Fault, pathText } from './config-error.ts';
import type { RawSecret } from './schema.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** What secrets are looked for in. */
export interface SecretSources {
  readonly env: Environment;
  /** Relative paths of files begin here: the configuration's own folder. */
  readonly folder: string;
  readonly fault: Fault;
  /** Takes a sentence for the operator. */
  readonly warn: (sentence: string) => void;
}

const MOST_SECRET_BYTES = 64 * 1024;

/** The secret itself. `better` names the forms that would keep a literal one out of the file. Throws ConfigError. */
export function readSecret(
  value: RawSecret,
  path: readonly PropertyKey[],
  { env, folder, fault, warn }: SecretSources,
  better: string,
): string {
  if (typeof value !== 'string') return secretOfFile(resolve(folder, value.file), path, fault);
  const variable = /^\$\{(\w+)\}$/.exec(value)?.[1];
  if (variable !== undefined) {
    const secret = nonEmpty(env[variable]);
    if (secret === undefined) throw fault(path, `names ${variable}, which is not set.`);
    return secret;
  }
  if (value.includes(`\${`))
    throw fault(path, `names a variable among other text: "\${VARIABLE}" stands alone.`);
  warn(`${pathText(path)} stands in the configuration as plain text: ${better} keeps it out of there.`);
  return value;
}

/** An empty variable is as good as none. */
export function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}

function secretOfFile(file: string, path: readonly PropertyKey[], fault: Fault): string {
  let text: string;
  try {
    if (statSync(file).size > MOST_SECRET_BYTES)
      throw fault(path, `names ${file}, which is too large for a secret.`);
    text = readFileSync(file, 'utf8').trim();
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    if (code === undefined) throw thrown;
    throw fault(path, `names ${file}, which cannot be read: ${code}.`);
  }
  if (text === '') throw fault(path, `names ${file}, which is empty.`);
  return text;
}
