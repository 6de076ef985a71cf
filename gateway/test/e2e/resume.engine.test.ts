// The embedded engine is killed while the clients of its streams are reset: each answer goes on from its tokens, each client comes
// back, and what it has read in pieces is what a reader gets who was never cut off.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { seededRandom } from '../../src/load/seeded-random.ts';
import { missingModel } from '../parts.ts';
import { descendants, type Sluice, startSluice, statusOf, waitUntil } from './harness.ts';
import { attempt, eventsIn, RESUMABLE_ROUTES, type ResumableRoute, readResuming } from './resuming-client.ts';

const ROUNDS = 2;
const MAX_TOKENS = 64;
/** Of which a head takes a fourth: more resets would be of heads alone. */
const MOST_BYTES = 3_000;
const MOST_RESETS = 20;
/** Of a stream, before the engine is killed: it is in the middle of the answer then. */
const EVENTS_BEFORE = 6;
const LIMIT_MS = 30_000;

/** The route, for an answer that is long and the same again. */
function longOf(route: ResumableRoute): ResumableRoute {
  const limit = route.name === 'responses' ? 'max_output_tokens' : 'max_tokens';
  const text = JSON.stringify(route.body).replace('Go on.', 'A long story about a river: once upon a time');
  return { ...route, body: { ...JSON.parse(text), temperature: 0, [limit]: MAX_TOKENS } };
}

describe('the engine is killed while clients are reset', { skip: missingModel() }, () => {
  let sluice: Sluice;
  before(async () => {
    const args = ['--model', process.env.SLUICE_TEST_MODEL ?? ''];
    const config = { model_id: 'story', keep_alive_ms: 100, engine: { batch_size: RESUMABLE_ROUTES.length } };
    sluice = await startSluice({ args, config });
  });
  after(() => sluice.stop());

  test(`${ROUNDS} times, with a stream of each dialect: each reads the whole answer`, {
    timeout: 180_000,
  }, async () => {
    const random = seededRandom(1);
    for (let round = 0; round < ROUNDS; round += 1) {
      const inTheMiddle = RESUMABLE_ROUTES.map(() => Promise.withResolvers<void>());
      const reading = Promise.all(
        RESUMABLE_ROUTES.map((route, index) =>
          readResuming(longOf(route), {
            port: sluice.port,
            headers: { 'x-sluice-report': '1' },
            name: `${route.name} ${round}`,
            resets: MOST_RESETS,
            mostBytes: MOST_BYTES,
            random,
            onEvents: (count) => {
              if (count >= EVENTS_BEFORE) inTheMiddle[index]!.resolve();
            },
          }),
        ),
      );
      await Promise.race([Promise.all(inTheMiddle.map(({ promise }) => promise)), reading]);
      for (const pid of descendants(sluice.process.pid!)) process.kill(pid, 'SIGKILL');
      for (const [index, { events, text, resets }] of (await reading).entries()) {
        const route = RESUMABLE_ROUTES[index]!;
        assert.ok(resets > 0, 'it was reset');
        assert.match(events.at(-1)!.data + events.at(-2)!.data, /"continued":1/, route.name);
        const [stream] = events[0]!.id.split(':');
        const whole = await attempt(sluice.port, 'GET', `/v1/streams/${stream}`, {});
        assert.deepEqual(events, eventsIn(whole.body, route.end), route.name);
        // Said once: a beginning that comes again would be the answer begun anew.
        assert.ok(text.length > 40 && !text.slice(10).includes(text.slice(0, 40)), text);
      }
      await waitUntil(
        async () => (await statusOf(`${sluice.url}/readyz`)) === 200,
        LIMIT_MS,
        () => sluice.output(),
      );
    }
  });
});
