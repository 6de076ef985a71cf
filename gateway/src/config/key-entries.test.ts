// Guards the changes to a configuration's keys: only the keys change, comments stay, and what comes out is read back as meant.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from 'yaml';
import { keyEntryText, withKey, withoutKey } from './key-entries.ts';

const ENTRY = { name: 'bob', key: `sha256:${'ab'.repeat(32)}`, models: ['m'] };
const FILE = `# The house's gateway.
port: 8081   # not 8080

keys:
  # Alice has been here longest.
  - name: alice
    key: \${ALICE}
  - key: sha256:${'00'.repeat(32)}
`;

test('an entry to paste is YAML under its name', () => {
  assert.deepEqual(parse(keyEntryText(ENTRY)), { keys: [ENTRY] });
  assert.doesNotMatch(keyEntryText({ name: 'a', key: 'b' }), /models/);
});

test('a key comes to the end of the others, and comments stay', () => {
  const text = withKey(FILE, ENTRY);
  for (const line of [
    "# The house's gateway.",
    '# not 8080',
    '# Alice has been here longest.',
    `\${ALICE}`,
  ]) {
    assert.ok(text.includes(line), `${line} in ${text}`);
  }
  const { keys, port } = parse(text) as { keys: { name?: string }[]; port: number };
  assert.equal(port, 8081);
  assert.deepEqual(
    keys.map(({ name }) => name),
    ['alice', undefined, 'bob'],
  );
  assert.deepEqual(keys[2], ENTRY);
});

test('a file without keys gets them, whatever else it holds', () => {
  for (const text of [
    '',
    '# nothing yet\n',
    'port: 1\n',
    'keys:\n',
    'keys: []\n',
    '{"port": 1}',
    '{"keys": []}',
  ]) {
    const changed = withKey(text, ENTRY);
    assert.deepEqual((parse(changed) as { keys: unknown }).keys, [ENTRY], `${text} -> ${changed}`);
  }
  assert.match(withKey('# nothing yet\n', ENTRY), /# nothing yet/);
  assert.match(withKey('keys: []\n', ENTRY), /^ *- name: bob$/m, 'an entry on lines of its own');
});

test('what was JSON stays JSON', () => {
  const changed = withKey('{"port": 1, "keys": [{"name": "a", "key": "x"}]}', ENTRY);
  assert.deepEqual(JSON.parse(changed), { port: 1, keys: [{ name: 'a', key: 'x' }, ENTRY] });
  assert.deepEqual(JSON.parse(withoutKey(changed, 'a').text), { port: 1, keys: [ENTRY] });
});

test('a name that is taken is refused, and so is what is no configuration', () => {
  assert.throws(() => withKey(FILE, { ...ENTRY, name: 'alice' }), {
    name: 'ConfigError',
    message: /"alice" already/,
  });
  for (const text of ['- a\n', 'words\n', 'a: [\n', 'keys: {a: b}\n', 'keys: 5\n']) {
    assert.throws(() => withKey(text, ENTRY), { name: 'ConfigError' }, text);
  }
});

test('a key goes by its name, the others stay', () => {
  const { text, left } = withoutKey(withKey(FILE, ENTRY), 'alice');
  assert.equal(left, 2);
  assert.deepEqual(
    (parse(text) as { keys: { name?: string }[] }).keys.map(({ name }) => name),
    [undefined, 'bob'],
  );
  assert.match(text, /# not 8080/);
  const last = withoutKey('keys:\n  - name: a\n    key: b\n', 'a');
  assert.deepEqual([parse(last.text), last.left], [{ keys: [] }, 0]);
});

test('a name that there is not is refused with the one that was meant', () => {
  assert.throws(() => withoutKey(FILE, 'alise'), { message: /no key "alise"\. Did you mean "alice"\?/ });
  assert.throws(() => withoutKey('port: 1\n', 'alice'), { message: /No key has a name/ });
});
