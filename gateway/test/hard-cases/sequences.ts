// The cases that are sequences of steps, each written by hand: what is sent, dropped and waited for, and what must be so
// afterwards. How their steps differ from the file's stands in `left-out.ts`.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { waitUntil } from '../e2e/harness.ts';
import { EVENT_STREAM, jsonOf, refusalOf, streamOf, textChunk } from '../upstream/answers.ts';
import type { Upstream, UpstreamRequest } from '../upstream/faulty-upstream.ts';
import type { Script } from '../upstream/script.ts';
import { type CaseRequest, membersOf, requestOf, upstreamOf } from './cases.ts';
import { checkExpected, choiceOf } from './expectations.ts';
import { OTHER_DIALECTS, requestIn } from './modes.ts';
import { chatRequest, during, type Play, setupOf } from './play.ts';
import { onEveryRoute, onVectorRoutes } from './routes.ts';
import { type Stage, withStage } from './stage.ts';

const LIMIT_MS = 10_000;
/** What is to follow within 100 ms, on a machine that does other things too. */
const SOON_MS = 1_100;
const HOLD: Script = { headers: EVENT_STREAM, chunks: [], end: 'hold' };

/** By the case's id. */
export const SEQUENCES: Readonly<Record<string, Play>> = {
  'cancel-plain-answer': async (one, t) => {
    // Before the head, before the first token, in the middle.
    const phases: Readonly<Record<string, Script>> = {
      'before the head': { ...jsonOf('late'), headDelayMs: 10_000 },
      'before the first token': upstreamOf(one),
      'in mid-answer': { headers: EVENT_STREAM, chunks: [textChunk('a'), textChunk('b')], end: 'hold' },
    };
    let slowestMs = 0;
    await withStage(setupOf(one), async (stage) => {
      for (const [phase, script] of Object.entries(phases)) {
        stage.a.play(script);
        for (const stream of [false, true]) {
          for (const request of onEveryRoute({ stream })) {
            const what = `${request.path}, ${stream ? 'streamed' : 'whole'}, ${phase}`;
            const tookMs = await during(what, () => leave(stage, request));
            slowestMs = Math.max(slowestMs, tookMs);
          }
        }
      }
      for (const { request, answer } of onVectorRoutes()) {
        for (const script of [
          HOLD,
          { ...answer, headDelayMs: 10_000 },
          { ...answer, end: 'hold' as const },
        ]) {
          stage.a.play(script);
          slowestMs = Math.max(slowestMs, await during(request.path, () => leave(stage, request)));
        }
      }
      const metrics = await (await fetch(`${stage.url}/metrics`)).text();
      assert.match(metrics, /^sluice_requests_total\{[^}]*outcome="cancelled"[^}]*\} \d+$/m);
    });
    t.diagnostic(`the back end's connection was closed within ${slowestMs.toFixed(1)} ms`);
    assert.ok(slowestMs < SOON_MS, `${slowestMs} ms`);
  },

  'slot-leak': async (one) => {
    const headers = { authorization: 'Bearer k1' };
    const requests = [true, false].flatMap((stream) => onEveryRoute({ stream, headers }));
    await withStage(setupOf(one), async (stage) => {
      for (const request of requests) {
        const { stream } = membersOf(request);
        await during(`${request.path}, ${stream ? 'streamed' : 'whole'}`, async () => {
          stage.a.play(streamOf('ok'));
          assert.equal((await stage.answer(request)).status, 200, 'completed');
          await dropInMidStream(stage, request, upstreamOf(one));
          await served(stage, request);
          await dropBeforeFirstToken(stage, request);
          await served(stage, request);
          stage.a.play(refusalOf(500, { message: 'out of memory', type: 'server_error' }));
          assert.ok((await stage.answer(request)).status >= 500, 'failed');
          await served(stage, request);
        });
      }
      for (const { request, answer } of onVectorRoutes(headers)) {
        await during(request.path, async () => {
          await served(stage, request, answer);
          await dropBeforeFirstToken(stage, request);
          await served(stage, request, answer);
          for (const script of [
            refusalOf(500, { message: 'out of memory' }),
            { ...answer, chunks: ['{}'] },
          ]) {
            stage.a.play(script);
            assert.ok((await stage.answer(request)).status >= 500, 'failed');
            await served(stage, request, answer);
          }
        });
      }
    });
  },

  'retry-only-when-safe': async (one) => {
    const { silent, bad } = one.upstreams;
    await withStage(setupOf(one), async (stage) => {
      stage.a.play(silent!);
      const late = await stage.answer(chatRequest());
      assert.equal(late.status, 504);
      assert.ok(late.error?.message);
      assert.equal(stage.a.requests.length, 1);
      await closedByUs(stage.a, 0);
      stage.a.play(bad!);
      const refused = await stage.answer(chatRequest());
      assert.deepEqual([refused.status, refused.error?.param], [400, 'temperature']);
      assert.match(refused.error?.message ?? '', /temperature must be at most 2/);
      assert.equal(stage.a.requests.length, 2);
    });
  },

  'breaker-ignores-4xx': async (one) => {
    const { bad, good } = one.upstreams;
    await withStage(setupOf(one), async (stage) => {
      stage.a.play(bad!);
      for (let round = 0; round < 20; round += 1) {
        const refused = await stage.answer(chatRequest());
        assert.deepEqual([refused.status, refused.error?.code], [400, 'context_length_exceeded']);
      }
      stage.a.play(good!);
      const answer = await stage.answer(chatRequest());
      assert.deepEqual([answer.status, choiceOf(answer).content], [200, 'ok']);
      assert.equal(await stage.metric('sluice_backend_up{backend="a"}'), 1);
      for (const status of [429, 503]) await during(`${status}`, () => assertBusyIsNotDead(stage, status));
    });
  },

  'stall-then-failover': async (one) => {
    const request = requestOf(one);
    const play = (stage: Stage) => {
      stage.a.play(one.upstreams.a!);
      stage.b.play(one.upstreams.b!);
    };
    await withStage(setupOf(one), async (stage) => {
      play(stage);
      const answer = await stage.answer(request);
      await checkExpected({ answer, stage }, one.expected);
      assert.equal(new Set(answer.events.map(({ value }) => value.id)).size, 1, 'one id');
      assert.equal(choiceOf(answer).roleChunks, 1, 'one role');
      assert.equal(choiceOf(answer).finishChunks, 1, 'one finish');
      assert.deepEqual([stage.a.requests.length, stage.b.requests.length], [1, 1]);
      const { messages } = JSON.parse(stage.b.requests[0]!.body) as { messages: object[] };
      const { role, content } = messages.at(-1) as { role: string; content: string };
      assert.deepEqual([role, content], ['assistant', 'One two']);
      await closedByUs(stage.a, 0);
    });
    for (const mode of OTHER_DIALECTS) {
      await during(mode, () =>
        withStage(setupOf(one), async (stage) => {
          play(stage);
          const answer = await stage.answer(requestIn(mode, request));
          await checkExpected({ answer, stage }, one.expected);
          assert.deepEqual([stage.a.requests.length, stage.b.requests.length], [1, 1]);
        }),
      );
    }
    await withStage(setupOf(one), async (stage) => {
      play(stage);
      const answer = await stage.answer({ ...request, headers: { 'x-sluice-failover': 'off' } });
      assert.equal(choiceOf(answer).content, 'One two');
      assert.ok(answer.error, 'an error event, as failover is off');
      assert.deepEqual([answer.isDone, stage.b.requests.length], [false, 0]);
    });
  },

  'hedge-loser-stops': async (one, t) => {
    await withStage(setupOf(one), async (stage) => {
      stage.a.play(one.upstreams.a!);
      stage.b.play(one.upstreams.b!);
      const request = { ...requestOf(one), headers: { 'x-sluice-report': '1' } };
      const answer = await stage.answer(request);
      await checkExpected({ answer, stage }, one.expected);
      await closedByUs(stage.a, 0);
      const [slow] = stage.a.requests;
      const [fast] = stage.b.requests;
      assert.equal(slow!.writtenAt.length, 0, 'it is closed before it answers');
      const lostMs = slow!.closedByPeerAt! - fast!.writtenAt[0]!;
      t.diagnostic(`the loser was ended ${lostMs.toFixed(1)} ms after the winner's first token`);
      assert.ok(lostMs < SOON_MS, `${lostMs} ms`);
      const reports = answer.events.flatMap(({ value }) => value.sluice ?? []) as Record<string, unknown>[];
      assert.deepEqual(
        reports.map(({ backend, hedged, continued }) => [backend, hedged, continued]),
        [['b', 1, 0]],
        'its client is told of the winner only',
      );
      assert.equal(await stage.metric('sluice_hedges_total{result="won"}'), 1);
      assert.deepEqual([stage.a.requests.length, stage.b.requests.length], [1, 1]);
      await stage.metricIs('sluice_requests_running', 0);
    });
  },

  'stale-pooled-socket': async (one) => {
    const script = upstreamOf(one);
    const servedBy = ({ requests }: Upstream) =>
      requests.filter(({ answeredAt }) => answeredAt !== undefined);
    await withStage(setupOf(one), async (stage) => {
      stage.a.play(script);
      assert.equal((await stage.answer(requestOf(one))).status, 200);
      await sleep(1_100);
      const second = await stage.answer(requestOf(one));
      assert.deepEqual([second.status, choiceOf(second).content], [200, 'ok']);
      assert.equal(servedBy(stage.a).length, 2, 'each request was served once');
      assert.equal(await stage.metric('sluice_backend_up{backend="a"}'), 1);
    });
    // The same where nothing tells that the connection will not last: at once, so that it is used again.
    await withStage(setupOf(one), async (stage) => {
      stage.a.play({ ...script, keepAliveMs: undefined });
      for (let round = 0; round < 6; round += 1) {
        const answer = await stage.answer(requestOf(one));
        assert.deepEqual([answer.status, choiceOf(answer).content], [200, 'ok'], `round ${round}`);
      }
      assert.equal(servedBy(stage.a).length, 6, 'each request was served once');
      assert.ok(stage.a.requests.length <= 2 * 6, 'and sent again once at most');
      assert.equal(await stage.metric('sluice_backend_up{backend="a"}'), 1);
    });
  },

  'labels-bounded': async (one) => {
    const requests = 1_000;
    const lanes = 20;
    await withStage(setupOf(one), async (stage) => {
      const before = await seriesOf(stage);
      let sent = 0;
      const lane = async () => {
        while (sent < requests) {
          const n = sent;
          sent += 1;
          const { status } = await stage.answer(chatRequest({ model: `nope-${n}`, user: `u-${n}` }));
          assert.ok(status >= 400 && status < 500, `${status}`);
          if (n % 10 > 0) continue;
          const wrong = await stage.answer({ ...chatRequest(), path: `/v1/nowhere-${n}` });
          assert.equal(wrong.status, 404);
        }
      };
      await Promise.all(Array.from({ length: lanes }, lane));
      const after = await seriesOf(stage);
      assert.ok(after.length <= before.length + 10, `${after.length - before.length} new series`);
      assert.doesNotMatch(after.join('\n'), /nope-|u-\d|nowhere/);
    });
  },

  'prefix-hot-spot': async (one, t) => {
    await withStage(setupOf(one), async (stage) => {
      for (const upstream of [stage.a, stage.b]) upstream.play(upstreamOf(one));
      const startedAt = performance.now();
      const { body, ...request } = requestOf(one);
      const bodies = Array.from({ length: 40 }, (_, n) =>
        JSON.parse(JSON.stringify(body).replace('{{n}}', String(n))),
      );
      const answers = await Promise.all(bodies.map((each) => stage.answer({ ...request, body: each })));
      for (const answer of answers) assert.deepEqual([answer.isDone, choiceOf(answer).content], [true, 'ok']);
      const tookMs = Math.round(performance.now() - startedAt);
      t.diagnostic(`40 of them took ${tookMs} ms`);
      // Five rounds of half a second on eight places: more is time in which one waits while a place is free.
      assert.ok(tookMs < 4_000, `${tookMs} ms`);
      for (const { requests } of [stage.a, stage.b]) {
        assert.ok(requests.length >= 12, `it served ${requests.length}`);
        assert.ok(mostAtOnce(requests) <= 4, 'no more than its slots');
      }
    });
  },
};

