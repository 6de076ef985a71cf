// What `sluice doctor` looks at on the machine, one finding each. Nothing here fetches a model, changes the store or throws for
// what it finds: a finding is a value. No key, token or address of a private index ever gets into one.
import { existsSync } from 'node:fs';
import { access, constants } from 'node:fs/promises';
import { availableParallelism, cpus, freemem, release, tmpdir, totalmem } from 'node:os';
import { dirname, resolve } from 'node:path';
import type { Config } from '../config.ts';
import { isLoopback } from '../edge/access/access.ts';
import type { inspectEngine } from '../main.ts';
import { formatBytes } from '../models/progress-renderer.ts';
import type { SourceProbe } from '../models/sources/source-probe.ts';
import { freeDiskBytes } from '../models/store-files.ts';
import type { Check } from './doctor-finding.ts';
import type { ServedModelFinding } from './doctor-model.ts';

type EngineReport = Awaited<ReturnType<typeof inspectEngine>>;

/** docs/adr/0002-embedded-engine.md says what it costs. */
const GPU_COMMAND =
  'npm pkg delete overrides && rm package-lock.json && npm install, then engine: {gpu: true}';
/** Half of what is free may be used, and 128 MB is the least that is of use. */
const ROOM_FOR_PREFIXES = 256 * 2 ** 20;

export function checkRuntime(version: string): Check {
  const text = `Sluice ${version} runs on Node ${process.version} (${process.execPath}).`;
  return { id: 'sluice', state: 'ok', text };
}

export function checkMachine(): Check {
  const model = cpus()[0]?.model.trim() || 'an unknown processor';
  return {
    id: 'machine',
    state: 'ok',
    text: `${process.platform} ${release()}, ${process.arch}, ${model}.`,
  };
}

/** `file`: the one that was read, if one was named. */
export function checkSettings(config: Config, file: string | undefined): Check {
  const where =
    file === undefined ? 'No configuration file; defaults and the environment.' : `${file} is good.`;
  if (!isLoopback(config.host) && config.keys.length === 0) {
    const text = `Listening on ${config.host} needs keys: set SLUICE_API_KEYS, or listen on 127.0.0.1.`;
    return { id: 'config', state: 'problem', text };
  }
  const state = config.warnings.length > 0 ? 'note' : 'ok';
  return { id: 'config', state, text: [where, ...config.warnings].join(' ') };
}

export function checkEngine({ engine, reason }: EngineReport, isNeeded: boolean): Check {
  if (!engine) {
    const text = `${reason} "npm ci" in Sluice's folder brings the engine along.`;
    return { id: 'engine', state: isNeeded ? 'problem' : 'note', text };
  }
  const { cpuVariant, instructions } = engine;
  const kernels = cpuVariant === undefined ? 'one build for all processors' : `kernels for ${cpuVariant}`;
  const sets = instructions.length > 0 ? ` (${instructions.join(', ')})` : '';
  return { id: 'engine', state: 'ok', text: `llama.cpp ${engine.release} loads, ${kernels}${sets}.` };
}

export function checkCores({ cores, threads, mostThreads }: EngineReport): Check {
  const all = Math.max(cores, cpus().length, availableParallelism());
  const limited =
    cores < all ? ` of ${all}: the others are beyond its affinity or its container's limit` : '';
  const more = mostThreads > threads ? `, ${mostThreads} while nothing else runs` : '';
  const text = `${plural(cores, 'core')} may be used${limited}; the engine takes ${plural(threads, 'thread')}${more}.`;
  if (threads > cores) {
    return { id: 'cores', state: 'note', text: `${text} More threads than cores wait for each other.` };
  }
  if (cores === 1) {
    return { id: 'cores', state: 'note', text: `${text} The network and the engine share it.` };
  }
  return { id: 'cores', state: 'ok', text };
}

