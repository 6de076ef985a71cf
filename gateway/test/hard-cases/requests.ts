// The cases of odd requests that need more than being sent: what must reach the back end, what must not, and what the same
// thing is on other routes.
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { jsonOf, streamOf } from '../upstream/answers.ts';
import { type CaseRequest, membersOf, requestOf, upstreamOf } from './cases.ts';
import { checkExpected } from './expectations.ts';
import { during, type Play, playOnce, setupOf } from './play.ts';
import { onEveryRoute } from './routes.ts';
import { withStage } from './stage.ts';

/** By the case's id. */
export const REQUESTS: Readonly<Record<string, Play>> = {
  'reasoning-in-history': async (one) => {
    const reasoningFor = async (template: string) => {
      let sent: readonly (readonly [role: string, reasoning: unknown])[] = [];
      await withStage({ backends: { a: { template } } }, async (stage) => {
        const answer = await stage.answer(requestOf(one));
        assert.equal(answer.status, 200, answer.text);
        const { messages } = JSON.parse(stage.a.requests[0]!.body) as { messages: Record<string, unknown>[] };
        sent = messages.map((message) => [
          String(message.role),
          message.reasoning_content ?? message.reasoning,
        ]);
      });
      return sent.filter(([role]) => role === 'assistant').map(([, reasoning]) => reasoning);
    };
    for (const template of ['deepseek-v4', 'deepseek-v3.2']) {
      assert.deepEqual(await reasoningFor(template), ['I need the tool.', ''], template);
    }
    assert.deepEqual(await reasoningFor('deepseek-r1'), [undefined, undefined]);
  },

  'lone-surrogate': async (one) => {
    const text = '"cut \\ud83d here"';
    const others = [true, false]
      .flatMap((stream) => onEveryRoute({ model: 'deepseek-r1', text: 'TEXT', stream }))
      .map(({ body, ...request }) => ({
        ...request,
        bodyText: JSON.stringify(body).replace('"TEXT"', () => text),
      }));
    const routes: readonly CaseRequest[] = [requestOf(one), ...others];
    await withStage(setupOf(one), async (stage) => {
      for (const [index, request] of routes.entries()) {
        const answer = await stage.answer(request);
        await checkExpected({ answer, stage }, one.expected);
        assert.equal(answer.status, 200, request.path);
        const { body } = stage.a.requests[index]!;
        assert.ok(body.includes('cut \ufffd here'), `${request.path}: ${body}`);
        assert.doesNotMatch(body, /\\ud83d/i);
      }
    });
  },

  'null-is-absent': (one) =>
    playOnce(one, async ({ a }) => {
      const body = JSON.parse(a.requests[0]!.body) as Record<string, unknown>;
      for (const [name, value] of Object.entries(body)) assert.notEqual(value, null, `${name} is null`);
    }),

  'nul-byte': (one) =>
    playOnce(one, async (stage) => {
      // Its record was written too.
      await stage.metricIs('api_latency_seconds_count', 1);
    }),

  'big-integers': (one) =>
    playOnce(one, async ({ a }) => {
      const { top_p: topP, messages } = JSON.parse(a.requests[0]!.body) as {
        top_p: unknown;
        messages: { tool_calls?: { function: { arguments: unknown } }[] }[];
      };
      assert.equal(topP, 1, '1.0 stays a number');
      assert.equal(messages[1]?.tool_calls?.[0]?.function.arguments, '{"id":2512292042121000001}');
    }),

  'prompt-silently-cut': async (one) => {
    const request = requestOf(one);
    for (const stream of [false, true]) {
      await during(stream ? 'streamed' : 'whole', () =>
        withStage(setupOf(one), async (stage) => {
          stage.a.play(upstreamOf(one));
          const answer = await stage.answer({ ...request, body: { ...membersOf(request), stream } });
          await checkExpected({ answer, stage }, one.expected, ['silent200']);
          if (answer.status !== 200) {
            assert.deepEqual([answer.status, answer.error?.code], [400, 'context_length_exceeded']);
            assert.match(answer.error?.message ?? '', /4,?096/, 'the window');
            assert.ok((answer.error?.message.match(/\d[\d,]{3,}/g)?.length ?? 0) >= 2, 'and the prompt');
            return;
          }
          const { options } = JSON.parse(stage.a.requests[0]!.body) as { options?: { num_ctx?: number } };
          const isRaised = (options?.num_ctx ?? 0) >= 7_900;
          const isTold = answer.headers['x-sluice-warning'] !== undefined;
          assert.ok(isRaised || isTold, 'a prompt that was cut is not answered as if it had been read');
        }),
      );
    }
  },

  'image-url-inside': async (one) => {
    let connections = 0;
    const listener = createServer((socket) => {
      connections += 1;
      socket.destroy();
    });
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
    const { port } = listener.address() as { port: number };
    try {
      const { body, ...request } = requestOf(one);
      const text = JSON.stringify(body).replace('127.0.0.1:9', `127.0.0.1:${port}`);
      await withStage(setupOf(one), async (stage) => {
        stage.a.play(streamOf('a cat'));
        const answer = await stage.answer({ ...request, bodyText: text });
        await checkExpected({ answer, stage }, one.expected, ['outboundConnectionsToUserUrls']);
        assert.equal(connections, one.expected.outboundConnectionsToUserUrls);
        assert.ok(answer.status === 200 || answer.status === 400, `${answer.status}`);
        if (answer.status === 200) {
          assert.ok(stage.a.requests[0]!.body.includes(`http://127.0.0.1:${port}/latest/meta-data/`));
        }
      });
    } finally {
      listener.close();
    }
  },

  'body-1_5-mb': (one) =>
    playOnce(one, async (stage) => {
      assert.ok(stage.a.requests[0]!.body.includes('A'.repeat(1_500_000)), 'it reached the back end whole');
      const large = { model: 'case', messages: [{ role: 'user', content: 'x'.repeat(40 * 2 ** 20) }] };
      for (const headers of [{}, { 'transfer-encoding': 'chunked' }]) {
        const refused = await stage.answer({ ...requestOf(one), headers, body: large });
        assert.equal(refused.status, 413);
        assert.match(refused.error?.message ?? '', /\d{7,}/, 'it gives the limit');
      }
    }),

  'model-id-not-ascii': (one) =>
    playOnce(one, async (stage) => {
      const id = setupOf(one).model!;
      for (const path of [encodeURIComponent(id), encodeURI(id)]) {
        const card = await stage.answer({ method: 'GET', path: `/v1/models/${path}` });
        assert.equal((JSON.parse(card.text) as { id: string }).id, id);
      }
      // A header of such bytes, as a client would send it.
      const odd = Buffer.from(id).toString('latin1');
      const answer = await stage.answer({ ...requestOf(one), headers: { 'x-title': odd } });
      assert.equal(answer.status, 200);
    }),

  'cors-preflight': (one) =>
    playOnce(one, async (stage, { headers }) => {
      assert.match(String(headers['access-control-allow-methods']), /POST/);
      assert.match(String(headers.vary), /origin/i);
      const request = requestOf(one);
      const foreign = await stage.answer({
        ...request,
        headers: { ...request.headers, origin: 'https://evil.example' },
      });
      for (const name of Object.keys(foreign.headers)) assert.doesNotMatch(name, /^access-control-/);
    }),

  'auth-scheme-case': (one) =>
    playOnce(one, async (stage) => {
      const request = requestOf(one);
      const byName = { 'x-api-key': 'k1' };
      assert.equal((await stage.answer({ ...request, headers: byName })).status, 200);
      for (const generation of onEveryRoute({ stream: false, headers: byName })) {
        assert.equal((await stage.answer(generation)).status, 200, generation.path);
        const bad = await stage.answer({ ...generation, headers: { 'x-api-key': 'k9' } });
        assert.equal(bad.status, 401, generation.path);
        assert.equal(bad.error?.type, 'authentication_error', generation.path);
        assert.match(String(bad.headers['www-authenticate']), /^Bearer/);
      }
      for (const key of ['k9', 'K1', 'k1x']) {
        const bad = await stage.answer({ ...request, headers: { authorization: `Bearer ${key}` } });
        assert.deepEqual([bad.status, bad.error?.code], [401, 'invalid_api_key'], key);
        assert.match(String(bad.headers['www-authenticate']), /^Bearer/);
      }
    }),

  'head-probe': (one) =>
    playOnce(one, async (stage) => {
      for (const path of ['/readyz', '/healthz', '/v1/models']) {
        const get = await stage.answer({ method: 'GET', path });
        const head = await stage.answer({ method: 'HEAD', path });
        assert.deepEqual([get.status, head.status, head.text], [200, 200, ''], path);
        assert.equal(head.headers['content-type'], get.headers['content-type']);
        const other = await stage.answer({ method: 'DELETE', path });
        assert.equal(other.status, 405);
        assert.match(String(other.headers.allow), /GET/);
      }
    }),

  'ratelimit-headers-streamed': async (one) => {
    const headers = { authorization: 'Bearer k1' };
    const routes = [requestOf(one), ...onEveryRoute({ model: 'deepseek-r1', stream: true })];
    await withStage(setupOf(one), async (stage) => {
      stage.a.play(jsonOf('ok'));
      for (let sent = 0; sent < 12; sent += 1) {
        const answer = await stage.answer({ ...routes[sent % routes.length]!, headers });
        if (sent < 10) await checkExpected({ answer, stage }, one.expected);
        else assert.equal(answer.status, 429, 'ten a minute');
        assert.equal(answer.headers['x-ratelimit-limit-requests'], '10');
        for (const unit of ['requests', 'tokens']) {
          const remaining = answer.headers[`x-ratelimit-remaining-${unit}`];
          if (remaining !== undefined) assert.match(String(remaining), /^\d+$/, 'never negative');
        }
      }
      assert.equal(stage.a.requests.length, 10, 'what is refused reaches no back end');
    });
  },
};
