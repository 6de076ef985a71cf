// `sluice check-config`: what serve would make of a file, without serving; with `--probe` also what its back ends say.
// It ends with 2 for a file that is wrong, and with 1 for a back end that is. It never shows a key.
import { isRemote } from '../config/backends.ts';
import { type Config, ConfigError, type ConfigFlags, loadConfig } from '../config.ts';
import { askBackend } from '../main.ts';
import { probeBackends, renderProbes } from './backend-probes.ts';
import { fail } from './terminal.ts';

export interface CheckConfigFlags {
  readonly probe?: boolean | undefined;
  /** Where the file is not named on its own. */
  readonly config?: string | undefined;
  readonly backend?: readonly string[] | undefined;
}

export async function checkConfig(file: string | undefined, flags: CheckConfigFlags): Promise<void> {
  const { probe = false, backend } = flags;
  const path = file ?? flags.config;
  if (path === undefined && backend === undefined) {
    return fail('There is nothing to check: name a file, or back ends with --backend.');
  }
  const config = readConfig({ config: path, backend });
  for (const warning of config.warnings) process.stderr.write(`warning: ${warning}\n`);
  if (path !== undefined) process.stdout.write(`${path} is good.\n`);
  if (!probe) return;
  const remote = (config.backends ?? []).filter(isRemote);
  if (remote.length === 0) {
    process.stdout.write('It names no other server that could be asked.\n');
    return;
  }
  const probes = await probeBackends(remote, config.models ?? [], (backend, signal) =>
    askBackend(config, backend, signal),
  );
  process.stdout.write(renderProbes(probes));
  if (probes.some(({ isGood }) => !isGood)) process.exitCode = 1;
}

function readConfig(flags: ConfigFlags): Config {
  try {
    return loadConfig(flags);
  } catch (thrown) {
    if (thrown instanceof ConfigError) return fail(thrown.message);
    throw thrown;
  }
}
