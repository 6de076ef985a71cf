// Whether the server could listen where it is told to, and who is there if it could not.
// It listens for a moment and connects to nobody; of another process it tells the name and the number, never the arguments.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import { basename, join } from 'node:path';
import type { Check } from './doctor-finding.ts';

export interface PortHolder {
  readonly pid: number;
  readonly name: string;
  readonly isSluice: boolean;
}

export async function checkPort(host: string, port: number): Promise<Check> {
  const where = `${host}:${port}`;
  if (port === 0) return { id: 'port', state: 'ok', text: `Any free port of ${host} is taken.` };
  const code = await listenFor(host, port);
  if (code === undefined) return { id: 'port', state: 'ok', text: `${where} is free.` };
  if (code === 'EADDRINUSE') return takenPort(where, holderOf(port));
  const advice = 'choose another with SLUICE_PORT or --port, SLUICE_HOST or --host';
  const why =
    code === 'EACCES'
      ? 'needs rights that this user does not have'
      : code === 'ENOTFOUND' || code === 'EADDRNOTAVAIL'
        ? 'is no address of this machine'
        : `cannot be listened on (${code})`;
  return { id: 'port', state: 'problem', text: `${where} ${why}: ${advice}.` };
}

function takenPort(where: string, holder: PortHolder | undefined): Check {
  if (holder?.isSluice) {
    const text = `Sluice serves on ${where} already (process ${holder.pid}); a second one needs another port.`;
    return { id: 'port', state: 'note', text };
  }
  const who = holder
    ? `process ${holder.pid} (${holder.name})`
    : 'another process, which this user may not look at';
  return {
    id: 'port',
    state: 'problem',
    text: `${where} is held by ${who}: end that, or choose another port with SLUICE_PORT or --port.`,
  };
}

/** The system's error code; undefined if it went well. */
function listenFor(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (thrown: NodeJS.ErrnoException) => resolve(thrown.code ?? thrown.message));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}

/** Who listens on a port, on Linux and where this user may see it. */
export function holderOf(port: number): PortHolder | undefined {
  try {
    const inodes = ['tcp', 'tcp6'].flatMap((file) => listenersOn(port, join('/proc/net', file)));
    if (inodes.length === 0) return undefined;
    const links = new Set(inodes.map((inode) => `socket:[${inode}]`));
    for (const pid of readdirSync('/proc')) {
      if (/^\d+$/.test(pid) && holdsOne(join('/proc', pid, 'fd'), links)) return describe(pid);
    }
  } catch {
    // Not Linux, or a system that shows nothing: it is a courtesy.
  }
  return undefined;
}

/** Their inodes. A line of the table: number, local address and port in hex, the other side, state, …, inode. */
function listenersOn(port: number, table: string): string[] {
  let text: string;
  try {
    text = readFileSync(table, 'utf8');
  } catch {
    return [];
  }
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return text.split('\n').flatMap((line) => {
    const [, local = '', , state, , , , , , inode] = line.trim().split(/\s+/);
    return local.endsWith(wanted) && state === '0A' && inode !== undefined ? [inode] : [];
  });
}

function holdsOne(folder: string, links: ReadonlySet<string>): boolean {
  try {
    return readdirSync(folder).some((name) => {
      try {
        return links.has(readlinkSync(join(folder, name)));
      } catch {
        return false;
      }
    });
  } catch {
    return false;
  }
}

function describe(pid: string): PortHolder {
  // Not `comm`: that of a Node process is the name of a thread.
  const name = basename(readlinkSync(join('/proc', pid, 'exe')));
  const words = readFileSync(join('/proc', pid, 'cmdline'), 'utf8').split('\0');
  const isSluice = words.some((word) => /(^|\/)sluice(\.js)?$|gateway\/src\/cli\.ts$/.test(word));
  return { pid: Number(pid), name, isSluice };
}
