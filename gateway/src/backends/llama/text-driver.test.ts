// Checks text-driver.ts with a reader that counts characters, and no model: order, turns, refusals, cancels, failures.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { CallEvent, EngineText, EngineTexts, Step } from './messages.ts';
import { TextDriver, type TextReader, toUnitLength } from './text-driver.ts';

const WINDOW = 10;

interface Bench {
  readonly driver: TextDriver;
  readonly steps: Step[];
  /** Texts whose computing began, in order. */
  readonly computed: EngineText[];
  readonly gaveUp: string[];
  /** Lets the text under way end: computed, or with this error. */
  finish(error?: Error): Promise<void>;
  /** Waits until a text is under way. */
  underWay(): Promise<void>;
  events(call: number): CallEvent[];
}

/** A text's tokens are its characters, and its vector what `vectorOf` makes of it. Texts end only by `finish`. */
function open(t: TestContext, vectorOf = (input: EngineText) => [input.length, 1]): Bench {
  const steps: Step[] = [];
  const computed: EngineText[] = [];
  const gaveUp: string[] = [];
  let current: PromiseWithResolvers<void> | undefined;
  const reader: TextReader = {
    contextTokens: WINDOW,
    vocabularySize: 100,
    vectorLength: 2,
    read: (input, query) => ({
      tokens: input.length === 0 ? 0 : input.length + (query?.length ?? 0),
      compute: async () => {
        computed.push(input);
        current = Promise.withResolvers();
        await current.promise;
        return Float32Array.from(query === undefined ? vectorOf(input) : [input.length / 10]);
      },
    }),
  };
  const driver = new TextDriver({
    reader,
    post: (step) => void steps.push(step),
    giveUp: (reason) => void gaveUp.push(reason),
  });
  void driver.run();
  t.after(() => {
    driver.close();
    current?.resolve();
  });
  const underWay = async () => {
    for (let turns = 0; current === undefined; turns++) {
      assert.ok(turns < 1_000, 'no text is under way');
      await turn();
    }
  };
  return {
    driver,
    steps,
    computed,
    gaveUp,
    underWay,
    finish: async (error) => {
      await underWay();
      const ended = current!;
      current = undefined;
      if (error) ended.reject(error);
      else ended.resolve();
      await turn();
    },
    events: (call) => steps.flatMap(({ events }) => events.filter((event) => event.call === call)),
  };
}

const texts = (call: number, inputs: readonly EngineText[], more: Partial<EngineTexts> = {}) => ({
  call,
  inputs,
  ...more,
});
const settle = async () => {
  for (let i = 0; i < 5; i++) await turn();
};
const vectorsOf = (events: readonly CallEvent[]) =>
  events.flatMap((event) => (event.type === 'vector' ? [[...event.vector]] : []));

test('vectors come in the order of their inputs, a step each, of length one; the end counts all tokens', async (t) => {
  const { driver, finish, events, steps } = open(t, (input) => [input.length, 0]);
  driver.add(texts(1, ['a', [1, 2, 3], 'cc']));
  for (let i = 0; i < 3; i++) await finish();
  await settle();
  const told = events(1);
  assert.deepEqual(
    told.map(({ type }) => type),
    ['vector', 'vector', 'vector', 'end'],
  );
  assert.deepEqual(vectorsOf(told), [
    [1, 0],
    [1, 0],
    [1, 0],
  ]);
  assert.deepEqual(
    steps.map(({ prefillTokens }) => prefillTokens),
    [1, 3, 2],
  );
  const end = told.at(-1);
  assert.ok(end?.type === 'end');
  assert.deepEqual(end.usage, { promptTokens: 6 });
});

test('a judgement is given as the model made it', async (t) => {
  const { driver, finish, events } = open(t);
  driver.add(texts(1, ['aaa', 'bb'], { query: 'qq' }));
  await finish();
  await finish();
  await settle();
  assert.deepEqual(vectorsOf(events(1)), [[Math.fround(0.3)], [Math.fround(0.2)]]);
});

