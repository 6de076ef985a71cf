// Every check as a test, over one engine.
import { after, before, describe, test } from 'node:test';
import type { Engine } from './engine.ts';
import { CHECKS, type Front, startFront } from './front.ts';

/** `missing`: why the engine cannot run here; undefined if it can. */
export function describeEngine(
  name: string,
  missing: string | undefined,
  start: () => Promise<Engine>,
): void {
  describe(name, { skip: missing, concurrency: false }, () => {
    let engine: Engine;
    let front: Front;
    before(async () => {
      engine = await start();
      front = await startFront(engine);
    });
    after(async () => {
      await front?.stop();
      await engine?.stop();
    });
    for (const check of CHECKS) {
      test(check.title, async (context) => {
        context.diagnostic(await check.run(front));
      });
    }
  });
}
