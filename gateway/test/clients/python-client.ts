// Clients that are Python libraries: each is a script beside this file that is asked by one JSON argument and tells what its
// user sees, a JSON line each. It must never outlive its test.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { missingPython, TEST_PYTHON } from '../parts.ts';
import { type Asked, CLIENT_LIMIT_MS, type Client, nothingSeen, type Seen, type Shows } from './client.ts';

export interface PythonClientOptions {
  readonly name: string;
  /** File name in the folder `python`. */
  readonly script: string;
  /** Packages that it needs. */
  readonly packages: readonly string[];
  readonly shows: Shows;
}

/** A line of a script. */
interface Told {
  readonly text?: string;
  readonly reasoning?: string;
  readonly finish?: string | null;
  readonly tokens?: number | null;
  readonly call?: { readonly name: string; readonly arguments: unknown };
  readonly error?: { readonly status: number | null; readonly message: string };
  /** It has closed its answer, and waits for the end of its input. */
  readonly left?: boolean;
}

export function pythonClient({ name, script, packages, shows }: PythonClientOptions): Client {
  const file = new URL(`./python/${script}`, import.meta.url).pathname;
  return { name, shows, missing: missingPython(...packages), ask: (asked) => ask(file, asked) };
}

async function ask(file: string, asked: Asked): Promise<Seen> {
  const { afterLeaving, ...rest } = asked;
  const child = spawn(TEST_PYTHON, [file, JSON.stringify(rest)]);
  const limit = setTimeout(() => child.kill('SIGKILL'), CLIENT_LIMIT_MS);
  let problem = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (problem += text));
  const exited = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  const seen = nothingSeen();
  try {
    for await (const line of createInterface(child.stdout)) {
      const told = JSON.parse(line) as Told;
      note(told, seen);
      if (told.left) await afterLeaving?.();
      if (told.left) child.stdin.end();
    }
  } finally {
    child.stdin.end();
    clearTimeout(limit);
  }
  const code = await exited;
  if (code !== 0) throw new Error(`${file} ended with ${code}:\n${problem}`);
  return seen;
}

function note({ text, reasoning, finish, tokens, call, error }: Told, seen: Seen): void {
  if (text) seen.pieces.push(text);
  seen.reasoning += reasoning ?? '';
  seen.finish = finish ?? seen.finish;
  seen.completionTokens = tokens ?? seen.completionTokens;
  if (call) seen.toolCalls = [...seen.toolCalls, call];
  if (error) seen.error = { status: error.status ?? undefined, message: error.message };
}
