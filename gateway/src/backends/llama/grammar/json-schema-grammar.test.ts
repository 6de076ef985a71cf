// Guards the way from a schema to a grammar: what the grammar lets through is valid, values that are valid get through, what
// cannot be honoured is refused by its place, and no schema costs more than its bounds.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { GatewayError } from '../../../core/errors.ts';
import { seededRandom } from '../../../load/seeded-random.ts';
import { GbnfReader } from './gbnf-testing.ts';
import { schemaGrammar } from './json-schema-grammar.ts';
import { isValid, schemasWithValues } from './schema-testing.ts';

function readerOf(schema: unknown): GbnfReader {
  const { rules, entry } = schemaGrammar(schema, 'schema');
  return new GbnfReader(`root ::= ${entry}\n${rules.text('schema')}`);
}

test('a valid value in the order of its schema gets through, compact as well as written out', () => {
  fc.assert(
    fc.property(schemasWithValues(2), ({ schema, value }) => {
      assert.ok(isValid(schema, value), 'the test itself');
      const reader = readerOf(schema);
      for (const indent of [undefined, 2]) {
        const text = JSON.stringify(value, null, indent);
        // A constant's own text is written compactly.
        if (indent === undefined || !/const|enum/.test(JSON.stringify(schema))) {
          assert.ok(reader.accepts(text), text);
        }
      }
    }),
    { numRuns: 300 },
  );
});

test('whatever gets through is JSON that the schema allows', () => {
  fc.assert(
    fc.property(schemasWithValues(2), fc.integer(), ({ schema }, seed) => {
      const reader = readerOf(schema);
      const random = seededRandom(seed);
      for (let round = 0; round < 5; round++) {
        const text = reader.example(random, 400);
        if (text === undefined) continue;
        assert.ok(isValid(schema, JSON.parse(text)), text);
        assert.ok(reader.accepts(text));
      }
    }),
    { numRuns: 300 },
  );
});

test("another schema's value gets through only where it is valid", () => {
  fc.assert(
    fc.property(schemasWithValues(1), schemasWithValues(1), ({ schema }, { value }) => {
      if (readerOf(schema).accepts(JSON.stringify(value))) assert.ok(isValid(schema, value));
    }),
    { numRuns: 500 },
  );
});

