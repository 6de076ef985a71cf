// Reads a JSON Schema (draft 2020-12, with OpenAPI's and draft 7's common words) node by node: follows references, merges
// what must hold together, and names every keyword that nobody could honour.
// It must never ignore a keyword that restricts, and never walk further than its bounds: a schema comes from a stranger.
// Pure.
import { isExactInteger } from '../../../wire/json.ts';
import { isObject } from '../../../wire/request-fields.ts';
import { refusal } from './grammar-rules.ts';

export type Schema = Readonly<Record<string, unknown>>;

/** A place in a schema, and how to name it. `true` and `{}` are the same. */
export interface Node {
  readonly schema: Schema;
  readonly path: string;
  readonly depth: number;
}

const MAX_DEPTH = 64;
const MAX_NODES = 5_000;
/** Of a property's name, where a path repeats it. */
const MAX_STEP = 64;

/** They say nothing about which values are valid. */
const ANNOTATIONS: ReadonlySet<string> = new Set([
  ...[
    'title',
    'description',
    'default',
    'examples',
    'example',
    'deprecated',
    'readOnly',
    'writeOnly',
    '$comment',
  ],
  ...['$schema', '$id', 'id', '$defs', 'definitions', 'discriminator', 'contentMediaType', 'contentEncoding'],
]);
const KEYWORDS: ReadonlySet<string> = new Set([
  ...['type', 'enum', 'const', 'nullable', 'anyOf', 'oneOf', 'allOf', '$ref'],
  ...['minLength', 'maxLength', 'pattern', 'format'],
  ...['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'],
  ...['items', 'prefixItems', 'minItems', 'maxItems', 'uniqueItems'],
  ...['properties', 'required', 'additionalProperties', 'unevaluatedProperties', 'propertyNames'],
  ...['minProperties', 'maxProperties', 'patternProperties'],
]);
/** Of two that must both hold, the stricter one. */
const STRICTER: Readonly<Record<string, (a: number, b: number) => number>> = {
  minLength: Math.max,
  maxLength: Math.min,
  minItems: Math.max,
  maxItems: Math.min,
  minimum: Math.max,
  maximum: Math.min,
  exclusiveMinimum: Math.max,
  exclusiveMaximum: Math.min,
  minProperties: Math.max,
  maxProperties: Math.min,
};

export class SchemaReader {
  private readonly root: unknown;
  private readonly rootPath: string;
  private readonly plain = new Map<Schema, Node>();
  private readonly unfolding = new Set<Schema>();
  private readonly children = new Map<Schema, Map<string, Node>>();
  private nodes = 0;

  constructor(root: unknown, rootPath: string) {
    this.root = root;
    this.rootPath = rootPath;
  }

  rootNode(): Node {
    return this.node(this.root, this.rootPath, 0);
  }

  /** One that allows anything. */
  free(path: string): Node {
    return this.node({}, path, 0);
  }

  /** A schema inside this one. The same place gives the same node's schema, so that it can be a key. */
  child(parent: Node, steps: readonly (string | number)[]): Node {
    const known = this.children.get(parent.schema) ?? new Map<string, Node>();
    this.children.set(parent.schema, known);
    const key = JSON.stringify(steps);
    const before = known.get(key);
    if (before !== undefined) return before;
    let value: unknown = parent.schema;
    let { path } = parent;
    for (const step of steps) {
      value = (value as Readonly<Record<string, unknown>>)[step];
      path = withStep(path, step);
    }
    const node = this.node(value, path, parent.depth + 1);
    known.set(key, node);
    return node;
  }

  private node(value: unknown, path: string, depth: number): Node {
    this.refuseDepth(depth);
    this.nodes++;
    if (this.nodes > MAX_NODES) throw refusal(this.rootPath, `has more than ${MAX_NODES} parts`);
    if (value === true) return { schema: {}, path, depth };
    if (value === false) throw refusal(path, 'is false: no value would be valid');
    if (!isObject(value)) throw refusal(path, 'must be a schema: an object, or true');
    for (const [keyword, inner] of Object.entries(value)) {
      if (KEYWORDS.has(keyword) || ANNOTATIONS.has(keyword) || keyword.startsWith('x-')) continue;
      // A keyword set to null is one that some serializers leave behind.
      if (inner === null) continue;
      throw refusal(withStep(path, keyword), 'is a keyword that the engine cannot honour');
    }
    return { schema: value, path, depth };
  }

  /** The node with its references followed and its `allOf` merged: neither is left at its top. */
  plainOf(node: Node): Node {
    const known = this.plain.get(node.schema);
    if (known !== undefined) return known;
    if (this.unfolding.has(node.schema))
      throw refusal(node.path, 'refers to itself without anything between');
    this.unfolding.add(node.schema);
    let plain = node;
    for (let round = 0; plain.schema.$ref !== undefined || plain.schema.allOf !== undefined; round++) {
      if (round > MAX_DEPTH) throw refusal(node.path, 'refers to itself without anything between');
      plain = this.unfold(plain);
    }
    this.unfolding.delete(node.schema);
    this.plain.set(node.schema, plain);
    return plain;
  }

