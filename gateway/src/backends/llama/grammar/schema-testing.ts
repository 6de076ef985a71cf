// A validator of JSON Schema for tests, as far as the engine honours it, and random schemas with values that are valid.
// It must never share code with what it checks, nor be imported by anything but tests.
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';

type Json = unknown;
type Schema = Readonly<Record<string, unknown>>;

export function isValid(schema: Json, value: Json, root: Json = schema): boolean {
  if (typeof schema === 'boolean') return schema;
  const s = schema as Schema;
  if (s.nullable === true && value === null) return true;
  if (typeof s.$ref === 'string') {
    let target: Json = root;
    for (const step of s.$ref.split('/').slice(1)) target = (target as Schema)[step];
    if (!isValid(target, value, root)) return false;
  }
  const inner = (one: Json, of: Json) => isValid(one, of, root);
  if ((s.type ?? undefined) !== undefined && ![s.type].flat().some((type) => isType(value, String(type))))
    return false;
  if (Object.hasOwn(s, 'const') && !isDeepStrictEqual(value, s.const)) return false;
  if (Array.isArray(s.enum) && !s.enum.some((one) => isDeepStrictEqual(value, one))) return false;
  if (Array.isArray(s.allOf) && !s.allOf.every((one) => inner(one, value))) return false;
  for (const keyword of ['anyOf', 'oneOf']) {
    const branches = s[keyword];
    if (Array.isArray(branches) && !branches.some((one) => inner(one, value))) return false;
  }
  if (typeof value === 'string') return isText(s, value);
  if (typeof value === 'number') {
    const bound = (keyword: string, none: number) => Number(s[keyword] ?? none);
    return (
      value >= bound('minimum', -Infinity) &&
      value <= bound('maximum', Infinity) &&
      value > bound('exclusiveMinimum', -Infinity) &&
      value < bound('exclusiveMaximum', Infinity)
    );
  }
  if (Array.isArray(value)) {
    const prefix = Array.isArray(s.prefixItems) ? s.prefixItems : [];
    if (value.length < Number(s.minItems ?? 0) || value.length > Number(s.maxItems ?? Infinity)) return false;
    return value.every((item, index) =>
      inner(index < prefix.length ? prefix[index] : (s.items ?? true), item),
    );
  }
  if (typeof value !== 'object' || value === null) return true;
  const properties = (s.properties ?? {}) as Schema;
  if (Array.isArray(s.required) && !s.required.every((name) => Object.hasOwn(value, name))) return false;
  return Object.entries(value).every(([name, of]) =>
    inner(Object.hasOwn(properties, name) ? properties[name] : (s.additionalProperties ?? true), of),
  );
}

function isType(value: Json, type: string): boolean {
  if (type === 'null') return value === null;
  if (type === 'array') return Array.isArray(value);
  if (type === 'object') return typeof value === 'object' && value !== null && !Array.isArray(value);
  return type === 'integer' ? Number.isInteger(value) : typeof value === type;
}

function isText(s: Schema, value: string): boolean {
  const { length } = [...value];
  if (length < Number(s.minLength ?? 0) || length > Number(s.maxLength ?? Infinity)) return false;
  if (typeof s.pattern === 'string' && !new RegExp(s.pattern, 'u').test(value)) return false;
  switch (s.format) {
    case 'date':
      return isDate(value);
    case 'date-time':
      return isDate(value.slice(0, 10)) && !Number.isNaN(Date.parse(value));
    case 'time':
      return !Number.isNaN(Date.parse(`2024-01-01T${value}`));
    case 'uuid':
      return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value);
    case 'email':
      return /^[^@\s]+@[^@\s.]+(\.[^@\s.]+)+$/.test(value);
    case 'uri':
      return URL.canParse(value);
    default:
      return true;
  }
}

function isDate(value: string): boolean {
  return /^\d{4}-\d\d-\d\d$/.test(value) && new Date(`${value}T00:00:00Z`).toISOString().startsWith(value);
}

export interface SchemaAndValue {
  readonly schema: Schema;
  readonly value: Json;
}

const letters = fc.string({
  unit: fc.constantFrom('a', 'b', '"', '\\', '\n', 'é', '中', '🦄'),
  maxLength: 4,
});

const texts: fc.Arbitrary<SchemaAndValue> = letters.chain((value) => {
  const { length } = [...value];
  return fc
    .tuple(fc.nat(length), fc.integer({ min: length, max: length + 3 }))
    .map(([minLength, maxLength]) => ({ schema: { type: 'string', minLength, maxLength }, value }));
});