const KEYWORDS: readonly (readonly [
  name: string,
  schema: object,
  yes: readonly unknown[],
  no: readonly unknown[],
])[] = [
  ['no type', {}, [1, 'x', null, [{ a: [] }]], []],
  ['object without properties', { type: 'object' }, [{}, { a: { b: [1] } }], [[], 1]],
  ['an empty list of properties', { type: 'object', properties: {} }, [{}], [{ a: 1 }]],
  [
    'optional properties',
    { properties: { a: {}, b: {}, c: {} }, required: ['b'] },
    [{ b: 1 }, { a: 1, b: 1, c: 1 }],
    [{ a: 1 }],
  ],
  ['required without a schema', { type: 'object', required: ['x'] }, [{ x: [1] }], [{}]],
  ['a map', { additionalProperties: { type: 'integer' } }, [{}, { x: 1, 'y z': 2 }], [{ x: 'a' }]],
  [
    'a map by name',
    { type: 'object', propertyNames: { type: 'string', pattern: '^k\\d$' }, additionalProperties: true },
    [{ k1: 1 }],
    [{ x: 1 }],
  ],
  ['a bounded map', { type: 'object', maxProperties: 2 }, [{}, { a: 1, b: 2 }], [{ a: 1, b: 2, c: 3 }]],
  [
    'further properties',
    { properties: { a: { type: 'integer' } }, additionalProperties: { type: 'string' } },
    [{ a: 1 }, { a: 1, ab: 'x' }, { b: 'x' }],
    [{ a: 'x' }, { b: 1 }],
  ],
  ['type lists', { type: ['string', 'null'], maxLength: 1 }, ['a', null], ['ab', 1]],
  ['nullable', { type: 'string', nullable: true }, ['a', null], [1]],
  ['enum with a type', { type: 'integer', enum: [1, 'x', 2.5, 30] }, [1, 30], ['x', 2.5, 3]],
  ['const', { const: { a: [null, true] } }, [{ a: [null, true] }], [{}, null]],
  [
    'texts that begin alike',
    { enum: ['a', 'ab', 'abc', '中', '中文', '🦄', '🦄🦄'] },
    ['a', 'ab', 'abc', '中文', '🦄'],
    ['b', '文', 'abcd'],
  ],
  [
    'tuples',
    { type: 'array', prefixItems: [{ type: 'integer' }, { type: 'string' }], items: false },
    [[], [1], [1, 'a']],
    [['a'], [1, 'a', 2]],
  ],
  [
    'tuples that go on',
    { prefixItems: [{ type: 'integer' }], items: { type: 'string' }, minItems: 2, maxItems: 3 },
    [
      [1, 'a'],
      [1, 'a', 'b'],
    ],
    [[1], [1, 2], [1, 'a', 'b', 'c']],
  ],
  ['no items', { type: 'array', maxItems: 0 }, [[]], [[1]]],
  [
    'long lists',
    { type: 'array', items: { type: 'integer' }, minItems: 300, maxItems: 600 },
    [Array(300).fill(1), Array(600).fill(1), Array(511).fill(1)],
    [Array(299).fill(1), Array(601).fill(1)],
  ],
  [
    'long texts',
    { type: 'string', minLength: 512, maxLength: 1_000 },
    ['é'.repeat(512), 'x'.repeat(1_000)],
    ['x'.repeat(511), 'x'.repeat(1_001)],
  ],
  ['oneOf', { oneOf: [{ type: 'integer' }, { type: 'string', maxLength: 1 }] }, [1, 'a'], ['ab', null]],
  [
    'what holds for all alternatives',
    {
      type: 'object',
      properties: { a: { type: 'integer' }, b: {} },
      anyOf: [{ required: ['a'] }, { required: ['b'] }],
    },
    [{ a: 1 }, { b: 1 }, { a: 1, b: 2 }],
    [{}],
  ],
  [
    'allOf',
    {
      allOf: [
        { type: 'object', properties: { a: { type: 'integer' } }, required: ['a'] },
        { properties: { b: { type: 'string' } }, required: ['b'] },
      ],
    },
    [{ a: 1, b: 'x' }],
    [{ a: 1 }, { b: 'x' }],
  ],
  [
    'stricter bounds win',
    { allOf: [{ type: 'integer', minimum: 1, maximum: 9 }, { minimum: 5 }] },
    [5, 9],
    [4, 10],
  ],
  [
    '$ref beside others',
    { $defs: { t: { type: 'string', minLength: 1 } }, $ref: '#/$defs/t', maxLength: 2, description: 'd' },
    ['a', 'ab'],
    ['', 'abc'],
  ],
  [
    'a reference by an escaped name',
    { $defs: { 'a/b~c d': { type: 'null' } }, $ref: '#/$defs/a~1b~0c%20d' },
    [null],
    [1],
  ],
  [
    'objects told apart later',
    {
      anyOf: [
        { properties: { n: { type: 'string' }, a: { type: 'integer' } }, required: ['n', 'a'] },
        { properties: { n: { type: 'string' }, b: { type: 'integer' } }, required: ['n', 'b'] },
      ],
    },
    [
      { n: 'x', a: 1 },
      { n: 'x', b: 1 },
    ],
    [{ n: 'x' }, { n: 'x', a: 'y' }],
  ],
  [
    'lists told apart',
    {
      anyOf: [
        { type: 'array', items: { type: 'string' } },
        { type: 'array', items: { type: 'integer' } },
      ],
    },
    [[], ['a'], [1, 2]],
    [[1, 'a']],
  ],
  [
    'a required one of the others',
    { additionalProperties: { type: 'integer' }, required: ['a'] },
    [{ a: 1 }],
    [{ a: 'x' }, {}],
  ],
  ['a constant beside alternatives', { anyOf: [true, { type: 'string' }], const: 'a' }, ['a'], ['b', 1]],
  [
    'a name that is a trap',
    JSON.parse(
      '{"allOf":[{"properties":{"a":{}}},{"properties":{"__proto__":{"type":"integer"}},"required":["__proto__"]}]}',
    ),
    [JSON.parse('{"__proto__":1}')],
    [{ a: 1 }],
  ],
  [
    'int32',
    { type: 'integer', format: 'int32' },
    [2_147_483_647, -2_147_483_648],
    [2_147_483_648, -2_147_483_649],
  ],
  ['a format and lengths', { type: 'string', format: 'hostname', maxLength: 6 }, ['ab.de'], ['abc.def']],
  [
    'annotations',
    { title: 't', description: 'd', default: 1, examples: [1], $schema: 's', 'x-any': {}, type: 'integer' },
    [1],
    ['a'],
  ],
];

