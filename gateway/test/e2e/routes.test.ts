// The wire contract over real sockets, on scripted words: what clients rely on, byte by byte.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fakeConfig, metric, post, raw, type Sluice, startSluice, waitUntil } from './harness.ts';

const WORDS = ['量子', '计算', '\u0085 \u2028', ' is ', '😀', ' fine.'];

describe('an open server with scripted words', () => {
  let sluice: Sluice;
  before(async () => {
    sluice = await startSluice({ config: fakeConfig({ pieces: WORDS, reasoning: ['Let me ', 'think.'] }) });
  });
  after(() => sluice.stop());

  test('generate_stream sends one JSON object a line, and nothing else', async () => {
    const response = await post(`${sluice.url}/v1/models/deepseek-r1/generate_stream`, { prompt: 'hi' });
    assert.equal(response.headers.get('content-type'), 'application/x-ndjson');
    const lines = (await response.text()).split('\n').filter((line) => line !== '');
    const objects = lines.map((line) => JSON.parse(line));
    assert.equal(objects.map((one) => one.choices[0].text).join(''), WORDS.join(''));
    assert.equal(objects.map((one) => one.choices[0].reasoning_content ?? '').join(''), 'Let me think.');
    assert.ok(lines.length >= 9);
    const last = objects.at(-1);
    assert.equal(last.choices[0].finish_reason, 'stop');
    assert.equal(last.usage.completion_tokens, 8);
    assert.doesNotMatch(lines.join('\n'), /[\u0080-\u009f\u2028\u2029]/);
  });

  test('generate answers with one object', async () => {
    const response = await post(`${sluice.url}/v1/models/deepseek-r1/generate`, { prompt: 'hi' });
    const body = (await response.json()) as { choices: { text: string }[] };
    assert.equal(body.choices[0]!.text, WORDS.join(''));
  });

  test('an array of prompts gives one answer with a choice for each', async () => {
    const url = `${sluice.url}/v1/models/deepseek-r1/generate_stream`;
    const response = await post(url, { prompt: ['a', 'b', 'c'], batch_size: 2 });
    const objects = (await response.text())
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line));
    for (const index of [0, 1, 2]) {
      const mine = objects.map((one) => one.choices[0]).filter((choice) => choice.index === index);
      assert.equal(mine.map((choice) => choice.text).join(''), WORDS.join(''));
      assert.equal(mine.at(-1).finish_reason, 'stop');
    }
    assert.equal(objects.at(-1).usage.completion_tokens, 24);
  });

  test('chat completions stream as server-sent events that end with [DONE]', async () => {
    const response = await post(`${sluice.url}/v1/chat/completions`, {
      model: 'deepseek-r1',
      stream: true,
      stream_options: { include_usage: true },
      messages: [{ role: 'user', content: 'hi' }],
    });
    assert.equal(response.headers.get('content-type'), 'text/event-stream; charset=utf-8');
    assert.equal(response.headers.get('cache-control'), 'no-cache, no-transform');
    assert.equal(response.headers.get('x-accel-buffering'), 'no');
    assert.equal(response.headers.get('x-sluice-backend'), 'fake');
    assert.match(response.headers.get('x-sluice-model') ?? '', /^fake/);
    assert.match(response.headers.get('server-timing') ?? '', /queue;dur=[\d.]+, first_token;dur=[\d.]+/);
    const events = (await response.text()).split('\n\n').filter(Boolean);
    assert.equal(events.at(-1), 'data: [DONE]');
    const chunks = events.slice(0, -1).map((event) => JSON.parse(event.replace(/^data: /, '')));
    assert.equal(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join(''), WORDS.join(''));
    assert.deepEqual(chunks.at(-1).choices, []);
    assert.equal(chunks.at(-1).usage.completion_tokens, 8);
    assert.equal(chunks[0].usage, null);
  });

  test('chat completions without a stream have the whole answer', async () => {
    const response = await post(`${sluice.url}/v1/chat/completions`, {
      model: 'deepseek-r1',
      messages: [{ role: 'user', content: 'hi' }],
    });
    const body = (await response.json()) as {
      object: string;
      choices: { message: Record<string, unknown> }[];
    };
    assert.equal(body.object, 'chat.completion');
    assert.deepEqual(body.choices[0]!.message, {
      role: 'assistant',
      content: WORDS.join(''),
      refusal: null,
      reasoning_content: 'Let me think.',
    });
  });

  test('x-sluice-report adds the closing record', async () => {
    const body = { model: 'deepseek-r1', messages: [{ role: 'user', content: 'hi' }] };
    const response = await post(`${sluice.url}/v1/chat/completions`, body, {
      headers: { 'x-sluice-report': '1' },
    });
    const { sluice: report } = (await response.json()) as { sluice: Record<string, unknown> };
    assert.equal(report.backend, 'fake');
    assert.equal(typeof report.first_token_ms, 'number');
  });

  test('unknown fields of the article’s route are ignored and named', async () => {
    const url = `${sluice.url}/v1/models/deepseek-r1/generate`;
    const response = await post(url, { prompt: 'hi', colour: 1, größe: 2 });
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('x-sluice-warning'), 'ignored=colour,gr%C3%B6%C3%9Fe');
  });

  test('models are listed with who really speaks', async () => {
    const list = (await (await fetch(`${sluice.url}/v1/models`)).json()) as {
      data: Record<string, unknown>[];
    };
    assert.equal(list.data[0]!.id, 'deepseek-r1');
    assert.match(String(list.data[0]!.root), /^fake/);
    const one = (await (await fetch(`${sluice.url}/v1/models/deepseek-r1`)).json()) as { id: string };
    assert.equal(one.id, 'deepseek-r1');
  });

  test('an unknown model is 404 and says which there are', async () => {
    const response = await post(`${sluice.url}/v1/chat/completions`, {
      model: 'gpt-9',
      messages: [{ role: 'user', content: 'hi' }],
    });
    assert.equal(response.status, 404);
    const { error } = (await response.json()) as { error: { code: string; message: string } };
    assert.equal(error.code, 'model_not_found');
    assert.match(error.message, /deepseek-r1/);
  });

  test('HEAD answers as GET without a body, other methods are 405 with Allow', async () => {
    for (const path of ['/healthz', '/readyz', '/v1/models']) {
      const head = await fetch(sluice.url + path, { method: 'HEAD' });
      assert.equal(head.status, 200, path);
      assert.equal(await head.text(), '');
      const wrong = await fetch(sluice.url + path, { method: 'DELETE' });
      assert.equal(wrong.status, 405, path);
      assert.equal(wrong.headers.get('allow'), 'GET, HEAD');
    }
    assert.equal((await fetch(`${sluice.url}/v1/chat/completions`)).headers.get('allow'), 'POST');
  });

  test('a web page of another origin, or a name that only resolves here, is refused', async () => {
    const foreign = await fetch(`${sluice.url}/v1/models`, { headers: { origin: 'https://evil.example' } });
    assert.equal(foreign.status, 403);
    const rebound = await raw(sluice.port, [
      'GET /v1/models HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n',
    ]);
    assert.equal(rebound.status, 403);
  });

  test('the metrics of the contract are there', async () => {
    const text = await (await fetch(`${sluice.url}/metrics`)).text();
    for (const name of [
      'api_latency_seconds_bucket',
      'error_rate',
      'sluice_time_to_first_token_seconds_count',
    ]) {
      assert.ok(text.includes(`\n${name}`), name);
    }
    assert.match(
      text,
      /sluice_requests_total\{route="generate_stream",model="deepseek-r1",outcome="ok"\} \d/,
    );
  });

  test('the front page names the model and escapes what it is told', async () => {
    const page = await raw(sluice.port, [
      'GET / HTTP/1.1\r\nHost: localhost:1"><b>\r\nConnection: close\r\n\r\n',
    ]);
    assert.ok(!page.body.includes('<b>'));
    const good = await (await fetch(`${sluice.url}/`)).text();
    assert.match(good, /deepseek-r1/);
  });
});

