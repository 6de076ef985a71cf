// How long a start takes with the model in the store, and what the gateway's process holds when it has nothing to do.

import { median, rounded } from '../../gateway/src/figures/statistics.ts';
import { modelFile, startSluice } from '../servers.ts';

const ROUNDS = 5;

export async function run(rounds = ROUNDS): Promise<object> {
  const file = await modelFile();
  const seconds: number[] = [];
  const idleMiB: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const startedAt = performance.now();
    const sluice = await startSluice({ model: file, log_level: 'silent' });
    seconds.push((performance.now() - startedAt) / 1000);
    idleMiB.push((await sluice.settledRss()) / 2 ** 20);
    await sluice.stop();
  }
  return {
    secondsToReady: { median: rounded(median(seconds)), all: seconds.map((one) => rounded(one)) },
    gatewayIdleMiB: { median: rounded(median(idleMiB), 1), all: idleMiB.map((one) => rounded(one, 1)) },
  };
}