for (const [name, schema, yes, no] of KEYWORDS) {
  test(`${name}: what fits and what does not`, () => {
    const reader = readerOf(schema);
    for (const value of yes) assert.ok(reader.accepts(JSON.stringify(value)), JSON.stringify(value));
    for (const value of no) assert.ok(!reader.accepts(JSON.stringify(value)), JSON.stringify(value));
  });
}

test('a schema that holds itself: a tree, and a list of either', () => {
  const tree = {
    $defs: {
      node: {
        type: 'object',
        properties: {
          value: { type: 'integer' },
          children: { type: 'array', items: { $ref: '#/$defs/node' } },
        },
        required: ['value', 'children'],
        additionalProperties: false,
      },
    },
    $ref: '#/$defs/node',
  };
  const reader = readerOf(tree);
  const deep = { value: 1, children: [{ value: 2, children: [{ value: 3, children: [] }] }] };
  assert.ok(reader.accepts(JSON.stringify(deep)));
  assert.ok(!reader.accepts('{"value":1,"children":[{}]}'));
  const linked = readerOf({
    type: 'object',
    properties: { next: { anyOf: [{ $ref: '#' }, { type: 'null' }] } },
    required: ['next'],
  });
  assert.ok(linked.accepts('{"next":{"next":null}}'));
});

test('escapes stand for the characters that they are, halves of pairs are never written', () => {
  const reader = readerOf({ type: 'string', maxLength: 2 });
  for (const text of ['"\\u4e2d\\n"', '"\\ud83e\\udd84x"', '"🦄🦄"', '"\\"\\\\"'])
    assert.ok(reader.accepts(text), text);
  for (const text of ['"\\ud83e"', '"\\udd84"', '"\n"', '"abc"', '"\\x"', '"\\ud83e\\u0041"']) {
    assert.ok(!reader.accepts(text), text);
  }
});

test('white space comes once and is bounded', () => {
  const reader = readerOf({
    type: 'object',
    properties: { a: { type: 'array', items: { type: 'null' } } },
    required: ['a'],
  });
  assert.ok(reader.accepts('{\n  "a": [\n    null, null\n  ]\n}'));
  for (const text of [
    '{  "a": []}',
    '{"a" : []}',
    '{"a":[]} ',
    ' {"a":[]}',
    '{\n\n"a":[]}',
    `{\n${' '.repeat(21)}"a":[]}`,
  ]) {
    assert.ok(!reader.accepts(text), JSON.stringify(text));
  }
});

