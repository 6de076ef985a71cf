// The whole server within the test's own process, by the same way as the program's: for tests that start many of them,
// or look at what is behind the network.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { loadConfig } from '../src/config.ts';
import { startServer } from '../src/main.ts';
import { statusOf, waitUntil } from './e2e/harness.ts';

const READY_LIMIT_MS = 30_000;
const MOST_LOG_LINES = 5_000;

export interface InProcessServer {
  readonly url: string;
  readonly port: number;
  /** What it has logged, one line each, its fields included; the newest 5,000. */
  log(): string;
  /** Ends it at once. */
  close(): Promise<void>;
}

/** `config`: the content of a configuration file. Resolves when `/readyz` says so. */
export async function startInProcess(
  config: object,
  env: Readonly<Record<string, string>> = {},
): Promise<InProcessServer> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-test-'));
  const lines: string[] = [];
  const note = (line: string) => {
    lines.push(line);
    if (lines.length > MOST_LOG_LINES) lines.shift();
  };
  try {
    const file = join(folder, 'config.json');
    writeFileSync(file, JSON.stringify(config));
    const home = join(folder, 'home');
    const settings = loadConfig({ config: file }, { SLUICE_PORT: '0', SLUICE_HOME: home, ...env });
    const server = await startServer(settings, {
      log: (level, message, fields) =>
        note(`${level} ${message} ${inspect(fields, { depth: 6, breakLength: Number.POSITIVE_INFINITY })}`),
      say: note,
      onProgress: () => {},
      signal: new AbortController().signal,
    });
    const close = async () => {
      await server.close();
      rmSync(folder, { recursive: true, force: true });
    };
    try {
      await server.ready;
      await waitUntil(
        async () => (await statusOf(`${server.url}/readyz`)) === 200,
        READY_LIMIT_MS,
        () => `Sluice did not get ready:\n${lines.join('\n')}`,
      );
    } catch (thrown) {
      await close();
      throw thrown;
    }
    return { url: server.url, port: Number(new URL(server.url).port), log: () => lines.join('\n'), close };
  } catch (thrown) {
    rmSync(folder, { recursive: true, force: true });
    throw thrown;
  }
}
