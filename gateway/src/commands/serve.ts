// `sluice serve`: from the command line to a server, and from signals to its end.
import { closeSync, openSync } from 'node:fs';
import {
  type Config,
  ConfigError,
  type ConfigFlags,
  isUnderNpm,
  loadConfig,
  wantsColour,
} from '../config.ts';
import type { Log } from '../core/log.ts';
import type { World } from '../core/world.ts';
import { isLoopback } from '../edge/access/access.ts';
import { listModels } from '../edge/asking/served-models.ts';
import { type RunningServer, startServer } from '../main.ts';
import { createProgressRenderer } from '../models/progress-renderer.ts';
import { createLog } from '../telemetry/logger.ts';
import { ConfigReload } from './config-reload.ts';
import { fail } from './terminal.ts';

/** A terminal and npm both pass Ctrl-C on: signals this close together are one wish, in ms. */
const SAME_SIGNAL_MS = 300;
const PARENT_POLL_MS = 500;

/** Runs until a signal ends it. Exits 2 when it cannot start as it was told to. */
export async function serve(flags: ConfigFlags, version: string): Promise<void> {
  const config = readConfig(flags);
  const isTerminal = process.stderr.isTTY === true;
  const log = createLog({
    level: config.log_level,
    isTerminal,
    useColour: wantsColour(isTerminal, config.env),
  });
  for (const warning of config.warnings) log('warn', warning);
  const progress = createProgressRenderer({
    write: (text) => process.stderr.write(text),
    isTerminal,
    columns: () => process.stderr.columns,
  });
  const startup = new AbortController();
  let server: RunningServer;
  try {
    server = await startServer(config, {
      log,
      say: (line) => {
        progress.clear();
        process.stderr.write(`${line}\n`);
      },
      onProgress: (event) => progress.show(event),
      signal: startup.signal,
    });
  } catch (thrown) {
    return fail(listenProblem(thrown, config));
  }
  const isEnding = endOnSignals(server, startup, log, reloadOf(flags, config, server, log));
  try {
    const world = await server.ready;
    progress.clear();
    if (!isEnding()) announce(version, server.url, world, config);
  } catch (thrown) {
    progress.clear();
    if (isEnding()) return;
    await server.close();
    fail((thrown as Error).message);
  }
}

function readConfig(flags: ConfigFlags): Config {
  try {
    return loadSafeConfig(flags);
  } catch (thrown) {
    if (thrown instanceof ConfigError) return fail(thrown.message);
    throw thrown;
  }
}

/** Throws ConfigError, also for what would open the server to everyone. `host`: where it listens already. */
function loadSafeConfig(flags: ConfigFlags, text?: string, host?: string): Config {
  const config = loadConfig(flags, undefined, text);
  const address = host ?? config.host;
  if (isLoopback(address) || config.keys.length > 0) return config;
  throw new ConfigError(
    `Listening on ${address} needs keys, or anyone could use this server: set SLUICE_API_KEYS, or listen on 127.0.0.1.`,
  );
}

/** Follows the configuration's file; undefined if there is none. */
function reloadOf(
  flags: ConfigFlags,
  config: Config,
  server: RunningServer,
  log: Log,
): ConfigReload | undefined {
  if (flags.config === undefined) return undefined;
  const reload = new ConfigReload({
    path: flags.config,
    load: (text) => loadSafeConfig(flags, text, config.host),
    config,
    apply: (next) => server.apply(next),
    log,
  });
  reload.watch();
  return reload;
}

/** The first signal drains, the second ends at once; SIGHUP reads the configuration again. Returns whether an end has begun. */
function endOnSignals(
  server: RunningServer,
  startup: AbortController,
  log: Log,
  reload: ConfigReload | undefined,
): () => boolean {
  let firstAt: number | undefined;
  const end = async (why: string) => {
    const now = performance.now();
    if (firstAt !== undefined) {
      if (now - firstAt < SAME_SIGNAL_MS) return;
      log('warn', 'Ending at once: answers under way are cut.');
      await server.close();
      process.exit(130);
    }
    firstAt = now;
    reload?.close();
    log('info', `Shutting down (${why}): answers under way may end. A second signal ends at once.`);
    startup.abort(new Error('Sluice was told to end.'));
    const allEnded = await server.drain();
    if (!allEnded) log('warn', 'Some answers did not end in time and were cut.');
    process.exit(0);
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => void end(signal));
  process.on('SIGHUP', () => void (reload && !isTerminalGone() ? reload.reload() : end('SIGHUP')));
  if (isUnderNpm()) watchParent(() => void end('npm has ended'));
  return () => firstAt !== undefined;
}

/** A terminal that is closed sends SIGHUP as well, and means that its programs should end. */
function isTerminalGone(): boolean {
  if (![process.stdin, process.stdout, process.stderr].some(({ isTTY }) => isTTY)) return false;
  try {
    closeSync(openSync('/dev/tty', 'r'));
    return false;
  } catch {
    return true;
  }
}

/** npm gives SIGTERM to its shell only, which dies and leaves us behind: then a new parent is the signal. */
function watchParent(onGone: () => void): void {
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    onGone();
  }, PARENT_POLL_MS).unref();
}

function announce(version: string, url: string, world: World, config: Config): void {
  const lines = [`Sluice ${version} serves on ${url}`];
  for (const { id, speaker, contextWindow, licence, backends } of listModels(world)) {
    const slots = backends.reduce((sum, backend) => sum + backend.load().slots, 0);
    const window = contextWindow === undefined ? '' : ` of ${contextWindow} tokens`;
    // Other servers say how many only when they were asked.
    const where = slots > 0 ? `${slots} slots${window}` : `on ${backends.map((one) => one.id).join(', ')}`;
    lines.push(`  model "${id}" is spoken by ${speaker}${licence ? `, ${licence}` : ''}; ${where}`);
  }
  if (world.openModels) {
    lines.push(`  any model is passed on to ${world.openModels.backends.map(({ id }) => id).join(', ')}`);
  }
  const key = config.keys.length > 0 ? ' (with your key)' : '';
  lines.push(`  try:  npx sluice chat    or open ${url}/${key}`);
  process.stdout.write(`${lines.join('\n')}\n`);
}

function listenProblem(thrown: unknown, { host, port }: Config): string {
  const { code, message } = thrown as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE') {
    return `Port ${port} on ${host} is in use: choose another one with SLUICE_PORT or --port.`;
  }
  if (code === 'EACCES')
    return `Port ${port} needs rights that this user does not have: choose one with SLUICE_PORT.`;
  if (code === 'ENOTFOUND' || code === 'EADDRNOTAVAIL') return `This machine has no address "${host}".`;
  return `The server cannot listen on ${host}:${port}: ${message}`;
}