const formatted: fc.Arbitrary<SchemaAndValue> = fc.constantFrom<SchemaAndValue>(
  { schema: { type: 'string', format: 'date' }, value: '2024-02-29' },
  { schema: { type: 'string', format: 'date-time' }, value: '1999-12-31T23:59:59.5Z' },
  { schema: { type: 'string', format: 'uuid' }, value: '123e4567-e89b-12d3-a456-426614174000' },
  { schema: { type: 'string', pattern: '^[A-Z]{2}\\d+$', maxLength: 6 }, value: 'AB12' },
  { schema: { type: 'string', pattern: '^(foo|bar)?$' }, value: 'bar' },
);

const numbers: fc.Arbitrary<SchemaAndValue> = fc
  .tuple(fc.integer({ min: -2_000, max: 2_000 }), fc.nat(50), fc.nat(50), fc.boolean())
  .map(([value, below, above, isWhole]) => ({
    schema: { type: isWhole ? 'integer' : 'number', minimum: value - below, maximum: value + above },
    value,
  }));

const choices: fc.Arbitrary<SchemaAndValue> = fc
  .uniqueArray(fc.oneof(letters, fc.integer(), fc.boolean(), fc.constant(null)), {
    minLength: 1,
    maxLength: 6,
  })
  .chain((values) => fc.constantFrom(...values).map((value) => ({ schema: { enum: values }, value })));

const plain = fc.constantFrom<SchemaAndValue>(
  { schema: { type: 'boolean' }, value: true },
  { schema: { type: 'null' }, value: null },
  { schema: { type: ['integer', 'null'] }, value: 7 },
  { schema: { const: { a: [1, '中'] } }, value: { a: [1, '中'] } },
);

const leaves = fc.oneof(texts, formatted, numbers, choices, plain);

function listOf(item: fc.Arbitrary<SchemaAndValue>): fc.Arbitrary<SchemaAndValue> {
  return fc.tuple(item, fc.nat(2), fc.nat(2)).map(([{ schema, value }, count, more]) => ({
    schema: { type: 'array', items: schema, minItems: Math.max(0, count - 1), maxItems: count + more },
    value: Array.from({ length: count }, () => value),
  }));
}

function tupleOf(item: fc.Arbitrary<SchemaAndValue>): fc.Arbitrary<SchemaAndValue> {
  return fc.array(item, { minLength: 1, maxLength: 3 }).map((items) => ({
    schema: {
      type: 'array',
      prefixItems: items.map(({ schema }) => schema),
      items: false,
      minItems: items.length,
    },
    value: items.map(({ value }) => value),
  }));
}

function objectOf(item: fc.Arbitrary<SchemaAndValue>): fc.Arbitrary<SchemaAndValue> {
  const names = fc.constantFrom('a', 'ab', 'b', 'name', '名字', 'quo"te');
  const member = fc.record({ name: names, item, isRequired: fc.boolean(), isThere: fc.boolean() });
  const members = fc.uniqueArray(member, { selector: ({ name }) => name, maxLength: 4 });
  return members.map((all) => ({
    schema: {
      type: 'object',
      properties: Object.fromEntries(all.map(({ name, item: { schema } }) => [name, schema])),
      required: all.filter(({ isRequired }) => isRequired).map(({ name }) => name),
      additionalProperties: false,
    },
    value: Object.fromEntries(
      all.filter((one) => one.isRequired || one.isThere).map(({ name, item: { value } }) => [name, value]),
    ),
  }));
}

/** Alternatives that their first property tells apart. */
function unionOf(item: fc.Arbitrary<SchemaAndValue>): fc.Arbitrary<SchemaAndValue> {
  return fc.tuple(objectOf(item), item, fc.boolean()).map(([{ schema, value }, other, isFirst]) => {
    const tagged = { ...schema, properties: { kind: { const: 'one' }, ...Object(schema.properties) } };
    const simple = {
      type: 'object',
      properties: { kind: { const: 'other' }, is: other.schema },
      required: ['kind', 'is'],
      additionalProperties: false,
    };
    const required = ['kind', ...(schema.required as string[])];
    return {
      schema: { anyOf: [{ ...tagged, required }, simple] },
      value: isFirst ? { kind: 'one', ...Object(value) } : { kind: 'other', is: other.value },
    };
  });
}

function nested(depth: number): fc.Arbitrary<SchemaAndValue> {
  if (depth === 0) return leaves;
  const inner = nested(depth - 1);
  return fc.oneof(leaves, listOf(inner), tupleOf(inner), objectOf(inner), unionOf(inner));
}

/** Random schemas that the engine honours, each with a value that is valid and keeps the order of its properties. */
export const schemasWithValues = (depth: number): fc.Arbitrary<SchemaAndValue> => nested(depth);