const REFUSED: readonly (readonly [name: string, schema: unknown, param: string])[] = [
  ['not', { not: {} }, 'schema.not'],
  ['an unknown keyword inside', { properties: { x: { madeUp: 1 } } }, 'schema.properties.x.madeUp'],
  [
    'a look-ahead',
    { properties: { x: { type: 'string', pattern: '^(?=a)' } } },
    'schema.properties.x.pattern',
  ],
  ['a back reference', { type: 'string', pattern: '(a)\\1' }, 'schema.pattern'],
  ['a pattern that cannot be read', { type: 'string', pattern: '[' }, 'schema.pattern'],
  ['a pattern that matches nothing', { type: 'string', pattern: '^abc$', maxLength: 2 }, 'schema.pattern'],
  ['an unknown format', { type: 'string', format: 'made-up' }, 'schema.format'],
  ['uniqueItems', { type: 'array', uniqueItems: true }, 'schema.uniqueItems'],
  ['multipleOf', { type: 'number', multipleOf: 0.1 }, 'schema.multipleOf'],
  ['a bound between whole numbers', { type: 'number', minimum: 0.5 }, 'schema.minimum'],
  ['a name that nothing allows', { additionalProperties: false, required: ['a'] }, 'schema.required'],
  [
    'names beside properties',
    { properties: { a: {} }, propertyNames: { maxLength: 1 } },
    'schema.propertyNames',
  ],
  ['patternProperties', { type: 'object', patternProperties: { a: {} } }, 'schema.patternProperties'],
  ['minProperties', { type: 'object', minProperties: 1 }, 'schema.minProperties'],
  ['another file', { $ref: 'other.json' }, 'schema.$ref'],
  ['a place that is not there', { $ref: '#/$defs/none' }, 'schema.$ref'],
  ['a circle of references', { $defs: { a: { $ref: '#/$defs/a' } }, $ref: '#/$defs/a' }, 'schema'],
  ['an alternative that is the whole', { anyOf: [{ $ref: '#' }, { type: 'null' }] }, 'schema'],
  ['no end', { type: 'object', properties: { me: { $ref: '#' } }, required: ['me'] }, 'schema'],
  ['false', { properties: { a: false } }, 'schema.properties.a'],
  ['a text for a schema', { properties: { a: 'string' } }, 'schema.properties.a'],
  ['an empty enum', { enum: [] }, 'schema.enum'],
  ['an enum of another type', { type: 'integer', enum: ['a'] }, 'schema.enum'],
  ['an unknown type', { type: 'text' }, 'schema.type'],
  ['bounds that cross', { type: 'integer', minimum: 5, maximum: 4 }, 'schema'],
  ['lengths that cross', { type: 'string', minLength: 5, maxLength: 4 }, 'schema.maxLength'],
  [
    'more items than there may be',
    { type: 'array', prefixItems: [{}], items: false, minItems: 2 },
    'schema.minItems',
  ],
  ['a length beyond counting', { type: 'string', maxLength: 1e6 }, 'schema.maxLength'],
  ['a draft-7 tuple', { type: 'array', items: [{}] }, 'schema.items'],
  ['anyOf of nothing', { anyOf: [] }, 'schema.anyOf'],
  [
    'values that cannot be told apart',
    {
      anyOf: ['a', 'b'].map((name) => ({
        properties: { x: { type: 'array', items: { type: 'string', const: name } }, [name]: {} },
        required: ['x', name],
      })),
    },
    'schema.anyOf[1].properties.x',
  ],
  [
    'lists that cannot be told apart',
    {
      anyOf: [
        { type: 'array', items: { type: 'string' } },
        { type: 'array', items: { type: 'string', maxLength: 3 } },
      ],
    },
    'schema.anyOf[1]',
  ],
  ['a conflict in allOf', { allOf: [{ pattern: 'a' }, { pattern: 'b' }] }, 'schema.allOf[1].pattern'],
];

for (const [name, schema, param] of REFUSED) {
  test(`${name} is refused by its place`, () => {
    assert.throws(
      () => readerOf(schema),
      (error) => error instanceof GatewayError && error.code === 'invalid_request' && error.param === param,
    );
  });
}

function nest(levels: number): object {
  let schema: object = { type: 'integer' };
  for (let level = 0; level < levels; level++) schema = { type: 'array', items: schema };
  return schema;
}