  private unfold(node: Node): Node {
    const { $ref, allOf, ...rest } = node.schema;
    const restrictions = Object.keys(rest).filter((keyword) => KEYWORDS.has(keyword));
    if ($ref !== undefined) {
      const target = this.referred($ref, node);
      if (restrictions.length === 0 && allOf === undefined) return target;
      return this.merged(this.plainOf(target), {
        ...node,
        schema: allOf === undefined ? rest : { ...rest, allOf },
      });
    }
    if (!Array.isArray(allOf) || allOf.length === 0) {
      throw refusal(`${node.path}.allOf`, 'must be a list of at least one schema');
    }
    let merged: Node = { ...node, schema: rest };
    for (const index of allOf.keys())
      merged = this.merged(merged, this.plainOf(this.child(node, ['allOf', index])));
    return merged;
  }

  /** What holds where both hold. Its path is `b`'s, where what cannot be merged stands. */
  merged(a: Node, b: Node): Node {
    this.nodes++;
    if (this.nodes > MAX_NODES) throw refusal(this.rootPath, `has more than ${MAX_NODES} parts`);
    const schema: Record<string, unknown> = { ...a.schema };
    refuseClosed(a, b);
    refuseClosed(b, a);
    for (const [keyword, value] of Object.entries(b.schema)) {
      if (!KEYWORDS.has(keyword)) continue;
      schema[keyword] = mergedKeyword(keyword, schema[keyword], value, withStep(b.path, keyword));
    }
    // Deeper, so that what merges itself into itself comes to an end.
    const depth = Math.max(a.depth, b.depth) + 1;
    this.refuseDepth(depth);
    return { schema, path: b.path, depth };
  }

  private refuseDepth(depth: number): void {
    if (depth > MAX_DEPTH) throw refusal(this.rootPath, `is nested deeper than ${MAX_DEPTH} levels`);
  }

  private referred(reference: unknown, from: Node): Node {
    const path = `${from.path}.$ref`;
    if (typeof reference !== 'string' || !/^#(\/|$)/.test(reference)) {
      throw refusal(path, 'can only name a place in this schema: "#", or "#/$defs/…"');
    }
    let value: unknown = this.root;
    let place = this.rootPath;
    for (const step of reference.split('/').slice(1)) {
      const name = decoded(step);
      const inner =
        typeof value === 'object' && value !== null && name !== undefined && Object.hasOwn(value, name);
      if (!inner) throw refusal(path, 'names a place that is not in this schema');
      value = (value as Readonly<Record<string, unknown>>)[name];
      place = withStep(place, Array.isArray(value) ? Number(name) : name);
    }
    // As deep as where it is named: a definition may stand in itself.
    return this.node(value, place, from.depth + 1);
  }
}

/** A step of a JSON pointer in a URI's fragment. */
function decoded(step: string): string | undefined {
  try {
    return decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~');
  } catch {
    return undefined;
  }
}

/** One that allows no further properties forbids those that only the other names. */
function refuseClosed(closed: Node, other: Node): void {
  const extra = closed.schema.additionalProperties;
  if (extra === undefined || extra === true) return;
  const own = namesOf(closed);
  if (namesOf(other).some((name) => !own.includes(name))) {
    throw refusal(
      `${closed.path}.additionalProperties`,
      'cannot be merged with the properties of the other schema',
    );
  }
}

function namesOf({ schema }: Node): readonly string[] {
  return isObject(schema.properties) ? Object.keys(schema.properties) : [];
}

function mergedKeyword(keyword: string, a: unknown, b: unknown, path: string): unknown {
  if (a === undefined || JSON.stringify(a) === JSON.stringify(b)) return b;
  const stricter = STRICTER[keyword];
  if (stricter !== undefined) return stricter(numberOf(a, path), numberOf(b, path));
  if (keyword === 'allOf' && Array.isArray(a) && Array.isArray(b)) return [...a, ...b];
  if (keyword === 'required' && Array.isArray(a) && Array.isArray(b)) return [...new Set([...a, ...b])];
  if (keyword === 'type') {
    const types = [a].flat().filter((type) => [b].flat().includes(type));
    if (types.length > 0) return types;
  }
  if (keyword === 'properties' && isObject(a) && isObject(b)) {
    const shared = Object.keys(b).filter((name) => Object.hasOwn(a, name));
    // Not by assignment: `__proto__` is a name like any other.
    return Object.fromEntries([
      ...Object.entries(a),
      ...Object.entries(b),
      ...shared.map((name) => [name, { allOf: [a[name], b[name]] }]),
    ]);
  }
  throw refusal(path, 'cannot be merged with the same keyword beside it');
}

/** A number of the schema. Throws `invalid_request`. */
export function numberOf(value: unknown, path: string): number {
  const number = isExactInteger(value) ? Number(value.rawJSON) : value;
  if (typeof number === 'number') return number;
  throw refusal(path, 'must be a number');
}

/** A count of the schema; undefined where it is absent. Throws `invalid_request`. */
export function countOf({ schema, path }: Node, keyword: string): number | undefined {
  const value = schema[keyword] ?? undefined;
  if (value === undefined) return undefined;
  const count = numberOf(value, withStep(path, keyword));
  if (Number.isInteger(count) && count >= 0) return count;
  throw refusal(withStep(path, keyword), 'must be a whole number, 0 or above');
}

export function withStep(path: string, step: string | number): string {
  if (typeof step === 'number') return `${path}[${step}]`;
  const name = step.length > MAX_STEP ? `${step.slice(0, MAX_STEP)}…` : step;
  return `${path}.${name.toWellFormed()}`;
}
