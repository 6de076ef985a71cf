// Checks text.ts: whole characters whatever the tokens' borders, and thinking, stops and ends in the right order.
// It must never load a model.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { callFormOf } from './call-form.ts';
import { AnswerText, type Detokenize, TokenText } from './text.ts';

/** A token is a byte, or above 255 a run of two bytes. */
const bytesOf = (token: number): number[] => (token < 256 ? [token] : [token >> 8, token & 255]);
const byteDetokenize: Detokenize = (tokens) =>
  new TextDecoder().decode(Uint8Array.from(tokens.flatMap(bytesOf)));

function decode(tokens: readonly number[]): { text: string; pieces: string[] } {
  const text = new TokenText(byteDetokenize, []);
  const pieces = tokens.map((token) => text.push(token));
  pieces.push(text.flush());
  return { text: pieces.join(''), pieces };
}

test('any text comes out whole, and no piece holds a part of a character', () => {
  const characters = fc.constantFrom('a', 'é', '中', '文', '😀', '👩', '\u200d', ' ', '\0');
  fc.assert(
    fc.property(
      fc.array(characters, { maxLength: 30 }),
      fc.array(fc.boolean(), { maxLength: 60 }),
      (letters, pairs) => {
        const bytes = [...Buffer.from(letters.join(''))];
        const tokens: number[] = [];
        for (let at = 0; at < bytes.length; at++) {
          const first = bytes[at] ?? 0;
          const second = bytes[at + 1];
          if (pairs[at] === true && second !== undefined && first > 0) {
            tokens.push((first << 8) | second);
            at++;
          } else tokens.push(first);
        }
        const { text, pieces } = decode(tokens);
        assert.equal(text, letters.join(''));
        assert.ok(pieces.every((piece) => piece.isWellFormed() && !piece.includes('\uFFFD')));
      },
    ),
  );
});

test('a long chain of tokens that each end one character and begin the next comes out whole', () => {
  const bytes = [...Buffer.from(`${'é'.repeat(40)}`)];
  const tokens = [bytes[0]!];
  for (let at = 1; at + 1 < bytes.length; at += 2) tokens.push((bytes[at]! << 8) | bytes[at + 1]!);
  tokens.push(bytes.at(-1)!);
  const { text, pieces } = decode(tokens);
  assert.equal(text, 'é'.repeat(40));
  assert.ok(pieces.slice(1, -1).every((piece) => piece === 'é'));
});

test('an incomplete character at the end becomes one U+FFFD; a real one is not lost', () => {
  const smile = [...Buffer.from('😀')];
  assert.equal(decode([97, ...smile.slice(0, 3)]).text, 'a\uFFFD');
  assert.equal(decode([...Buffer.from('a\uFFFDb\uFFFD')]).text, 'a\uFFFDb\uFFFD');
  assert.equal(decode([97, 0xff, 98]).text, 'a\uFFFDb');
});

test('endless bad bytes are not held for ever', () => {
  const text = new TokenText(byteDetokenize, []);
  let shown = '';
  for (let i = 0; i < 100; i++) shown += text.push(0xff);
  assert.ok(shown.length > 80);
});

test('the tokens before give the detokenizer its context', () => {
  const seen: number[][] = [];
  const text = new TokenText(
    (tokens, before) => {
      seen.push([...before]);
      return 'x'.repeat(tokens.length);
    },
    [1, 2, 3, 4, 5, 6],
  );
  text.push(7);
  text.push(8);
  assert.deepEqual(seen, [
    [3, 4, 5, 6],
    [4, 5, 6, 7],
  ]);
});

function answer(text: string, stop: readonly string[], beginsInReasoning?: boolean) {
  const shown = { reasoning: '', text: '', 'tool-call': '' };
  const parts = new AnswerText({
    detokenize: byteDetokenize,
    before: [],
    stop,
    thinking: beginsInReasoning === undefined ? undefined : { beginsInReasoning },
  });
  let stopped = false;
  for (const byte of Buffer.from(text)) {
    const part = parts.push(byte);
    for (const piece of part.pieces) shown[piece.kind] += piece.text;
    stopped = part.stopped;
    if (stopped) break;
  }
  if (!stopped) for (const piece of parts.flush().pieces) shown[piece.kind] += piece.text;
  const { reasoning, text: written } = shown;
  return { reasoning, text: written, stopped, reasoningTokens: parts.reasoningTokens };
}

test('stop strings end the answer, never the thinking', () => {
  assert.deepEqual(answer('a\n\nb</think>yes\n\nno', ['\n\n'], true), {
    reasoning: 'a\n\nb',
    text: 'yes',
    stopped: true,
    reasoningTokens: 'a\n\nb</think>'.length,
  });
});

test('what looked like a stop string or a tag is shown at the end', () => {
  assert.equal(answer('abc ST', ['STOP']).text, 'abc ST');
  assert.equal(answer('abc</thi', ['STOP'], true).reasoning, 'abc</thi');
  assert.deepEqual(answer('<think>a</think>b', [], undefined).text, '<think>a</think>b');
});

