// Where the engine keeps computed prefixes: on a memory file system where there is one with room, else in a temporary
// folder. What an earlier process could not remove, because it was killed, is removed here.
// It must never leave anything behind at an orderly end, nor be readable by another user: states are made of prompts.
import { mkdtempSync, readdirSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';

export interface StateFolder {
  readonly path: string;
  /** What may be kept in it. */
  readonly maxBytes: number;
  /** Safe to call twice. */
  remove(): void;
}

const NAME = /^sluice-states-(\d+)\.(\d+)-/;
/** A memory file system with less room than this is left to others: containers often have 64 MB. */
const LEAST_ROOM_BYTES = 128 * 2 ** 20;
/** Of what is free there. */
const SHARE = 0.5;

/** Throws Node's own error when not even a temporary folder can be made. */
export function makeStateFolder(
  wantedBytes: number,
  places: readonly string[] = ['/dev/shm', tmpdir()],
): StateFolder {
  for (const place of places) removeLeftovers(place);
  const rooms = places.map((place) => ({ place, bytes: Math.floor(freeBytes(place) * SHARE) }));
  const enough = Math.min(wantedBytes, LEAST_ROOM_BYTES);
  const { place, bytes } =
    rooms.find((room) => room.bytes >= enough) ?? rooms.reduce((a, b) => (b.bytes > a.bytes ? b : a));
  const path = mkdtempSync(join(place, `sluice-states-${process.pid}.${startedAt()}-`));
  const remove = (): void => {
    process.off('exit', remove);
    rmSync(path, { recursive: true, force: true });
  };
  process.on('exit', remove);
  return { path, maxBytes: Math.min(wantedBytes, bytes), remove };
}

function removeLeftovers(place: string): void {
  let names: readonly string[];
  try {
    names = readdirSync(place);
  } catch {
    return;
  }
  for (const name of names) {
    const [, pid, since] = NAME.exec(name) ?? [];
    if (pid === undefined || isAlive(Number(pid), Number(since))) continue;
    try {
      rmSync(join(place, name), { recursive: true, force: true });
    } catch {
      // Another user's: it is theirs to remove.
    }
  }
}

/** In a container every process may have had our own number before us. */
function isAlive(pid: number, since: number): boolean {
  if (pid === process.pid) return since === startedAt();
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function startedAt(): number {
  return Math.round(performance.timeOrigin);
}

function freeBytes(place: string): number {
  try {
    const { bavail, bsize } = statfsSync(place);
    return bavail * bsize;
  } catch {
    return 0;
  }
}
