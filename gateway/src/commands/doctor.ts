// `sluice doctor`: what this machine has of what serving needs, a line each, and what to do where something is missing.
// Findings go to standard output. It changes nothing, and ends with 0 if serving would work, else with 1.
import { freemem } from 'node:os';
import {
  type Config,
  ConfigError,
  type ConfigFlags,
  loadConfig,
  usesEngine,
  wantsColour,
} from '../config.ts';
import { inspectEngine } from '../main.ts';
import { CATALOGUE } from '../models/catalogue.ts';
import { defaultHome } from '../models/home.ts';
import { TIMINGS } from '../models/source-context.ts';
import { probeSources } from '../models/sources/source-probe.ts';
import { defaultPython } from '../models/sources/tool-process.ts';
import {
  checkCores,
  checkEngine,
  checkGpu,
  checkMachine,
  checkMemory,
  checkPrefixRoom,
  checkRuntime,
  checkSettings,
  checkSource,
  checkStore,
} from './doctor-checks.ts';
import { type Check, renderChecks } from './doctor-finding.ts';
import { findServedModel } from './doctor-model.ts';
import { checkPort } from './doctor-port.ts';

export interface DoctorFlags extends ConfigFlags {
  readonly json?: boolean | undefined;
}

export async function doctor(flags: DoctorFlags, version: string): Promise<void> {
  // Tools that were asked have groups of their own and do not hear Ctrl-C: they are ended by our exit.
  process.once('SIGINT', () => process.exit(130));
  const found = await examine(flags, version);
  const isGood = found.every(({ state }) => state !== 'problem');
  const useColour = wantsColour(process.stdout.isTTY === true);
  process.stdout.write(
    flags.json
      ? `${JSON.stringify({ ok: isGood, checks: found }, undefined, 2)}\n`
      : renderChecks(found, useColour),
  );
  process.exitCode = isGood ? 0 : 1;
}

async function examine(flags: DoctorFlags, version: string): Promise<Check[]> {
  const first = [checkRuntime(version), checkMachine()];
  let config: Config;
  try {
    config = loadConfig(flags);
  } catch (thrown) {
    if (!(thrown instanceof ConfigError)) throw thrown;
    // What it was meant to say is unknown: the rest would be about another server.
    return [...first, { id: 'config', state: 'problem', text: `${thrown.message} Mend it, then ask again.` }];
  }
  const { signal } = new AbortController();
  const home = defaultHome(config.env, process.platform, config.homedir);
  const [engine, probes, port, prefixes] = await Promise.all([
    inspectEngine(config, signal),
    probeSources({
      catalogue: CATALOGUE,
      env: config.env,
      python: defaultPython(process.platform),
      timings: TIMINGS,
      signal,
    }),
    checkPort(config.host, config.port),
    checkPrefixRoom(),
  ]);
  // What the store goes by: it does not look at a container's limit.
  const model = await findServedModel({ config, home, freeMemoryBytes: freemem(), probes });
  return [
    ...first,
    checkSettings(config, flags.config),
    checkEngine(engine, usesEngine(config)),
    checkCores(engine),
    checkGpu(engine, config.engine.gpu),
    model.check,
    checkMemory(model),
    await checkStore(home, model),
    prefixes,
    ...probes.map(checkSource),
    port,
  ];
}
