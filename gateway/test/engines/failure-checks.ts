// What becomes of an engine's calls when something ends early: a client that leaves, a prompt that is too long, a back end
// that dies in mid-answer and has the engine go on; and what the gateway knows of the engine's load meanwhile.
import assert from 'node:assert/strict';
import { flawOf, readChat } from '../e2e/chat-stream.ts';
import { post, startSluice, waitUntil } from '../e2e/harness.ts';
import { ADMIN_KEY, type EngineCheck, type Ground, keySetting, keyVariable } from './check.ts';
import { askDirectly, complete, type Engine, type Message, untilRunning, withKey } from './engine.ts';

const MESSAGES: readonly Message[] = [{ role: 'user', content: 'Tell me about rivers.' }];
const STORY: readonly Message[] = [{ role: 'user', content: 'Tell me a very long story about a river.' }];
const LIMIT_MS = 20_000;

/** Runs for as long as the window lasts. */
function longAnswer({ model, contextTokens }: Engine): object {
  return { model, messages: STORY, max_tokens: contextTokens - 100, temperature: 1, ignore_eos: true };
}

const cancel: EngineCheck = {
  title: 'a client leaves: the engine is free again',
  async run({ engine, gateway }) {
    const freed: number[] = [];
    for (const stream of [true, false]) {
      await untilRunning(engine, 0, LIMIT_MS);
      const leaving = new AbortController();
      const body = { ...longAnswer(engine), stream };
      const asked = post(`${gateway.url}/v1/chat/completions`, body, { signal: leaving.signal }).then((one) =>
        one.text(),
      );
      // Its end is looked at below; an early one must not go unheard.
      asked.catch(() => {});
      await untilRunning(engine, 1, LIMIT_MS);
      const speed = await tokensPerSecond(engine);
      const leftAt = performance.now();
      leaving.abort();
      await assert.rejects(asked, 'it was answered before its client left');
      await untilRunning(engine, 0, LIMIT_MS);
      const freedMs = performance.now() - leftAt;
      // Far sooner than the rest of the answer would have taken.
      const restMs = ((engine.contextTokens - 200) / speed) * 1_000;
      assert.ok(
        freedMs < restMs / 3,
        `free after ${freedMs} ms; the answer would have taken ${restMs} ms more`,
      );
      freed.push(Math.round(freedMs));
    }
    return `yes: streaming after ${freed[0]} ms, as one JSON after ${freed[1]} ms`;
  },
};

/** How fast it is beside a running answer. */
async function tokensPerSecond(engine: Engine): Promise<number> {
  const startedAt = performance.now();
  const { completionTokens } = await askDirectly(engine, MESSAGES, 16);
  return completionTokens / ((performance.now() - startedAt) / 1_000);
}

const tooLong: EngineCheck = {
  title: 'a prompt over its window',
  async run({ engine, gateway }) {
    const messages = [{ role: 'user', content: 'river '.repeat(2 * engine.contextTokens) }];
    const codes: string[] = [];
    for (const stream of [true, false]) {
      const body = { model: engine.model, messages, max_tokens: 8, stream };
      const response = await post(`${gateway.url}/v1/chat/completions`, body);
      const { error } = (await response.json()) as { error: { code: string; message: string } };
      codes.push(`${response.status} ${error.code}`);
    }
    assert.deepEqual(codes, ['400 context_length_exceeded', '400 context_length_exceeded']);
    return `\`${codes[0]}\``;
  },
};

const unknownModel: EngineCheck = {
  title: 'a model that it does not have',
  async run({ engine, gateway }) {
    const body = { model: 'no-such', messages: MESSAGES, max_tokens: 2 };
    const response = await post(`${gateway.url}/v1/chat/completions`, body);
    const answer = (await response.json()) as { error?: { code: string } };
    if (response.status === 200) {
      // Only where the engine takes any name.
      const direct = await post(`${engine.url}/chat/completions`, body, withKey(engine.key));
      assert.equal(direct.status, 200);
      return 'any name is taken';
    }
    assert.equal(response.status, 404);
    return `\`404 ${answer.error?.code}\``;
  },
};

const load: EngineCheck = {
  title: 'its load, as `GET /admin/backends` knows it',
  async run(ground) {
    const { engine } = ground;
    if (engine.tells.length === 0) return 'not read';
    const told: string[] = [];
    if (engine.tells.includes('slots')) {
      await waitUntil(
        async () => (await cardOf(ground)).slots === engine.slots,
        LIMIT_MS,
        () => 'the slots are not those that it has',
      );
      told.push(`${engine.slots} slots`);
    }
    if (engine.tells.includes('running')) {
      // Not through the gateway, which knows its own calls anyway.
      const leaving = new AbortController();
      const body = { ...longAnswer(engine), stream: true };
      const asked = post(`${engine.url}/chat/completions`, body, {
        ...withKey(engine.key),
        signal: leaving.signal,
      });
      asked.catch(() => {});
      try {
        await waitUntil(
          async () => ((await cardOf(ground)).reported?.running ?? 0) >= 1,
          LIMIT_MS,
          () => 'a call of another client is not seen',
        );
      } finally {
        leaving.abort();
      }
      await waitUntil(
        async () => (await cardOf(ground)).reported?.running === 0,
        LIMIT_MS,
        () => "the other client's leaving is not seen",
      );
      told.push('calls that run, also of others');
    }
    return told.join('; ');
  },
};