const HOSTILE: readonly (readonly [name: string, schema: () => unknown])[] = [
  ['1,000 levels', () => nest(1_000)],
  [
    'one that merges itself into itself',
    () => ({ anyOf: [{ $ref: '#', type: 'object' }, { type: 'null' }] }),
  ],
  ['all of itself', () => ({ allOf: [{ $ref: '#' }, {}] })],
  [
    'ever more of itself',
    () => ({ properties: { a: { $ref: '#', maxProperties: 1 } }, allOf: [{ required: ['a'] }] }),
  ],
  ['a million states', () => ({ type: 'string', pattern: '(a|b)*a(a|b){30}$' })],
  ['counts within counts', () => ({ type: 'string', pattern: '(((a{1,99}){1,99}){1,99}){1,99}' })],
  [
    'a thousand different beginnings',
    () => ({ enum: Array.from({ length: 1_000 }, (_, index) => String.fromCodePoint(0x4e00 + index)) }),
  ],
  [
    'a thousand properties',
    () => ({
      properties: Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [`p${index}`, {}])),
    }),
  ],
  [
    'many optional properties',
    () => ({
      properties: Object.fromEntries(Array.from({ length: 400 }, (_, index) => [`property${index}`, {}])),
    }),
  ],
  [
    'alternatives of alternatives',
    () => ({
      $defs: Object.fromEntries(
        Array.from({ length: 41 }, (_, index) => [
          `d${index}`,
          index === 40
            ? { type: 'object' }
            : {
                anyOf: ['a', 'b'].map((name) => ({
                  properties: { [name]: { const: index } },
                  anyOf: [{ $ref: `#/$defs/d${index + 1}` }, { $ref: `#/$defs/d${index + 1}` }],
                })),
              },
        ]),
      ),
      $ref: '#/$defs/d0',
    }),
  ],
  [
    'twins that hold themselves',
    () => ({
      anyOf: [
        { properties: { x: { $ref: '#' }, y: { maxLength: 1 }, a: {} }, required: ['x', 'y'] },
        {
          properties: { x: { anyOf: [{ $ref: '#' }, { type: 'null' }] }, y: {}, b: {} },
          required: ['x', 'y'],
        },
        { type: 'null' },
      ],
    }),
  ],
];

for (const [name, schema] of HOSTILE) {
  test(`${name}: refused`, () => {
    assert.throws(
      () => readerOf(schema()),
      (error) => error instanceof GatewayError && error.code === 'invalid_request',
    );
  });
}

test('twins with the same value inside are followed together, however deep', () => {
  const schema = {
    anyOf: [
      { properties: { x: { $ref: '#' }, a: { type: 'null' } }, required: ['x', 'a'] },
      { properties: { x: { $ref: '#' }, b: { type: 'null' } }, required: ['x', 'b'] },
      { type: 'null' },
    ],
  };
  const reader = readerOf(schema);
  let text = 'null';
  for (let level = 0; level < 30; level++) text = `{"x":${text},"${level % 2 === 0 ? 'a' : 'b'}":null}`;
  assert.ok(reader.accepts(text));
  assert.ok(reader.widest < 10, `${reader.widest} places at once`);
});

const keyword = fc.constantFrom(
  ...[
    'type',
    'properties',
    'required',
    'items',
    'prefixItems',
    'anyOf',
    'allOf',
    'enum',
    'const',
    '$ref',
    '$defs',
  ],
  ...[
    'minLength',
    'maxItems',
    'minimum',
    'exclusiveMaximum',
    'additionalProperties',
    'pattern',
    'nullable',
    'a',
  ],
);
const { soup } = fc.letrec((tie) => ({
  soup: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom<unknown>(
      'object',
      'string',
      'array',
      'a',
      '#',
      '#/$defs/a',
      0,
      1,
      -1.5,
      true,
      false,
      null,
    ),
    fc.dictionary(keyword, tie('soup'), { maxKeys: 5 }),
    fc.array(tie('soup'), { maxLength: 3 }),
  ),
}));

test('any soup of keywords is a grammar, of which all examples are valid, or a refusal', () => {
  fc.assert(
    fc.property(fc.dictionary(keyword, soup, { maxKeys: 6 }), fc.integer(), (sample, seed) => {
      const schema: unknown = JSON.parse(JSON.stringify(sample));
      let reader: GbnfReader;
      try {
        reader = readerOf(schema);
      } catch (error) {
        assert.ok(error instanceof GatewayError && error.code === 'invalid_request', String(error));
        return;
      }
      const random = seededRandom(seed);
      for (let round = 0; round < 3; round++) {
        const text = reader.example(random, 100);
        if (text !== undefined) assert.ok(isValid(schema, JSON.parse(text)), text);
      }
    }),
    { numRuns: 3_000 },
  );
});