export function checkGpu({ engine }: EngineReport, isWanted: boolean): Check {
  const id = 'gpu';
  const builds = engine?.gpuBuilds ?? [];
  if (engine?.gpu) return { id, state: 'ok', text: `The engine computes on the GPU (${engine.gpu}).` };
  if (builds.length > 0) {
    const text = `GPU builds are installed (${builds.join(', ')}), and the processor computes`;
    return isWanted
      ? { id, state: 'note', text: `${text}: none of them can be used here.` }
      : { id, state: 'note', text: `${text}: to use them, engine: {gpu: true}.` };
  }
  const isWorthIt = isWanted || existsSync('/proc/driver/nvidia/version');
  const text = `No GPU build is installed; none is needed. For one: ${GPU_COMMAND}.`;
  return { id, state: isWorthIt ? 'note' : 'ok', text };
}

export function checkMemory(model: ServedModelFinding): Check {
  const { total, free } = memory();
  const id = 'memory';
  const text = `${formatBytes(free)} free of ${formatBytes(total)}`;
  if (model.memoryBytes === undefined) return { id, state: 'ok', text: `${text}.` };
  const wants = `${text}; ${model.title} wants ${formatBytes(model.memoryBytes)}`;
  if (free >= model.memoryBytes) return { id, state: 'ok', text: `${wants}.` };
  return { id, state: 'note', text: `${wants}: it may be slow, or be ended by the system.` };
}

/** Of the container, where that has a limit of its own. */
function memory(): { total: number; free: number } {
  const limit = process.constrainedMemory();
  return limit > 0 && limit < totalmem()
    ? { total: limit, free: Math.min(freemem(), process.availableMemory()) }
    : { total: totalmem(), free: freemem() };
}

export async function checkStore(home: string, model: ServedModelFinding): Promise<Check> {
  const id = 'store';
  const folder = existingAncestor(home);
  const free = await freeDiskBytes(folder);
  const text = `${home}${folder === resolve(home) ? '' : ' (made at the first start)'}, ${free === undefined ? 'free room unknown' : `${formatBytes(free)} free`}`;
  const isWritable = await access(folder, constants.W_OK).then(
    () => true,
    () => false,
  );
  // A model that is there can be served from a store that cannot be written.
  const isNeeded = model.diskBytes > 0;
  if (!isWritable) {
    const advice = 'this user may not write there: set SLUICE_HOME to a folder of yours';
    return { id, state: isNeeded ? 'problem' : 'note', text: `${text}; ${advice}.` };
  }
  if (free !== undefined && free < model.diskBytes) {
    const advice = `${model.title} needs ${formatBytes(model.diskBytes)}: make room, or set SLUICE_HOME to another disk`;
    return { id, state: 'problem', text: `${text}; ${advice}.` };
  }
  return { id, state: 'ok', text: `${text}.` };
}

/** Where computed prefixes may be kept: memory is the place for them, a temporary folder the next best. */
export async function checkPrefixRoom(): Promise<Check> {
  const id = 'prefixes';
  const shared = process.platform === 'linux' ? await freeDiskBytes('/dev/shm') : undefined;
  const temporary = tmpdir();
  const elsewhere = await freeDiskBytes(temporary);
  const rooms = [
    ...(shared === undefined ? [] : [`${formatBytes(shared)} free in /dev/shm`]),
    ...(elsewhere === undefined ? [] : [`${formatBytes(elsewhere)} free in ${temporary}`]),
  ].join(', ');
  if (Math.max(shared ?? 0, elsewhere ?? 0) < ROOM_FOR_PREFIXES) {
    const text = `${rooms || 'No room is known'}: computed prefixes will hardly be kept.`;
    return { id, state: 'note', text };
  }
  return { id, state: 'ok', text: `Room for computed prefixes: ${rooms}.` };
}

export function checkSource({ kind, state, text }: SourceProbe): Check {
  const advice =
    kind === 'huggingface' && state === 'unreached' ? ' HF_ENDPOINT may name a mirror of it.' : '';
  return { id: `source ${kind}`, state: state === 'reached' ? 'ok' : 'note', text: `${text}${advice}` };
}

function existingAncestor(path: string): string {
  for (let at = resolve(path); ; at = dirname(at)) {
    if (existsSync(at) || at === dirname(at)) return at;
  }
}

function plural(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}
