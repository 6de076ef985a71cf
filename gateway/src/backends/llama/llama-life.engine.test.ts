// Checks how the embedded engine's process lives and dies, with a real model.
// It must never leave a process behind.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { missingModel } from '../../../test/parts.ts';
import { isAlive } from '../../../test/processes.ts';
import { aborted, chat, sleep, until } from './engine-testing.ts';
import { LlamaBackend } from './llama-backend.ts';

const modelFile = process.env.SLUICE_TEST_MODEL ?? '';
const skip = missingModel();

describe("the engine's process", { skip, concurrency: false }, () => {
  let backend: LlamaBackend;
  const folder = mkdtempSync(join(tmpdir(), 'sluice-engine-'));

  before(async () => {
    backend = new LlamaBackend({ id: 'm', modelFile, speaker: 'the-model', log: () => {} });
    await backend.start();
  });
  after(async () => {
    await backend.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test('kill -9 of the engine: honest errors at once, ready again, next call served', async (t) => {
    const states: string[] = [];
    const stopListening = backend.onLoadChange(() => states.push(backend.load().state));
    const pid = backend.childPid ?? 0;
    let killedAt = 0;
    const call = chat(backend, {
      maxTokens: 2_000,
      onDelta: (answer) => {
        if (answer.deltasAt.length !== 3) return;
        killedAt = performance.now();
        process.kill(pid, 'SIGKILL');
      },
    });
    await assert.rejects(call, { code: 'backend_failed', message: /SIGKILL/ });
    const failedAfter = performance.now() - killedAt;
    assert.ok(failedAfter < 1_000);
    const down = backend.load();
    assert.deepEqual([down.state, down.slots, down.reason], ['loading', 0, 'the engine is restarting']);
    await assert.rejects(chat(backend, {}), { code: 'not_ready' });
    await until(() => backend.load().state === 'ready', 20_000, 'ready again');
    const readyAfter = performance.now() - killedAt;
    t.diagnostic(`failed after ${Math.round(failedAfter)} ms, ready after ${Math.round(readyAfter)} ms`);
    assert.ok(readyAfter < 10_000);
    assert.equal((await chat(backend, {})).reason, 'length');
    stopListening();
    assert.deepEqual(states, ['loading', 'ready']);
    assert.equal(isAlive(pid), false);
  });

  test('an engine that is stuck is killed when a call is cancelled', async () => {
    const controller = new AbortController();
    const pid = backend.childPid ?? 0;
    const call = chat(backend, {
      maxTokens: 2_000,
      signal: controller.signal,
      onDelta: (answer) => {
        if (answer.deltasAt.length !== 3) return;
        process.kill(pid, 'SIGSTOP');
        controller.abort(aborted());
      },
    });
    await assert.rejects(call, { code: 'cancelled' });
    await until(() => !isAlive(pid), 2_000, 'killed');
    await until(() => backend.load().state === 'ready', 20_000, 'ready again');
  });

  test('a cut model file: one sentence, and this process lives', async () => {
    const bytes = readFileSync(modelFile);
    for (const [index, length] of [1_000, 2_000_000, bytes.length >> 1].entries()) {
      const cut = join(folder, `cut-${index}.gguf`);
      writeFileSync(cut, bytes.subarray(0, length));
      const broken = new LlamaBackend({ id: 'cut', modelFile: cut, speaker: 's', log: () => {} });
      await assert.rejects(broken.start(), /^Error: The engine could not start: [^\n]+\.$/);
      assert.equal(broken.load().state, 'failed');
      await assert.rejects(chat(broken, {}), { code: 'backend_failed' });
      await broken.close();
    }
    const missing = new LlamaBackend({
      id: 'no',
      modelFile: join(folder, 'no.gguf'),
      speaker: 's',
      log: () => {},
    });
    await assert.rejects(missing.start(), /could not start/);
  });

  test('kill -9 of the parent leaves no engine', async () => {
    const script = join(folder, 'parent.ts');
    const url = new URL('./llama-backend.ts', import.meta.url).href;
    writeFileSync(
      script,
      `import { LlamaBackend, type StepFigures } from ${JSON.stringify(url)};
      const b = new LlamaBackend({ id: 'm', modelFile: ${JSON.stringify(modelFile)}, speaker: 's', batchSize: 1,
        contextTokens: 512, log: () => {} });
      await b.start();
      console.log(b.childPid);
      await b.chat({ model: 'm', prompt: { kind: 'text', text: 'The sea' }, sampling: {}, stop: [], choices: 1,
        extra: {} }, { callId: '1', tenant: 'a', signal: new AbortController().signal }, () => {});`,
    );
    const parent = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] });
    const pid = await new Promise<number>((resolve) => {
      parent.stdout.on('data', (data) => resolve(Number(String(data))));
    });
    assert.ok(isAlive(pid));
    parent.kill('SIGKILL');
    await until(() => !isAlive(pid), 3_000, 'the engine is gone');
  });

  test('closing fails what still runs, and leaves no process', async () => {
    const pid = backend.childPid ?? 0;
    const call = chat(backend, { maxTokens: 2_000 });
    call.catch(() => {});
    await sleep(300);
    await backend.close();
    await assert.rejects(call, { code: 'backend_failed' });
    await assert.rejects(chat(backend, {}), { code: 'backend_failed' });
    assert.equal(backend.load().state, 'closed');
    assert.equal(isAlive(pid), false);
  });
});