test('calls take turns: one text does not wait for thousands', async (t) => {
  const { driver, finish, computed, underWay } = open(t);
  driver.add(texts(1, Array(50).fill('big')));
  await underWay();
  driver.add(texts(2, ['small']));
  for (let i = 0; i < 4; i++) await finish();
  await underWay();
  assert.ok(computed.slice(0, 4).includes('small'), computed.join(' '));
});

for (const [name, inputs, more, code, param] of [
  ['a text that is too long', ['a', 'x'.repeat(WINDOW + 1)], {}, 'context_length_exceeded', 'input[1]'],
  [
    'a document too long with its query',
    ['x'.repeat(9)],
    { query: 'qq' },
    'context_length_exceeded',
    'documents[0]',
  ],
  ['an empty text', ['a', ''], {}, 'invalid_request', 'input[1]'],
  ['a number that is no token', ['a', [5, 100]], {}, 'invalid_request', 'input[1]'],
  ['half a token', [[0.5]], {}, 'invalid_request', 'input'],
  ['other dimensions', ['a'], { dimensions: 1 }, 'invalid_request', 'dimensions'],
] as const) {
  test(`${name} is refused by its place, before anything of its call is computed`, async (t) => {
    const { driver, events, computed } = open(t);
    driver.add(texts(1, inputs, more));
    await settle();
    const [failed, ...rest] = events(1);
    assert.ok(failed?.type === 'failed');
    assert.deepEqual([failed.error.code, failed.error.param, rest], [code, param, []]);
    assert.deepEqual(computed, []);
  });
}

test('as many tokens as the window has, and its own dimensions, are computed', async (t) => {
  const { driver, finish, events } = open(t);
  driver.add(texts(1, ['x'.repeat(WINDOW)], { dimensions: 2 }));
  await finish();
  await settle();
  assert.equal(events(1).at(-1)?.type, 'end');
});

test('a cancelled call ends after the text under way, and others go on', async (t) => {
  const { driver, finish, events, computed } = open(t);
  driver.add(texts(1, ['a', 'b', 'c']));
  driver.add(texts(2, ['d']));
  driver.add(texts(3, ['e']));
  await finish();
  driver.cancel(1);
  driver.cancel(3);
  driver.cancel(99);
  await finish();
  await settle();
  assert.deepEqual(computed, ['a', 'd']);
  for (const call of [1, 3]) {
    const last = events(call).at(-1);
    assert.ok(last?.type === 'failed' && last.error.code === 'cancelled', `call ${call}`);
  }
  assert.equal(events(2).at(-1)?.type, 'end');
  driver.cancel(2);
  driver.add(texts(4, ['f']));
  await finish();
  await settle();
  assert.equal(events(4).at(-1)?.type, 'end', 'a cancel of what is over touches nobody');
});

test('a failure is that call’s alone; three in a row end the process', async (t) => {
  const { driver, finish, events, gaveUp } = open(t);
  driver.add(texts(1, ['a', 'b']));
  driver.add(texts(2, ['c']));
  await finish(new Error('no memory'));
  await finish();
  await settle();
  const [failed] = events(1);
  assert.ok(failed?.type === 'failed');
  assert.deepEqual([failed.error.code, /no memory/.test(failed.error.message)], ['backend_failed', true]);
  assert.equal(events(2).at(-1)?.type, 'end');
  assert.deepEqual(gaveUp, []);
  for (const call of [3, 4, 5]) {
    driver.add(texts(call, ['a']));
    await finish(new Error('no memory'));
  }
  await settle();
  assert.equal(gaveUp.length, 1);
});

test('what is no number is a failure, and never given', async (t) => {
  const { driver, finish, events } = open(t, () => [Number.NaN, 1]);
  driver.add(texts(1, ['a']));
  await finish();
  await settle();
  assert.deepEqual(
    events(1).map(({ type }) => type),
    ['failed'],
  );
});

test('a vector has length one, but for one that has none', () => {
  assert.deepEqual([...toUnitLength(Float32Array.of(3, 4))], [Math.fround(0.6), Math.fround(0.8)]);
  assert.deepEqual([...toUnitLength(Float32Array.of(0, 0))], [0, 0]);
});
