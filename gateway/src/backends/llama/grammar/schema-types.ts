// What a schema says of its values' types, and the values that it lists one by one.
// It must never find a value valid that the schema's own types exclude.
// Pure.
import { refusal } from './grammar-rules.ts';
import { type Node, withStep } from './schema-reader.ts';

/** How a value begins; what begins differently can be told apart at its first character. */
export type Kind = 'object' | 'array' | 'string' | 'number' | 'boolean' | 'null';
export const KINDS: readonly Kind[] = ['object', 'array', 'string', 'number', 'boolean', 'null'];

/** A value as it is written. */
export interface JsonText {
  readonly text: string;
  readonly kind: Kind;
}

/** Of an `enum`. */
const MAX_VALUES = 1_000;

/** Its types; undefined where nothing restricts them. */
export function typesOf({ schema, path }: Node): readonly string[] | undefined {
  const type = schema.type ?? undefined;
  if (type === undefined) {
    const implied = impliedType(schema);
    return implied && schema.nullable === true ? [...implied, 'null'] : implied;
  }
  const types = [type].flat();
  for (const one of types) {
    if (typeof one === 'string' && (KINDS as readonly string[]).concat('integer').includes(one)) continue;
    throw refusal(`${path}.type`, `must be one or several of ${KINDS.join(', ')}, integer`);
  }
  if (types.length === 0) throw refusal(`${path}.type`, 'is empty: no value would be valid');
  return [...new Set(schema.nullable === true ? [...types, 'null'] : types)] as string[];
}

/** A schema that speaks of properties means an object, although it would let anything else pass. */
function impliedType(schema: Node['schema']): readonly string[] | undefined {
  const has = (...keywords: string[]) =>
    keywords.some((keyword) => (schema[keyword] ?? undefined) !== undefined);
  if (
    has('properties', 'required', 'additionalProperties', 'propertyNames', 'minProperties', 'maxProperties')
  ) {
    return ['object'];
  }
  if (has('items', 'prefixItems', 'minItems', 'maxItems', 'uniqueItems')) return ['array'];
  if (has('minLength', 'maxLength', 'pattern', 'format')) return ['string'];
  return has('minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf')
    ? ['number']
    : undefined;
}

const BESIDE_VALUES = new Set(['type', 'enum', 'const', 'nullable']);

/** What `enum` and `const` list, as far as the types allow it; undefined without either. */
export function valuesOf(node: Node, types: readonly string[] | undefined): readonly JsonText[] | undefined {
  const { schema, path } = node;
  const isConst = Object.hasOwn(schema, 'const');
  const list = schema.enum ?? undefined;
  if (!isConst && list === undefined) return undefined;
  const keyword = isConst ? 'const' : 'enum';
  if (list !== undefined && !Array.isArray(list)) throw refusal(`${path}.enum`, 'must be a list of values');
  if (list !== undefined && list.length > MAX_VALUES)
    throw refusal(`${path}.enum`, `has more than ${MAX_VALUES} values`);
  for (const other of Object.keys(schema)) {
    if (BESIDE_VALUES.has(other) || !RESTRICTING.has(other)) continue;
    throw refusal(withStep(path, other), `cannot be honoured beside ${keyword}`);
  }
  const texts = new Set((list ?? [schema.const]).map((value) => JSON.stringify(value)));
  if (isConst && list !== undefined && !texts.has(JSON.stringify(schema.const))) texts.clear();
  const wanted = isConst && texts.size > 0 ? [JSON.stringify(schema.const)] : [...texts];
  const shapes = wanted
    .map((text): JsonText => ({ text, kind: kindOf(text) }))
    .filter((shape) => types === undefined || types.some((type) => isOfType(shape, type)));
  if (shapes.length === 0) throw refusal(`${path}.${keyword}`, 'allows no value');
  return schema.nullable === true ? [...shapes, { text: 'null', kind: 'null' }] : shapes;
}

const RESTRICTING = new Set([
  ...[
    'minLength',
    'maxLength',
    'pattern',
    'format',
    'minimum',
    'maximum',
    'exclusiveMinimum',
    'exclusiveMaximum',
  ],
  ...['multipleOf', 'items', 'prefixItems', 'minItems', 'maxItems', 'uniqueItems', 'properties', 'required'],
  ...['additionalProperties', 'propertyNames', 'minProperties', 'maxProperties', 'patternProperties'],
]);

/** Whether the keyword says which values are valid, apart from references and alternatives. */
export function isRestricting(keyword: string): boolean {
  return BESIDE_VALUES.has(keyword) || RESTRICTING.has(keyword);
}

function kindOf(text: string): Kind {
  const kinds: Readonly<Record<string, Kind>> = {
    '{': 'object',
    '[': 'array',
    '"': 'string',
    t: 'boolean',
    f: 'boolean',
    n: 'null',
  };
  return kinds[text[0]!] ?? 'number';
}

function isOfType(shape: JsonText, type: string): boolean {
  if (type !== 'integer') return shape.kind === type;
  return shape.kind === 'number' && Number.isInteger(Number(shape.text));
}
