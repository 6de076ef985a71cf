// Guards what the scheduler promises over time, before a simple server in virtual time: a flood does not move others, no class
// starves, those who were told when to come back find a place, and all of them what they were promised.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../test/manual-clock.ts';
import { StillBackend, ticketFor } from '../../test/still-backend.ts';
import type { GatewayError } from '../core/errors.ts';
import { PRIORITIES, type Priority } from '../core/priority.ts';
import type { Ticket } from '../core/ticket.ts';
import { quantile } from '../figures/statistics.ts';
import { seededRandom } from '../load/seeded-random.ts';
import { Scheduler } from './scheduler.ts';

const SLOTS = 8;
/** A slot computes so many tokens a second. */
const TOKENS_PER_SECOND = 150;
const PREFILL_MS_PER_TOKEN = 1;

interface Source {
  readonly name: string;
  readonly priority: Priority;
  /** Mean calls a second; their times are random. */
  readonly rate: number;
  readonly deadlineMs?: number;
  /** Who is refused comes back when it was told to. */
  readonly returns?: boolean;
}

interface Told {
  readonly waitsMs: number[];
  readonly firstTokensMs: number[];
  tokens: number;
  asked: number;
  refused: number;
  timeouts: number;
  returned: number;
  returnedInVain: number;
}

/** Lets calls of 50 to 250 tokens come from each source, and serves them. */
async function serve(
  sources: readonly Source[],
  { seconds, seed, stepMs }: { readonly seconds: number; readonly seed: number; readonly stepMs: number },
): Promise<Map<string, Told>> {
  const clock = new ManualClock();
  const scheduler = new Scheduler({ clock, maxWaitingTokens: 20_000, maxWaitMs: 60_000 });
  const backend = new StillBackend('a', SLOTS);
  const told = new Map<string, Told>();
  for (const [index, { name, priority, rate, deadlineMs, returns }] of sources.entries()) {
    const random = seededRandom(seed * 1_000 + index);
    const [waitsMs, firstTokensMs]: [number[], number[]] = [[], []];
    const own: Told = {
      ...{ waitsMs, firstTokensMs, tokens: 0, asked: 0, refused: 0, timeouts: 0 },
      ...{ returned: 0, returnedInVain: 0 },
    };
    told.set(name, own);
    const ask = (tokens: number, whole: number, isBack: boolean) => {
      const deadlineAt = deadlineMs === undefined ? undefined : clock.now() + deadlineMs;
      const cost = { promptTokens: 40, outputTokens: tokens - 40 };
      const rest: Partial<Ticket> = {
        tenant: name,
        priority,
        deadlineAt,
        cost,
        prefix: { blocks: [], whole },
      };
      const askedAt = clock.now();
      scheduler.acquire(ticketFor([backend], rest)).then(
        (lease) => {
          own.waitsMs.push(lease.queueMs);
          own.tokens += tokens;
          clock.after(40 * PREFILL_MS_PER_TOKEN, () => {
            own.firstTokensMs.push(clock.now() - askedAt);
            lease.spoke();
          });
          clock.after((tokens * 1_000) / TOKENS_PER_SECOND, () => lease.release('ok'));
        },
        ({ code, retryAfterMs }: GatewayError) => {
          own.refused += 1;
          if (code === 'queue_timeout') own.timeouts += 1;
          if (isBack) own.returnedInVain += 1;
          else if (returns && retryAfterMs! < Infinity) {
            own.returned += 1;
            clock.after(Math.ceil(retryAfterMs! / 1_000) * 1_000, () => ask(tokens, whole, true));
          }
        },
      );
    };
    const come = () => {
      own.asked += 1;
      ask(50 + Math.floor(random() * 200), seed * 1e9 + index * 1e6 + own.asked, false);
      wait();
    };
    const wait = () => clock.after((-Math.log(1 - random()) * 1_000) / rate, come);
    wait();
  }
  for (let ms = 0; ms < seconds * 1_000; ms += stepMs) {
    clock.advance(stepMs);
    // What was given or refused in this step is told before the next one.
    await undefined;
    await undefined;
  }
  return told;
}

/** Calls a second that keep all slots busy. */
const CAPACITY = (SLOTS * TOKENS_PER_SECOND) / 150;

test('a tenant that sends a hundred times its share moves the waits of the others by less than a fifth', async () => {
  const TENANTS = 10;
  const share = (0.9 * CAPACITY) / TENANTS;
  const waits = { even: [] as number[], flooded: [] as number[] };
  let refused = 0;
  for (const seed of [1, 2]) {
    for (const times of [1, 100]) {
      const sources = Array.from({ length: TENANTS }, (_, index) => ({
        name: `tenant ${index}`,
        priority: 'standard' as const,
        rate: share * (index === 0 ? times : 1),
      }));
      const told = await serve(sources, { seconds: 200, seed, stepMs: 10 });
      for (const [name, own] of told) {
        if (name === 'tenant 0') continue;
        waits[times === 1 ? 'even' : 'flooded'].push(...own.waitsMs);
        refused += own.refused;
      }
    }
  }
  const [even, flooded] = [quantile(waits.even, 0.99), quantile(waits.flooded, 0.99)];
  assert.ok(flooded < even * 1.2, `P99 of the wait: ${even} and ${flooded} ms`);
  assert.equal(refused, 0);
});

test('twenty minutes of three times too much: no class starves, each has its share, nothing idles', async () => {
  const told = await serve(
    PRIORITIES.map((priority) => ({
      name: priority,
      priority,
      rate: CAPACITY,
    })),
    { seconds: 1_200, seed: 1, stepMs: 50 },
  );
  const tokens = (name: string) => told.get(name)!.tokens;
  const all = tokens('interactive') + tokens('standard') + tokens('batch');
  assert.ok(all > 0.93 * 1_200 * SLOTS * TOKENS_PER_SECOND, `${all}`);
  assert.ok(Math.abs(tokens('standard') / all - 0.2) < 0.01, `${tokens('standard') / all}`);
  assert.ok(Math.abs(tokens('batch') / all - 0.05) < 0.01, `${tokens('batch') / all}`);
});

test('in a surge first tokens come in time for who is let in, and who comes back when it was told finds a place', async () => {
  const told = await serve(
    [{ name: 'surge', priority: 'interactive', rate: 2 * CAPACITY, deadlineMs: 500, returns: true }],
    { seconds: 600, seed: 1, stepMs: 10 },
  );
  const { firstTokensMs, returned, returnedInVain } = told.get('surge')!;
  assert.ok(quantile(firstTokensMs, 0.99) <= 500, `${quantile(firstTokensMs, 0.99)} ms`);
  assert.ok(returned > 1_000 && returnedInVain <= 0.05 * returned, `${returnedInVain} of ${returned}`);
  // Room is left for chance: a server that is full to the brim is late.
  assert.ok(firstTokensMs.length > 0.8 * 600 * CAPACITY, `${firstTokensMs.length}`);
});
