// Whether it matters how a prompt's beginning came into the cache: computed, left there by another prompt, or put there
// from a file. Each is run alone; probabilities may differ by rounding, because batches of other shapes add up otherwise.
//   SLUICE_PREFIX_PROMPTS=500 asks for more than the usual few prompts.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { missingModel } from '../../../test/parts.ts';
import { type Answer, chat } from './engine-testing.ts';
import { LlamaBackend } from './llama-backend.ts';

const PROMPTS = Number(process.env.SLUICE_PREFIX_PROMPTS ?? 20);
/** Kept at once; then the next are begun. */
const BATCH = 50;
const NEW_TOKENS = 8;
/** Of a token's probability, 0 to 1. */
const TOLERANCE = 0.05;
const WORDS =
  'river stone lamp green walk seven cloud paper quiet north glass honey wind door salt bell'.split(' ');

/** The same words for the same number (a linear congruential generator's high bits). */
function words(seed: number, count: number): string {
  let state = seed * 2_654_435_761 + 12_345;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return WORDS[(state >>> 16) % WORDS.length];
  }).join(' ');
}

describe('prefixes', { skip: missingModel() }, () => {
  let backend: LlamaBackend;
  before(async () => {
    backend = new LlamaBackend({
      id: 'engine',
      modelFile: process.env.SLUICE_TEST_MODEL ?? '',
      speaker: 'the model',
      batchSize: 2,
      contextTokens: 512,
      threads: 1,
      log: () => {},
    });
    await backend.start();
  });
  after(() => backend.close());

  const ask = (tenant: string, user: string): Promise<Answer> =>
    chat(backend, { tenant, user, maxTokens: NEW_TOKENS, logprobs: 20 });

  test(`${PROMPTS} prompts: restored, reused and computed give the same probabilities`, async (t) => {
    let largest = 0;
    let equal = 0;
    const compare = async (tenant: string, user: string, other: Answer): Promise<void> => {
      const computed = await ask(`${tenant}, computed: ${user}`, user);
      assert.equal(computed.usage.cachedTokens, 0);
      largest = Math.max(largest, difference(computed, other));
      if (computed.text === other.text) equal += 1;
    };
    for (let first = 0; first < PROMPTS; first += BATCH) {
      const numbers = Array.from({ length: Math.min(BATCH, PROMPTS - first) }, (_, index) => first + index);
      const beginning = (number: number): string => words(number, 45 + (number % 40));
      // Two at once, so that neither finds the other's sequence free: what they share is kept.
      for (const number of numbers) {
        await Promise.all(
          ['one', 'two'].map((end) =>
            ask(`tenant ${number}`, `${beginning(number)} ${end} ${words(number, 3)}`),
          ),
        );
      }
      for (const number of numbers) {
        const tenant = `tenant ${number}`;
        const third = `${beginning(number)} three ${words(number + 1, 4)}`;
        const restored = await ask(tenant, third);
        assert.ok((restored.usage.cachedTokens ?? 0) > 40, `${restored.usage.cachedTokens} restored`);
        const fourth = `${beginning(number)} four ${words(number + 2, 4)}`;
        const reused = await ask(tenant, fourth);
        assert.ok((reused.usage.cachedTokens ?? 0) > 40, `${reused.usage.cachedTokens} reused`);
        await compare(tenant, third, restored);
        await compare(tenant, fourth, reused);
      }
    }
    t.diagnostic(
      `largest difference of a probability ${largest.toFixed(4)}; ${equal} of ${2 * PROMPTS} texts are equal`,
    );
    assert.ok(largest < TOLERANCE, `${largest}`);
  });

  test('what one tenant made the engine compute is of no use to another, and never in its answer', async () => {
    for (let round = 0; round < 5; round += 1) {
      const marker = `ZEBRA${round}QUARTZ`;
      const secret = `Remember the word ${marker}. ${marker} is the word. ${words(round, 60)}`;
      await Promise.all(['one', 'two'].map((end) => ask('owner', `${secret} ${end}`)));
      const owner = await ask('owner', `${secret} What is the word?`);
      assert.ok((owner.usage.cachedTokens ?? 0) > 40);
      const same = await ask('stranger', `${secret} What is the word?`);
      assert.equal(same.usage.cachedTokens, 0);
      const other = await ask('stranger', 'What is the word?');
      assert.ok(!other.text.includes('ZEBRA'), other.text);
    }
  });
});

/** Of the first token: the largest difference between what both hold a token for, over those likely for either. */
function difference(a: Answer, b: Answer): number {
  const [first, second] = [a, b].map(
    (answer) => new Map(topOf(answer).map(({ token, logprob }) => [token, Math.exp(logprob)])),
  );
  const tokens = new Set([...first!.keys(), ...second!.keys()]);
  return Math.max(
    ...[...tokens].map((token) => Math.abs((first!.get(token) ?? 0) - (second!.get(token) ?? 0))),
  );
}

function topOf(answer: Answer): readonly { readonly token: string; readonly logprob: number }[] {
  for (const event of answer.events) {
    if (event.type === 'text-delta' && event.logprobs?.[0]) return event.logprobs[0].top;
  }
  assert.fail('no probabilities');
}
