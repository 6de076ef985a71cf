// Starts the real program as its users do, in a process of its own, and talks to it over real sockets.
// Whatever a test starts here ends with the test.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export const ROOT = new URL('../../..', import.meta.url).pathname;
const BIN = join(ROOT, 'gateway/bin/sluice.js');
const READY_LIMIT_MS = 60_000;

export interface Sluice {
  readonly url: string;
  readonly port: number;
  readonly process: ChildProcess;
  /** What it has written so far. */
  output(): string;
  /** Resolves with the exit code (or the signal's name). */
  readonly exited: Promise<number | string>;
  stop(): Promise<void>;
}

export interface SluiceOptions {
  /** The configuration file's content. */
  readonly config?: object;
  readonly env?: Readonly<Record<string, string>>;
  readonly args?: readonly string[];
  /** Default: one that is free. */
  readonly port?: number;
  /** Resolve only when `/readyz` says so; default true. */
  readonly untilReady?: boolean;
}

/** A configuration that speaks these pieces without a model. */
export function fakeConfig(fake: object = {}, rest: object = {}): object {
  return { backends: [{ kind: 'fake', first_token_ms: 5, token_ms: 2, ...fake }], ...rest };
}

export async function startSluice(options: SluiceOptions = {}): Promise<Sluice> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-test-'));
  const args = [BIN, 'serve', ...(options.args ?? [])];
  if (options.config) {
    const file = join(folder, 'config.json');
    writeFileSync(file, JSON.stringify(options.config));
    args.push('--config', file);
  }
  const port = options.port ?? (await freePort());
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    SLUICE_PORT: String(port),
    SLUICE_HOME: join(folder, 'home'),
    ...options.env,
  };
  // As a user's shell has it: not as npm's, which would make the server watch its parent.
  for (const name of Object.keys(env))
    if (name.startsWith('npm_') || name === 'NODE_TEST_CONTEXT') delete env[name];
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.on('data', (chunk) => (output += chunk));
  child.stderr.on('data', (chunk) => (output += chunk));
  const exited = new Promise<number | string>((resolve) => {
    child.once('close', (code, signal) => {
      rmSync(folder, { recursive: true, force: true });
      resolve(code ?? signal ?? 'unknown');
    });
  });
  const sluice: Sluice = {
    url: `http://127.0.0.1:${port}`,
    port,
    process: child,
    output: () => output,
    exited,
    async stop() {
      child.kill('SIGTERM');
      const late = sleep(10_000, 'late', { ref: false });
      if ((await Promise.race([exited, late])) === 'late') child.kill('SIGKILL');
      await exited;
    },
  };
  if (options.untilReady ?? true) {
    await waitUntil(
      async () => {
        if (child.exitCode !== null) throw new Error(`Sluice ended early:\n${output}`);
        return (await statusOf(`${sluice.url}/readyz`)) === 200;
      },
      READY_LIMIT_MS,
      () => `Sluice did not get ready:\n${output}`,
    );
  }
  return sluice;
}

/** The status of a GET; 0 while nobody answers. */
export async function statusOf(url: string): Promise<number> {
  try {
    const response = await fetch(url);
    await response.arrayBuffer();
    return response.status;
  } catch {
    return 0;
  }
}

/** Polls; rejects with the message after the limit. */
export async function waitUntil(
  isTrue: () => boolean | Promise<boolean>,
  limitMs: number,
  message: () => string,
): Promise<void> {
  const until = performance.now() + limitMs;
  while (!(await isTrue())) {
    if (performance.now() > until) throw new Error(message());
    await sleep(20);
  }
}

export function post(url: string, body: unknown, init: RequestInit = {}): Promise<Response> {
  return fetch(url, {
    method: 'POST',
    body: typeof body === 'string' ? body : JSON.stringify(body),
    ...init,
    headers: { 'content-type': 'application/json', ...init.headers },
  });
}

export interface RawAnswer {
  readonly status: number;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  /** As sent: chunk frames included where there are any. */
  readonly body: string;
}

/** Writes bytes to a socket as they are, and reads until the server closes or `limitMs` pass. */
export function raw(port: number, pieces: readonly (string | Buffer)[], limitMs = 5_000): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    let text = '';
    const finish = () => {
      clearTimeout(timer);
      socket.destroy();
      const [head = '', ...rest] = text.split('\r\n\r\n');
      const [statusLine = '', ...lines] = head.split('\r\n');
      const headers = Object.fromEntries(
        lines.map((line) => [
          line.slice(0, line.indexOf(':')).toLowerCase(),
          line.slice(line.indexOf(':') + 1).trim(),
        ]),
      );
      resolve({ status: Number(statusLine.split(' ')[1] ?? 0), headers, body: rest.join('\r\n\r\n') });
    };
    const timer = setTimeout(finish, limitMs);
    socket.on('connect', () => {
      for (const piece of pieces) socket.write(piece);
    });
    socket.on('data', (chunk) => (text += chunk.toString('utf8')));
    socket.on('close', finish);
    socket.on('error', (error) => {
      if (text === '') {
        clearTimeout(timer);
        reject(error);
      }
    });
  });
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

/** The value of a metric without labels, or with exactly those given as text (`{backend="x"}`). */
export async function metric(url: string, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const line = text.split('\n').find((one) => one.startsWith(`${name} `));
  return line === undefined ? Number.NaN : Number(line.slice(name.length + 1));
}

/** Every process below this one, by Linux's own list. */
export function descendants(pid: number): number[] {
  const parentOf = new Map<number, number>();
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8');
      parentOf.set(Number(entry), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
    } catch {
      // It ended while we looked.
    }
  }
  const found: number[] = [];
  const visit = (parent: number) => {
    for (const [child, itsParent] of parentOf) {
      if (itsParent !== parent) continue;
      found.push(child);
      visit(child);
    }
  };
  visit(pid);
  return found;
}

/** Runs, as opposed to ended or waiting to be buried. */
export function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return !/\) [ZX] /.test(stat);
  } catch {
    return false;
  }
}

/** Resident memory of a process, in bytes. */
export function rssOf(pid: number): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) * 1024;
}