/** Sends, waits until the back end has it, leaves; resolves to what it took to close the back end's connection, in ms. */
async function leave(stage: Stage, request: CaseRequest): Promise<number> {
  const index = stage.a.requests.length;
  const asked = stage.ask(request);
  await waitUntil(
    () => stage.a.requests.length > index,
    LIMIT_MS,
    () => 'the back end did not get the request',
  );
  await sleep(200);
  asked.drop();
  const droppedAt = performance.now();
  await closedByUs(stage.a, index);
  await stage.metricIs('sluice_requests_running', 0);
  return stage.a.requests[index]!.closedByPeerAt! - droppedAt;
}

async function closedByUs({ requests }: Upstream, index: number): Promise<void> {
  await waitUntil(
    () => requests[index]?.closedByPeerAt !== undefined,
    LIMIT_MS,
    () => "the back end's connection was not closed",
  );
}

async function dropInMidStream(stage: Stage, request: CaseRequest, script: Script): Promise<void> {
  stage.a.play(script);
  const index = stage.a.requests.length;
  const asked = stage.ask(request);
  await waitUntil(
    () => (stage.a.requests[index]?.writtenAt.length ?? 0) > 0,
    LIMIT_MS,
    () => 'no token was made',
  );
  // A whole answer shows its client nothing before its end.
  if (membersOf(request).stream) await asked.firstToken();
  const meanwhile = await stage.answer(request);
  assert.equal(meanwhile.status, 429, 'the key has one request at a time');
  assert.match(meanwhile.error?.message ?? '', /parallel/i);
  asked.drop();
  await closedByUs(stage.a, index);
}