test('an answer without thinking spends no reasoning tokens', () => {
  assert.equal(answer('hello', [], false).reasoningTokens, 0);
  assert.equal(answer('hello', []).reasoningTokens, undefined);
});

test('tool calls come out as pieces of their own, behind thinking, and stop strings do not touch them', () => {
  const form = callFormOf('{{ tools }} <tool_call>')!;
  const parts = new AnswerText({
    detokenize: byteDetokenize,
    before: [],
    stop: ['STOP'],
    thinking: { beginsInReasoning: true },
    calls: { form, isSingle: false, newId: () => 'id' },
  });
  const whole =
    'hm <tool_call></think>Well.\n<tool_call>\n{"name":"f","arguments":{"a":"STOP"}}\n</tool_call>\n';
  const pieces = [...Buffer.from(whole)]
    .flatMap((byte) => [...parts.push(byte).pieces])
    .concat(parts.flush().pieces);
  const joined = (kind: string) =>
    pieces
      .filter((piece) => piece.kind === kind)
      .map(({ text }) => text)
      .join('');
  assert.equal(joined('reasoning'), 'hm <tool_call>');
  assert.equal(joined('text'), 'Well.');
  assert.equal(joined('tool-call'), '{"a":"STOP"}');
  const first = pieces.find((piece) => piece.kind === 'tool-call');
  assert.deepEqual(first && { ...first, text: '' }, {
    kind: 'tool-call',
    index: 0,
    id: 'id',
    name: 'f',
    text: '',
  });
});

test('an answer that may have one call stops with it', () => {
  const form = callFormOf('{{ tools }} <tool_call>')!;
  const parts = new AnswerText({
    detokenize: byteDetokenize,
    before: [],
    stop: [],
    calls: { form, isSingle: true },
  });
  const flags = [...Buffer.from('<tool_call>{"name":"f","arguments":{}}')].map(
    (byte) => parts.push(byte).stopped,
  );
  assert.deepEqual(flags.indexOf(true), flags.length - 1);
});

/** What comes of `rest` where `shown` has been shown already. */
function goOn(
  shown: { text: string; reasoning: string },
  rest: string,
  { stop = [], thinks = false }: { stop?: readonly string[]; thinks?: boolean },
) {
  const parts = new AnswerText({
    detokenize: byteDetokenize,
    before: [...Buffer.from(shown.reasoning + shown.text)],
    stop,
    thinking: thinks ? { beginsInReasoning: true } : undefined,
    shown,
  });
  const read = { reasoning: '', text: '', 'tool-call': '' };
  let stopped = false;
  for (const byte of Buffer.from(rest)) {
    const part = parts.push(byte);
    for (const piece of part.pieces) read[piece.kind] += piece.text;
    stopped = part.stopped;
    if (stopped) break;
  }
  if (!stopped) for (const piece of parts.flush().pieces) read[piece.kind] += piece.text;
  return { reasoning: read.reasoning, text: read.text, stopped, reasoningTokens: parts.reasoningTokens };
}

test('what was shown already is not shown again, wherever the cut was', () => {
  const whole = 'hm, so.\n</think>\n\nYes, a STO and a STOP';
  const thought = 'hm, so.\n';
  const answerText = 'Yes, a STO and a ';
  for (let cut = 1; cut <= thought.length; cut++) {
    const reasoning = thought.slice(0, cut);
    const read = goOn({ text: '', reasoning }, whole.slice(cut), { stop: ['STOP'], thinks: true });
    assert.deepEqual([reasoning + read.reasoning, read.text, read.stopped], [thought, answerText, true]);
    assert.equal(read.reasoningTokens, whole.indexOf('\n\nYes') - cut, 'only its own');
  }
  for (let cut = 1; cut <= answerText.length; cut++) {
    const text = answerText.slice(0, cut);
    const rest = `${answerText.slice(cut)}STOP`;
    const read = goOn({ text, reasoning: thought }, rest, { stop: ['STOP'], thinks: true });
    assert.deepEqual([text + read.text, read.reasoning, read.stopped], [answerText, '', true]);
  }
});

test('a stop string that began in what was shown ends the answer, and one within it does not', () => {
  assert.deepEqual(goOn({ text: 'a ST', reasoning: '' }, 'OP b', { stop: ['STOP'] }), {
    reasoning: '',
    text: '',
    stopped: true,
    reasoningTokens: undefined,
  });
  const read = goOn({ text: 'a STOP b', reasoning: '' }, ' c', { stop: ['STOP'] });
  assert.deepEqual([read.text, read.stopped], [' c', false]);
});

test('behind the first word of an answer a tag is text', () => {
  assert.equal(goOn({ text: 'a ', reasoning: '' }, '<think>b', { thinks: true }).text, '<think>b');
});
