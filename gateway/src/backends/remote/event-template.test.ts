// Holds events that are known by their bytes against the same ones parsed: whatever text stands in them, whatever comes instead,
// and wherever the bytes are cut.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EventTemplate } from './event-template.ts';

const dataOf = (text: string, more: object = {}): string =>
  JSON.stringify({ id: 'c-1', text, ...more, end: null });
const eventOf = (data: string): Buffer => Buffer.from(`data: ${data}\n\n`);

function textOf(data: string): string | undefined {
  const { text } = JSON.parse(data) as { readonly text?: unknown };
  return typeof text === 'string' ? text : undefined;
}

const around = (text: string, data = dataOf(text)) => EventTemplate.around(text, data, textOf);

function templateOf(text: string): EventTemplate {
  const template = around(text);
  assert.ok(template);
  return template;
}

test('an event with another text is of it, as parsing would have it', () => {
  let known = 0;
  const texts = fc.string({ unit: 'binary', maxLength: 12 });
  fc.assert(
    fc.property(texts, fc.nat(20), (text, padding) => {
      const template = templateOf('one');
      const event = eventOf(dataOf(text));
      const bytes = Buffer.concat([Buffer.alloc(padding, 0x7b), event, Buffer.from('data: more')]);
      const end = template.read(bytes, padding);
      if (end === padding) return;
      known += 1;
      assert.equal(end, padding + event.length);
      assert.equal(template.text, text);
    }),
  );
  assert.ok(known > 20, `${known} were known`);
});

test('what is not plain, not whole or not alike is left', () => {
  const template = templateOf('one');
  const whole = eventOf(dataOf('two'));
  for (let end = 0; end < whole.length; end += 1) {
    assert.equal(template.read(whole.subarray(0, end), 0), 0, `the first ${end} bytes`);
  }
  const others = {
    'no text': dataOf(''),
    'an escape': dataOf('a\nb'),
    'a quote': dataOf('say "b"'),
    'half a character': dataOf('\ud83d'),
    'a control character': dataOf('TAB').replace('TAB', '\t'),
    'a member more': dataOf('two', { usage: 1 }),
    'another number': dataOf('two').replace('c-1', 'c-2'),
    'an endless text': dataOf('a'.repeat(5_000)),
  };
  for (const [name, data] of Object.entries(others)) {
    assert.equal(template.read(eventOf(data), 0), 0, name);
  }
  const kept = Buffer.from(`event: error\n${whole}`);
  assert.equal(template.read(kept, 0), 0, 'an event with a name');
  const returns = Buffer.from(whole.toString().replaceAll('\n', '\r\n'));
  assert.equal(template.read(returns, 0), 0, 'other line ends');
  assert.equal(template.uses, 0);
  assert.equal(template.read(whole, 0), whole.length);
  assert.equal(template.uses, 1);
});

test('bytes that are no text are read as parsing would read them', () => {
  const template = templateOf('one');
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 8 }), (garbage) => {
      const [before = '', behind = ''] = dataOf('HERE').split('HERE');
      const bytes = Buffer.concat([Buffer.from(`data: ${before}`), garbage, Buffer.from(`${behind}\n\n`)]);
      if (template.read(bytes, 0) > 0) assert.equal(template.text, textOf(bytes.toString().slice(6)));
    }),
  );
});

test('it is made only where the place of the text is certain', () => {
  assert.equal(around('id'), undefined, 'the word stands there twice');
  assert.equal(around('a\nb'), undefined, 'it is written with an escape');
  assert.equal(around('é', dataOf('é').replace('é', '\\u00e9')), undefined, 'another way to write it');
  // The only place where it stands as it is, is not its own.
  assert.equal(around('other', '{"other":1,"text":"\\u006fther"}'), undefined);
  assert.equal(around('a\\', '{"text":"a\\\\","b":1}'), undefined, 'the quote behind it is part of a text');
  // Of two members of a name the last one counts.
  const twice = eventOf('{"text":"x","text":"y","a":1}');
  assert.equal(around('end', '{"text":"x","text":"end","a":1}')?.read(twice, 0), twice.length);
  assert.equal(around('end', '{"text":"end","text":"\\u0065nd","a":1}'), undefined);
  assert.equal(around('a', dataOf('a', { padding: ' '.repeat(5_000) })), undefined, 'much around it');
  assert.ok(around('a'));
  assert.ok(around('b'));
});