async function dropBeforeFirstToken(stage: Stage, request: CaseRequest): Promise<void> {
  stage.a.play(HOLD);
  const index = stage.a.requests.length;
  const asked = stage.ask(request);
  await waitUntil(
    () => stage.a.requests.length > index,
    LIMIT_MS,
    () => 'the back end did not get the request',
  );
  asked.drop();
  await closedByUs(stage.a, index);
}

/** The key has its place back once nothing runs; its next request is not refused. */
async function served(stage: Stage, request: CaseRequest, script = streamOf('ok')): Promise<void> {
  await stage.metricIs('sluice_requests_running', 0);
  stage.a.play(script);
  const answer = await stage.answer(request);
  assert.equal(answer.status, 200, answer.text);
}

/** Busy for the time that it says, and then asked again, without having to prove anything. */
async function assertBusyIsNotDead(stage: Stage, status: number): Promise<void> {
  stage.a.play(refusalOf(status, { message: 'slow down' }, { 'retry-after': '1' }));
  const busy = await stage.answer(chatRequest());
  assert.equal(busy.status, status);
  stage.a.play(streamOf('back'));
  await waitUntil(
    async () => choiceOf(await stage.answer(chatRequest())).content === 'back',
    LIMIT_MS,
    () => 'it was not asked again',
  );
}

/** Series by their names and labels. */
async function seriesOf({ url }: Stage): Promise<string[]> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.slice(0, line.lastIndexOf(' ')));
}

/** How many of the answers were under way at the same time. */
function mostAtOnce(requests: readonly UpstreamRequest[]): number {
  const begun = requests.map(({ at }) => at);
  return Math.max(
    ...begun.map((at) => requests.filter((one) => one.at <= at && (one.writtenAt[0] ?? at) > at).length),
  );
}