interface BackendCard {
  readonly slots: number;
  readonly reported: { readonly running: number | null } | null;
}

async function cardOf({ gateway }: Ground): Promise<BackendCard> {
  const headers = { authorization: `Bearer ${ADMIN_KEY}` };
  const response = await fetch(`${gateway.url}/admin/backends`, { headers });
  assert.equal(response.status, 200);
  return ((await response.json()) as { data: readonly BackendCard[] }).data[0]!;
}

const CONTINUED_TOKENS = 48;

const continuation: EngineCheck = {
  title: 'goes on exactly with an answer that another back end lost',
  async run({ engine }) {
    const { text } = await askDirectly(engine, MESSAGES, CONTINUED_TOKENS);
    const cuts = cutsOf(text);
    let likeUndisturbed = 0;
    for (const pieces of cuts) {
      const answer = await continued(engine, pieces);
      const given = pieces.join('');
      const expected = await directContinuation(engine, given, CONTINUED_TOKENS - pieces.length);
      assert.equal(answer, expected, `after ${JSON.stringify(given)}`);
      if (answer.startsWith(text) || text.startsWith(answer)) likeUndisturbed += 1;
    }
    return `yes, at ${cuts.length} cuts; ${likeUndisturbed} of the texts as if nothing had happened`;
  },
};

/** Beginnings of a text, in the pieces in which a back end gives them: before a space, behind one, and within a word. */
function cutsOf(text: string): string[][] {
  const leading = text.match(/\s*\S+/g) ?? [];
  const trailing = text.match(/\S+\s*/g) ?? [];
  assert.ok(leading.length > 14, `too short: ${text}`);
  const word = leading.findIndex((one, index) => index > 5 && one.trim().length > 4);
  assert.ok(word > 0, `no long word: ${text}`);
  return [
    leading.slice(0, 1),
    leading.slice(0, 6),
    leading.slice(0, 14),
    trailing.slice(0, 8),
    [...leading.slice(0, word), leading[word]!.slice(0, -2)],
  ];
}

/** The whole answer that a client gets whose first back end dies after these pieces. */
async function continued(engine: Engine, pieces: readonly string[]): Promise<string> {
  const { url, kind, model } = engine;
  const fresh = engine.fresh();
  const dying = {
    kind: 'fake',
    id: 'dying',
    pieces,
    first_token_ms: 1,
    token_ms: 1,
    fail_after: pieces.length,
  };
  const sluice = await startSluice({
    config: {
      backends: [dying, { id: 'engine', url, kind, ...keySetting(fresh.key) }],
      models: [{ id: model, backends: ['dying', 'engine'] }],
    },
    env: keyVariable(fresh.key),
  });
  try {
    const body = {
      model,
      messages: MESSAGES,
      max_tokens: CONTINUED_TOKENS,
      temperature: 0,
      ...fresh.body,
    };
    const seen = await readChat(sluice.url, body);
    assert.equal(flawOf(seen, seen.text), undefined);
    assert.equal(seen.continued, 1);
    assert.ok(seen.text.startsWith(pieces.join('')), seen.text);
    return seen.text;
  } finally {
    await sluice.stop();
  }
}

const ownBeginning: EngineCheck = {
  title: 'goes on with a beginning that the client has sent',
  async run({ engine, gateway, bare }) {
    const given = 'Rivers are';
    const body = {
      model: engine.model,
      messages: [...MESSAGES, { role: 'assistant', content: given }],
      continue_final_message: true,
      max_tokens: 12,
      temperature: 0,
    };
    const expected = (await directContinuation(engine, given, 12)).slice(given.length);
    for (const { url } of [gateway, bare]) {
      const streamed = await readChat(url, { ...body, ...engine.fresh().body });
      assert.equal(flawOf(streamed, expected), undefined);
      const asked = { ...body, ...engine.fresh().body };
      const whole = await complete(`${url}/v1`, 'chat/completions', asked);
      assert.equal(whole.choices[0]!.message!.content, expected);
    }
    return 'yes, also by `--backend` alone';
  },
};

/** A text with what the engine says itself to the prompt and it. */
async function directContinuation(engine: Engine, given: string, maxTokens: number): Promise<string> {
  // White space at the end is no good beginning for its tokens: it says it again.
  const prefix = given.trimEnd();
  const messages: Message[] = [...MESSAGES, { role: 'assistant', content: prefix }];
  return prefix + (await askDirectly(engine, messages, maxTokens, engine.continues)).text;
}

export const FAILURE_CHECKS: readonly EngineCheck[] = [
  cancel,
  tooLong,
  unknownModel,
  load,
  continuation,
  ownBeginning,
];
