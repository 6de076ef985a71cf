// `sluice keys …`: access keys. A secret is made here, shown once and kept nowhere: configurations get its hash.
// Secrets and entries go to standard output, everything else to standard error.
import { randomBytes } from 'node:crypto';
import { chownSync, readFileSync, realpathSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { ConfigError } from '../config/config-error.ts';
import { type KeyEntry, keyEntryText, withKey, withoutKey } from '../config/key-entries.ts';
import { hashKey } from '../edge/access/access.ts';
import { fail } from './terminal.ts';

export interface CreateKeyFlags {
  readonly name?: string | undefined;
  /** Ids of models; none: all. */
  readonly model?: readonly string[] | undefined;
  readonly config?: string | undefined;
}

const SECRET_PREFIX = 'sk-sluice-';
const SECRET_BYTES = 32;
const NAME_LENGTH = 8;
const MOST_NAME_LENGTH = 64;
/** Of what is read from standard input. */
const MOST_SECRET_LENGTH = 64 * 1024;

/** Prints the secret on a line of its own, then the entry, unless it was put into a file. */
export function createKey({ name, model = [], config }: CreateKeyFlags): void {
  const secret = SECRET_PREFIX + randomBytes(SECRET_BYTES).toString('base64url');
  const digest = hashKey(secret).toString('hex');
  const entry: KeyEntry = {
    name: name ?? `key-${digest.slice(0, NAME_LENGTH)}`,
    key: `sha256:${digest}`,
    ...(model.length > 0 && { models: model }),
  };
  if (entry.name === '' || entry.name.length > MOST_NAME_LENGTH) {
    fail(`A key's name has 1 to ${MOST_NAME_LENGTH} characters.`);
  }
  if (config === undefined) {
    process.stdout.write(`${secret}\n\n${keyEntryText(entry)}`);
    note('The first line is the secret: it is shown only now. The rest goes into the configuration.');
    return;
  }
  change(config, (text) => withKey(text, entry));
  process.stdout.write(`${secret}\n`);
  note(`This is the secret of "${entry.name}": it is shown only now. Its hash stands in ${config}.`);
}

/** Asks for a secret, or reads it where it is piped in, and prints what a configuration holds of it. */
export async function hashSecret(): Promise<void> {
  const secret = process.stdin.isTTY ? await askSecret() : await pipedSecret();
  if (secret === '') fail('There is no secret to hash.');
  process.stdout.write(`sha256:${hashKey(secret).toString('hex')}\n`);
}

export function revokeKey(name: string, { config }: { readonly config: string }): void {
  let left = 0;
  change(config, (text) => {
    const changed = withoutKey(text, name);
    left = changed.left;
    return changed.text;
  });
  note(`The key "${name}" is removed from ${config}. A server that runs with it takes the change by itself.`);
  if (left === 0)
    note('No key is left there: a server on loopback without any other would serve every local program.');
}

/** Replaces the file in one step, so that a server which looks at it sees the old text or the new one. */
function change(path: string, edit: (text: string) => string): void {
  try {
    // A link stays a link: what it leads to is replaced.
    const file = realpathSync(path);
    const { mode, uid, gid } = statSync(file);
    const text = edit(readFileSync(file, 'utf8'));
    const draft = `${file}.${process.pid}.tmp`;
    try {
      writeFileSync(draft, text, { mode, flag: 'wx' });
      if (process.getuid?.() === 0) chownSync(draft, uid, gid);
      renameSync(draft, file);
    } catch (thrown) {
      rmSync(draft, { force: true });
      throw thrown;
    }
  } catch (thrown) {
    if (thrown instanceof ConfigError) fail(`${path}: ${thrown.message}`);
    const { code, message } = thrown as NodeJS.ErrnoException;
    fail(`${path} could not be changed: ${code ?? message}.`);
  }
}

/** What is typed is not shown. */
function askSecret(): Promise<string> {
  process.stderr.write('Secret: ');
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: silent, terminal: true });
  return new Promise((resolve) => {
    lines.once('line', (line) => {
      resolve(line.trim());
      lines.close();
    });
    lines.once('close', () => {
      process.stderr.write('\n');
      resolve('');
    });
  });
}

async function pipedSecret(): Promise<string> {
  let text = '';
  for await (const chunk of process.stdin.setEncoding('utf8')) {
    text += chunk;
    if (text.length > MOST_SECRET_LENGTH) fail('This is too long to be a secret.');
  }
  return text.trim();
}

function note(sentence: string): void {
  process.stderr.write(`${sentence}\n`);
}
