// What the cases of streams expect beyond their `assert`: near variants, and what only the back end's side can tell.
import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import {
  chunkOf,
  DONE,
  EVENT_STREAM,
  endChunk,
  JSON_BODY,
  jsonOf,
  refusalOf,
  streamOf,
  textChunk,
  toolChunk,
} from '../upstream/answers.ts';
import type { Script } from '../upstream/script.ts';
import { requestOf, upstreamOf } from './cases.ts';
import { choiceOf } from './expectations.ts';
import { OTHER_DIALECTS, requestIn } from './modes.ts';
import { answerTo, chatRequest, during, type Play, setupOf } from './play.ts';
import { type Setup, withStage } from './stage.ts';

const TWO_BACK_ENDS: Setup = { backends: { a: {}, b: {} } };
const PLAIN = chatRequest({ stream: false });

/** By the case's id; played after its forms. */
export const FURTHER: Readonly<Record<string, Play>> = {
  'sse-bom-split': async () => {
    const { chunks } = streamOf('a\ufeff', 'b');
    const answer = await answerTo({ headers: EVENT_STREAM, chunks: [{ base64: '77u/' }, ...chunks] });
    assert.equal(choiceOf(answer).content, 'a\ufeffb', 'only the first mark is dropped');
  },

  'end-cut-midway': async (one) => {
    const setup: Setup = { backends: { a: { kind: 'vllm' }, b: { kind: 'vllm' } } };
    for (const mode of ['sse', ...OTHER_DIALECTS] as const) {
      await during(mode, () =>
        withStage(setup, async (stage) => {
          stage.a.play(upstreamOf(one));
          stage.b.play(streamOf(' 42.'));
          const answer = await stage.answer(requestIn(mode, requestOf(one)));
          assert.equal(choiceOf(answer).content, 'The answer is 42.', 'with another back end it goes on');
          assert.deepEqual([answer.isDone, answer.error], [true, undefined]);
        }),
      );
    }
  },

  'end-done-no-finish': async () => {
    const chunks = [textChunk('Hel'), textChunk('lo'), endChunk('length')];
    const answer = await answerTo({ headers: EVENT_STREAM, chunks });
    const { content, finish, finishChunks } = choiceOf(answer);
    assert.deepEqual([content, finish, finishChunks], ['Hello', 'length', 1]);
    assert.deepEqual([answer.isDone, answer.error], [true, undefined]);
  },

  'first-event-error': async () => {
    for (const code of [429, 500, 503]) {
      const error = { message: 'not now', type: 'server_error', code };
      const chunks = [`event: error\ndata: ${JSON.stringify({ error })}\n\n`];
      await during(`${code} as the first event`, () => assertGoesToSecond({ headers: EVENT_STREAM, chunks }));
    }
  },

  'blank-lines-then-json': async () => {
    const blank: Script = { headers: JSON_BODY, chunks: ['\n', '\n', '\n'], delaysMs: [0, 20, 20] };
    const answer = await answerTo(blank, {}, PLAIN);
    assert.equal(answer.status, 502, 'blank to its end is a failure');
    assert.ok(answer.error);
    await assertGoesToSecond(blank);
  },

  'usage-own-chunk': async (one) => {
    const withUsage = await answerTo(upstreamOf(one), {}, requestOf(one));
    for (const { value } of withUsage.events.slice(0, -1)) {
      assert.equal(value.usage, null, 'each chunk says that usage is yet to come');
      assert.notDeepEqual(value.choices, []);
    }
    const without = await answerTo(upstreamOf(one));
    for (const { value } of without.events) assert.notDeepEqual(value.choices, []);
    const lines = await answerTo(
      upstreamOf(one),
      {},
      {
        ...PLAIN,
        path: '/v1/models/case/generate_stream',
        body: { prompt: 'hi' },
      },
    );
    const last = lines.events.at(-1)?.value as { choices: unknown[]; usage: { prompt_tokens: number } };
    assert.deepEqual([last.choices.length, last.usage.prompt_tokens], [1, 13]);
  },

  'usage-cumulative': async (one) => {
    const answer = await answerTo(upstreamOf(one));
    assert.ok(!answer.text.includes('"usage"'), 'who did not ask sees none of it');
  },

  'tool-args-object': async () => {
    const args = '{"city":"Paris","n":1}';
    const call = { id: 'call_1', type: 'function', function: { name: 'get', arguments: args } };
    const messages = [
      { role: 'user', content: 'hi' },
      { role: 'assistant', content: null, tool_calls: [call] },
      { role: 'tool', tool_call_id: 'call_1', content: '12 C' },
    ];
    await withStage({ backends: { a: { kind: 'ollama' } } }, async (stage) => {
      const line = {
        model: 'q',
        message: { role: 'assistant', content: 'ok' },
        done: true,
        done_reason: 'stop',
      };
      stage.a.play({
        headers: { 'content-type': 'application/x-ndjson' },
        chunks: [`${JSON.stringify(line)}\n`],
      });
      assert.equal((await stage.answer(chatRequest({ messages }))).status, 200);
      const sent = JSON.parse(stage.a.requests[0]!.body) as {
        messages: { tool_calls?: { function: { arguments: unknown } }[] }[];
      };
      const given = sent.messages[1]?.tool_calls?.[0]?.function.arguments;
      assert.deepEqual(given, JSON.parse(args), 'a native Ollama gets an object');
    });
  },

  'tool-finish-reason': async () => {
    for (const reason of ['length', 'content_filter']) {
      const chunks = [textChunk('x'), endChunk(reason), DONE];
      for (const mode of ['sse', ...OTHER_DIALECTS] as const) {
        const request = requestIn(mode, chatRequest());
        const answer = await answerTo({ headers: EVENT_STREAM, chunks }, {}, request);
        assert.deepEqual([choiceOf(answer).finish, answer.isDone], [reason, true], `${reason} in ${mode}`);
      }
    }
  },

  'big-integers': async () => {
    const pieces = ['{"id":25122920', '42121000001,"n":1.0}'];
    const chunks = [
      toolChunk({ index: 0, id: 'call_a', type: 'function', function: { name: 'sql', arguments: '' } }),
      ...pieces.map((piece) => toolChunk({ index: 0, function: { arguments: piece } })),
      endChunk('tool_calls'),
      DONE,
    ];
    for (const mode of ['sse', 'json', 'responses', 'responses-json', 'messages'] as const) {
      const request = requestIn(mode, chatRequest());
      const answer = await answerTo({ headers: EVENT_STREAM, chunks }, {}, request);
      assert.equal(choiceOf(answer).toolCalls[0]?.arguments, pieces.join(''), `what comes back in ${mode}`);
    }
    const whole = await answerTo(
      { headers: EVENT_STREAM, chunks },
      {},
      requestIn('messages-json', chatRequest()),
    );
    assert.match(
      whole.text,
      /"input":\{"id":2512292042121000001,/,
      'no digit is lost where they are an object',
    );
  },

  'tool-after-think': async (one) => {
    const text = '<think>maybe <tool_call>{"name": "x"}</tool_call>, no</think>It is 12 C.';
    const chunks = [...text.match(/.{1,7}/gs)!.map((piece) => textChunk(piece)), endChunk(), DONE];
    const answer = await answerTo({ headers: EVENT_STREAM, chunks }, setupOf(one), requestOf(one));
    const { content, toolCalls, finish } = choiceOf(answer);
    assert.deepEqual([content, toolCalls, finish], ['It is 12 C.', [], 'stop'], 'a call in thought is none');
  },

  'stop-straddles': async (one) => {
    await withStage(setupOf(one), async (stage) => {
      stage.a.play(upstreamOf(one));
      await stage.answer(requestOf(one));
      const [request] = stage.a.requests;
      assert.ok(request?.closedByPeerAt, 'the back end is cancelled');
      assert.equal(request.writtenAt.length, 5, 'before it says what nobody wants');
    });
  },

  'logprobs-infinite': async (one) => {
    const answer = await answerTo(upstreamOf(one), {}, requestOf(one));
    assert.ok(answer.text.includes('"token":"-Infinity"'), 'a text that holds the word is left alone');
  },

  'gzip-from-upstream': async () => {
    const packed = ({ headers, chunks, status }: Script): Script => ({
      status,
      headers: { ...headers, 'content-encoding': 'gzip' },
      chunks: [{ base64: gzipSync(chunks.join('')).toString('base64') }],
    });
    const streamed = await answerTo(packed(streamOf('北京', ' ok')));
    assert.deepEqual([choiceOf(streamed).content, streamed.isDone], ['北京 ok', true]);
    assert.equal(streamed.headers['content-encoding'], undefined);
    const error = {
      message: 'top_k is too large',
      type: 'invalid_request_error',
      param: 'top_k',
      code: null,
    };
    const refused = await answerTo(packed(refusalOf(400, error)));
    assert.deepEqual([refused.status, refused.error?.param], [400, 'top_k']);
    assert.match(refused.error?.message ?? '', /top_k is too large/);
    const whole = await answerTo(packed(jsonOf('late')), {}, PLAIN);
    assert.equal(Number(whole.headers['content-length']), Buffer.byteLength(whole.text), 'a right length');
  },

  'retry-after-passes': async (one) => {
    await withStage(setupOf(one), async (stage) => {
      stage.a.play(upstreamOf(one));
      const { headers } = await stage.answer(chatRequest());
      assert.ok(Number(headers['retry-after-ms']) >= 16_000, String(headers['retry-after-ms']));
      assert.equal(headers['x-should-retry'], 'true');
      const again = await stage.answer(chatRequest());
      assert.ok(again.status === 429 || again.status === 503, `${again.status}`);
      assert.ok(Number(again.headers['retry-after']) >= 1);
      assert.equal(stage.a.requests.length, 1, 'the back end is left alone for that time');
    });
    await assertGoesToSecond(upstreamOf(one));
  },

  'siliconflow-429': async (one) => {
    for (const mode of OTHER_DIALECTS) {
      const request = requestIn(mode, chatRequest());
      const { status, error, text } = await answerTo(upstreamOf(one), setupOf(one), request);
      assert.deepEqual([status, error?.type], [429, 'rate_limit_error'], mode);
      if (mode.startsWith('messages')) assert.equal(JSON.parse(text).type, 'error');
    }
    const answer = await answerTo(upstreamOf(one), setupOf(one));
    const body = JSON.parse(answer.text) as { code: string; message: string; data: null };
    assert.deepEqual(
      [answer.error?.code, body.code, body.message, body.data],
      ['rate_limit_exceeded', 'rate_limit_exceeded', answer.error?.message, null],
    );
  },

  'ttft-clock': async (one) => {
    await withStage(setupOf(one), async (stage) => {
      stage.a.play(upstreamOf(one));
      const answer = await stage.answer(requestOf(one));
      await stage.metricIs('sluice_time_to_first_answer_seconds_count', 1);
      const { at, writtenAt } = stage.a.requests[0]!;
      const answerAt = writtenAt[3]!;
      const tokenMs = 1_000 * (await stage.metric('sluice_time_to_first_token_seconds_sum'));
      const answerMs = 1_000 * (await stage.metric('sluice_time_to_first_answer_seconds_sum'));
      assert.ok(tokenMs < answerAt - answer.sentAt, 'thinking stops the clock of the first token');
      assert.ok(answerMs >= answerAt - at, 'and not that of the first answer');
    });
    await withStage({}, async (stage) => {
      const opening = chunkOf({ delta: { role: 'assistant', content: '' } });
      stage.a.play({ headers: EVENT_STREAM, chunks: [opening, endChunk(), DONE] });
      assert.equal((await stage.answer(chatRequest())).isDone, true);
      await stage.metricIs('api_latency_seconds_count', 1);
      assert.equal(await stage.metric('sluice_time_to_first_token_seconds_count'), 0, 'no token, no sample');
    });
  },

  'no-late-burst': async (one) => {
    const { headers } = await answerTo(streamOf('x'), {}, requestOf(one));
    assert.match(String(headers['cache-control']), /no-transform/);
    assert.equal(headers['x-accel-buffering'], 'no');
  },
};

/** What the first back end says, before any word of an answer, sends the request to the second. */
async function assertGoesToSecond(first: Script): Promise<void> {
  await withStage(TWO_BACK_ENDS, async (stage) => {
    stage.a.play(first);
    stage.b.play(streamOf('from b'));
    const answer = await stage.answer(chatRequest());
    assert.equal(answer.status, 200, answer.text);
    assert.equal(choiceOf(answer).content, 'from b');
    assert.deepEqual([stage.a.requests.length, stage.b.requests.length], [1, 1]);
  });
}
