// `sluice check-config`: what serve would make of a file, without serving.
import { ConfigError, loadConfig } from '../config.ts';
import { fail } from './terminal.ts';

export function checkConfig(file: string): void {
  try {
    const { warnings } = loadConfig({ config: file });
    for (const warning of warnings) process.stderr.write(`warning: ${warning}\n`);
    process.stdout.write(`${file} is good.\n`);
  } catch (thrown) {
    if (thrown instanceof ConfigError) fail(thrown.message);
    throw thrown;
  }
}
