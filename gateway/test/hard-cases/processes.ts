// The cases that measure the server's process, or end it: it is a program of its own here, as its users have it.
import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { rssOf, startSluice, statusOf, waitUntil } from '../e2e/harness.ts';
import { slowStreamOf, streamOf } from '../upstream/answers.ts';
import { startUpstream } from '../upstream/faulty-upstream.ts';
import { readAnswer } from './answer.ts';
import { requestOf, upstreamOf } from './cases.ts';
import { ask } from './client.ts';
import { checkExpected, choiceOf } from './expectations.ts';
import { chatRequest, type Play, setupOf } from './play.ts';
import { configOf, type ProcessStage, type Setup, withProcess } from './stage.ts';

const LIMIT_MS = 10_000;
export const MEBIBYTE = 2 ** 20;

/** By the case's id. */
export const PROCESSES: Readonly<Record<string, Play>> = {
  'sse-endless-event': async (one, t) => {
    const ten = Array.from({ length: 10 }, (_, index) => `${index} `);
    await withProcess(setupOf(one), async (stage) => {
      await warmUp(stage);
      stage.a.play([slowStreamOf(200, ...ten), upstreamOf(one)]);
      const other = stage.ask(chatRequest());
      await other.firstToken();
      const memory = watchMemory(stage);
      const index = stage.a.requests.length;
      const answer = await stage.answer(requestOf(one));
      const growthMB = memory.stop() / MEBIBYTE;
      t.diagnostic(`the server grew by ${Math.round(growthMB)} MB`);
      await checkExpected({ answer, stage }, one.expected, ['maxRssGrowthMB']);
      assert.ok(growthMB <= Number(one.expected.maxRssGrowthMB), `it grew by ${growthMB} MB`);
      await waitUntil(
        () => stage.a.requests[index]?.closedByPeerAt !== undefined,
        LIMIT_MS,
        () => "the back end's connection was not closed",
      );
      const undisturbed = await stage.read(other);
      assert.deepEqual([choiceOf(undisturbed).content, undisturbed.isDone], [ten.join(''), true]);
    });
  },

  'reader-stalls': async (one, t) => {
    await withProcess(setupOf(one), async (stage) => {
      await warmUp(stage);
      const memory = watchMemory(stage);
      stage.a.play(upstreamOf(one));
      const stalled = stage.ask(requestOf(one));
      await stalled.firstByte();
      stalled.pause();
      await sleep(4_000);
      const growthMB = memory.stop() / MEBIBYTE;
      t.diagnostic(`the server grew by ${Math.round(growthMB)} MB`);
      assert.ok(growthMB < 32, `it grew by ${growthMB} MB`);
      await stage.metricIs('sluice_requests_running', 0);
      stage.a.play(streamOf('ok'));
      const answer = await stage.answer(chatRequest());
      assert.deepEqual([answer.status, choiceOf(answer).content], [200, 'ok']);
      const metrics = await (await fetch(`${stage.url}/metrics`)).text();
      assert.match(metrics, /^sluice_requests_total\{[^}]*outcome="slow_reader"[^}]*\} 1$/m);
      stalled.drop();
    });
  },

  'sigterm-drains': async (one) => {
    await withProcess(setupOf(one), async (stage) => {
      stage.a.play(upstreamOf(one));
      const running = stage.ask(requestOf(one));
      await running.firstToken();
      stage.sluice.process.kill('SIGTERM');
      await waitUntil(
        async () => (await statusOf(`${stage.url}/readyz`)) === 503,
        LIMIT_MS,
        () => 'still ready',
      );
      const refused = await stage.answer(chatRequest());
      assert.equal(refused.status, 503);
      assert.ok(refused.headers['retry-after'] !== undefined);
      const answer = await stage.read(running);
      assert.deepEqual([choiceOf(answer).content, answer.isDone], ['t'.repeat(10), true]);
      assert.equal(await stage.sluice.exited, 0);
    });
  },

  'reload-under-stream': async (one) => {
    const { delaysMs = [], ...script } = upstreamOf(one);
    const old = await startUpstream();
    const fresh = await startUpstream();
    const folder = mkdtempSync(join(tmpdir(), 'sluice-reload-'));
    const file = join(folder, 'sluice.json');
    const write = (text: string) => {
      // As careful editors do it: nobody ever reads half a file.
      writeFileSync(`${file}.new`, text);
      renameSync(`${file}.new`, file);
    };
    const before: Setup = { backends: { a: {} } };
    // The second place of a setup is the fresh one's: the model moves from the first to it.
    const after = configOf({ backends: { a: {}, b: {} } }, old, fresh) as { backends: object[] };
    write(JSON.stringify(configOf(before, old, fresh)));
    const sluice = await startSluice({ args: ['--config', file] });
    try {
      old.play({ ...script, delaysMs: delaysMs.map((ms) => ms / 5) });
      fresh.play(streamOf('new'));
      const running = ask(sluice.port, requestOf(one));
      await running.firstToken();
      const moved = {
        ...after,
        backends: after.backends.slice(1),
        models: [{ id: 'case', backends: ['b'] }],
      };
      write(JSON.stringify(moved));
      sluice.process.kill('SIGHUP');
      const say = async () => choiceOf(readAnswer(await ask(sluice.port, chatRequest()).answer)).content;
      await waitUntil(
        async () => (await say()) === 'new',
        LIMIT_MS,
        () => `the new back end is not asked:\n${sluice.output()}`,
      );
      const answer = readAnswer(await running.answer);
      assert.deepEqual([choiceOf(answer).content, answer.isDone], ['t'.repeat(15), true]);
      await waitUntil(
        () => old.connections === 0,
        LIMIT_MS,
        () => 'the old back end is still connected',
      );
      write('backends: [');
      sluice.process.kill('SIGHUP');
      await waitUntil(
        () => /not YAML/.test(sluice.output()),
        LIMIT_MS,
        () => `a wrong file is not told of:\n${sluice.output()}`,
      );
      assert.equal(await say(), 'new', 'a wrong file changes nothing');
    } finally {
      await sluice.stop();
      await Promise.all([old.close(), fresh.close()]);
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

/** Code is compiled and pools are made before memory is looked at. */
export async function warmUp(stage: ProcessStage): Promise<void> {
  stage.a.play(streamOf('ok'));
  for (let round = 0; round < 20; round += 1) {
    assert.equal((await stage.answer(chatRequest())).status, 200);
  }
}

/** `stop` gives the most that the server's process has grown by, in bytes. */
export function watchMemory({ sluice }: ProcessStage): { stop(): number } {
  const pid = sluice.process.pid!;
  const before = rssOf(pid);
  let most = before;
  const look = () => {
    most = Math.max(most, rssOf(pid));
  };
  const timer = setInterval(look, 20);
  return {
    stop: () => {
      clearInterval(timer);
      look();
      return most - before;
    },
  };
}