describe('silence and failure', () => {
  test('a silent model’s stream is kept alive by bare newlines, and its head does not wait', async () => {
    const sluice = await startSluice({ config: fakeConfig({ first_token_ms: 700 }, { keep_alive_ms: 100 }) });
    try {
      const startedAt = performance.now();
      const response = await post(`${sluice.url}/v1/models/deepseek-r1/generate_stream`, { prompt: 'hi' });
      assert.ok(performance.now() - startedAt < 600, 'the head came before the first token');
      const text = await response.text();
      assert.match(text, /^\n{2,}\{/);
    } finally {
      await sluice.stop();
    }
  });

  test('a back end that breaks in mid-stream is an error event without an end mark', async () => {
    const sluice = await startSluice({ config: fakeConfig({ fail_after: 3 }) });
    try {
      const body = { model: 'deepseek-r1', stream: true, messages: [{ role: 'user', content: 'hi' }] };
      const text = await (await post(`${sluice.url}/v1/chat/completions`, body)).text();
      assert.match(
        text,
        /data: \{"error":\{"message":"[^"]+","type":"backend_error","code":"backend_failed"/,
      );
      assert.doesNotMatch(text, /\[DONE\]/);
      const lines = (
        await (await post(`${sluice.url}/v1/models/deepseek-r1/generate_stream`, { prompt: 'hi' })).text()
      )
        .split('\n')
        .filter(Boolean);
      const last = JSON.parse(lines.at(-1)!);
      assert.equal(last.error.code, 'backend_failed');
      assert.equal('choices' in last, false);
      const whole = await post(`${sluice.url}/v1/models/deepseek-r1/generate`, { prompt: 'hi' });
      assert.equal(whole.status, 502);
      assert.ok((await metric(sluice.url, 'error_rate')) === 1);
    } finally {
      await sluice.stop();
    }
  });

  test('a back end that breaks before its first word has its true status', async () => {
    const sluice = await startSluice({ config: fakeConfig({ fail_after: 0 }) });
    try {
      const body = { model: 'deepseek-r1', stream: true, messages: [{ role: 'user', content: 'hi' }] };
      const response = await post(`${sluice.url}/v1/chat/completions`, body);
      assert.equal(response.status, 502);
      assert.equal(response.headers.get('x-should-retry'), 'false');
    } finally {
      await sluice.stop();
    }
  });

  test('a client that leaves frees its slot in every phase, and who waits gets it', async () => {
    const sluice = await startSluice({
      config: fakeConfig({ slots: 1, first_token_ms: 200, token_ms: 50, pieces: Array(200).fill('x') }),
    });
    try {
      const url = `${sluice.url}/v1/models/deepseek-r1/generate_stream`;
      for (const leaveAfterMs of [50, 400]) {
        for (const stream of [true, false]) {
          const leaving = new AbortController();
          const first = post(url, { prompt: 'hi', stream }, { signal: leaving.signal }).then((one) =>
            one.text(),
          );
          await waitUntil(
            async () => (await metric(sluice.url, 'sluice_requests_running')) === 1,
            2_000,
            () => 'no slot',
          );
          const queued = new AbortController();
          const second = post(url, { prompt: 'hi' }, { signal: queued.signal });
          await waitUntil(
            async () => (await metric(sluice.url, 'sluice_requests_waiting')) === 1,
            2_000,
            () => 'no queue',
          );
          queued.abort();
          await assert.rejects(second);
          await waitUntil(
            async () => (await metric(sluice.url, 'sluice_requests_waiting')) === 0,
            2_000,
            () => 'still waits',
          );
          setTimeout(() => leaving.abort(), leaveAfterMs);
          await assert.rejects(first);
          await waitUntil(
            async () => (await metric(sluice.url, 'sluice_requests_running')) === 0,
            2_000,
            () => 'still runs',
          );
        }
      }
    } finally {
      await sluice.stop();
    }
  });

  test('a deadline that passes in the queue is 503 with Retry-After, and while computing 504', async () => {
    const sluice = await startSluice({ config: fakeConfig({ slots: 1, first_token_ms: 1_000 }) });
    try {
      const url = `${sluice.url}/v1/models/deepseek-r1/generate_stream`;
      const headers = { 'x-sluice-deadline-ms': '150' };
      const computing = post(url, { prompt: 'hi' }, { headers: { 'x-sluice-deadline-ms': '300' } });
      await waitUntil(
        async () => (await metric(sluice.url, 'sluice_requests_running')) === 1,
        2_000,
        () => 'no slot',
      );
      const waiting = await post(url, { prompt: 'hi' }, { headers });
      assert.equal(waiting.status, 503);
      assert.equal(waiting.headers.get('x-should-retry'), 'true');
      assert.ok(Number(waiting.headers.get('retry-after')) >= 1);
      assert.ok(Number(waiting.headers.get('retry-after-ms')) >= 1);
      assert.equal((await computing).status, 504);
    } finally {
      await sluice.stop();
    }
  });

  test('a reader that stops holds no slot, and is cut off when its answer no longer fits', async () => {
    const pieces = Array.from({ length: 400 }, (_, index) => `${index}:${'x'.repeat(20_000)}`);
    const sluice = await startSluice({
      config: fakeConfig({ pieces, token_ms: 1, first_token_ms: 0 }, { slow_reader_limit_ms: 500 }),
    });
    try {
      const body = JSON.stringify({ prompt: 'hi' });
      const request = `POST /v1/models/deepseek-r1/generate_stream HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
      const { connect } = await import('node:net');
      const socket = connect(sluice.port, '127.0.0.1', () => socket.write(request));
      socket.pause();
      socket.on('error', () => {});
      const outcome =
        'sluice_requests_total{route="generate_stream",model="deepseek-r1",outcome="slow_reader"}';
      await waitUntil(
        async () => (await metric(sluice.url, outcome)) === 1,
        10_000,
        () => sluice.output(),
      );
      assert.equal(await metric(sluice.url, 'sluice_requests_running'), 0);
      socket.destroy();
    } finally {
      await sluice.stop();
    }
  });
});

describe('a server with keys', () => {
  test('asks for one, takes any case of the scheme, and leaves the probes open', async () => {
    const sluice = await startSluice({
      config: fakeConfig({}, { cors_origins: ['https://app.example'] }),
      env: { SLUICE_API_KEYS: 'k1, k2' },
    });
    try {
      const models = `${sluice.url}/v1/models`;
      const none = await fetch(models);
      assert.equal(none.status, 401);
      assert.equal(((await none.json()) as { error: { code: string } }).error.code, 'invalid_api_key');
      assert.equal((await fetch(models, { headers: { authorization: 'Bearer k3' } })).status, 401);
      assert.equal((await fetch(models, { headers: { authorization: 'bearer k1' } })).status, 200);
      assert.equal((await fetch(models, { headers: { authorization: 'Bearer k2' } })).status, 200);
      assert.equal((await fetch(`${sluice.url}/nothing`)).status, 401);
      assert.equal((await fetch(`${sluice.url}/healthz`)).status, 200);
      const preflight = await fetch(`${sluice.url}/v1/chat/completions`, {
        method: 'OPTIONS',
        headers: {
          origin: 'https://app.example',
          'access-control-request-method': 'POST',
          'access-control-request-headers': 'authorization,x-stainless-timeout',
        },
      });
      assert.equal(preflight.status, 204);
      assert.match(preflight.headers.get('access-control-allow-headers') ?? '', /x-stainless-timeout/);
      assert.match(preflight.headers.get('vary') ?? '', /Origin/);
    } finally {
      await sluice.stop();
    }
    assert.doesNotMatch(sluice.output(), /k1|k2/);
  });
});
