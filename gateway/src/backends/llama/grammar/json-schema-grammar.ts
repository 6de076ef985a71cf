// From a JSON Schema to the grammar of the JSON texts that it allows, in the order of its properties. What it makes is
// never more than the schema allows, and may be less: no property is written that the schema does not name, unless it
// asks for such.
// It must never make a grammar in which two alternatives that go on for long are alive at once: their number could double
// with each level, inside the engine, where nothing bounds it.
// Pure; milliseconds for the largest schema that it takes.
import { type Allowance, newAllowance } from './automaton.ts';
import { GrammarRules, literal, refusal, type Sequence, whiteSpace } from './grammar-rules.ts';
import { type Bound, numberRule } from './number-grammar.ts';
import { ObjectGrammar, type ObjectShape } from './object-grammar.ts';
import { countOf, type Node, numberOf, SchemaReader, withStep } from './schema-reader.ts';
import { isRestricting, type JsonText, KINDS, typesOf, valuesOf } from './schema-types.ts';
import { refuseUncountable, StringGrammar } from './string-grammar.ts';

/** One of the things that a value may be. */
type Shape =
  | ({ readonly type: 'literal' } & JsonText)
  | { readonly type: 'rule'; readonly kind: 'string' | 'number' | 'boolean' | 'null'; readonly rule: string }
  | { readonly type: 'array'; readonly kind: 'array'; readonly node: Node }
  | { readonly type: 'object'; readonly kind: 'object'; readonly shape: ObjectShape }
  | { readonly type: 'anything' };

/** Of one union, once all that is in it is counted. */
const MAX_ALTERNATIVES = 64;

export interface SchemaGrammar {
  readonly rules: GrammarRules;
  /** The rule of a value of the schema. */
  readonly entry: string;
}

/**
 * `path` names the schema in refusals. Throws `invalid_request` with the place in the schema that cannot be honoured as
 * `param`. Several schemas may share `rules`.
 */
export function schemaGrammar(schema: unknown, path: string, rules = new GrammarRules()): SchemaGrammar {
  const reader = new SchemaReader(schema, path);
  return { rules, entry: new Compiler(reader, rules).value(reader.rootNode()) };
}

class Compiler {
  private readonly reader: SchemaReader;
  private readonly rules: GrammarRules;
  private readonly strings: StringGrammar;
  private readonly objects: ObjectGrammar;
  private readonly allowance: Allowance = newAllowance();
  private readonly values = new Map<object, string>();
  /** Being made; their name, once something inside them asked for it. */
  private readonly open = new Map<object, string | undefined>();
  private readonly shapes = new Map<object, readonly Shape[]>();
  private readonly opening = new Set<object>();

  constructor(reader: SchemaReader, rules: GrammarRules) {
    this.reader = reader;
    this.rules = rules;
    this.strings = new StringGrammar(rules, this.allowance);
    this.objects = new ObjectGrammar({
      rules,
      strings: this.strings,
      value: (node) => this.value(node),
      areApart: (a, b) => this.areApart(a, b),
    });
  }

  /** The rule of a value; equal values have equal rules. */
  value(node: Node): string {
    const plain = this.reader.plainOf(node);
    const key = plain.schema;
    const known = this.values.get(key) ?? this.open.get(key);
    if (known !== undefined) return known;
    if (this.open.has(key)) {
      const name = this.rules.reserve();
      this.open.set(key, name);
      return name;
    }
    this.open.set(key, undefined);
    const alternatives = this.alternatives(this.shapesOf(plain), plain.path);
    let name = this.open.get(key);
    this.open.delete(key);
    if (name !== undefined) this.rules.define(name, alternatives, plain.path);
    else name = alternatives.length === 1 ? alternatives[0]![0]! : this.rules.add(alternatives, plain.path);
    this.values.set(key, name);
    return name;
  }

  /** A list of rules, each of which begins with a character: what may begin here is never hidden behind more rules. */
  private alternatives(shapes: readonly Shape[], path: string): Sequence[] {
    if (shapes.some(({ type }) => type === 'anything')) return [[this.anything(path)]];
    const texts = shapes.flatMap((shape) => (shape.type === 'literal' ? [shape.text] : []));
    const objects = shapes.flatMap((shape) => (shape.type === 'object' ? [shape.shape] : []));
    const arrays = shapes.flatMap((shape) => (shape.type === 'array' ? [shape.node] : []));
    const found = new Set(shapes.flatMap((shape) => (shape.type === 'rule' ? [shape.rule] : [])));
    for (const rule of new Set(arrays.map((node) => this.array(node)))) found.add(rule);
    if (objects.length > 0) found.add(this.objects.rule(objects, path));
    if (texts.length > 0)
      found.add(
        this.rules.oneOf(
          texts.map((text) => ({ text, next: [] })),
          path,
        ),
      );
    this.refuseLikeArrays(arrays);
    return [...found].map((rule) => [rule]);
  }

  /** Two lists can be told apart only by their first items. */
  private refuseLikeArrays(arrays: readonly Node[]): void {
    const rules = new Map(arrays.map((node) => [this.array(node), node]));
    const different = [...rules.values()];
    for (const [index, node] of different.entries()) {
      for (const other of different.slice(0, index)) {
        const [first, second] = [this.firstItem(node), this.firstItem(other)];
        if (first !== undefined && second !== undefined && this.areApart(first, second)) continue;
        throw refusal(
          node.path,
          'is a list that cannot be told apart from another alternative by its first item',
        );
      }
    }
  }

  private firstItem(node: Node): Node | undefined {
    const { prefixItems, items } = node.schema;
    if (Array.isArray(prefixItems) && prefixItems.length > 0)
      return this.reader.child(node, ['prefixItems', 0]);
    return items === undefined || items === false ? undefined : this.reader.child(node, ['items']);
  }

  /** Whether values of the two differ at their first character, or are single texts that differ. */
  private areApart(a: Node, b: Node): boolean {
    const [first, second] = [a, b].map((node) => this.shapesOf(this.reader.plainOf(node)));
    return first!.every((one) =>
      second!.every((other) => {
        if (one.type === 'anything' || other.type === 'anything') return false;
        if (one.type === 'literal' && other.type === 'literal') return one.text !== other.text;
        return one.kind !== other.kind;
      }),
    );
  }

  private shapesOf(plain: Node): readonly Shape[] {
    const known = this.shapes.get(plain.schema);
    if (known !== undefined) return known;
    if (this.opening.has(plain.schema))
      throw refusal(plain.path, 'refers to itself without anything between');
    this.opening.add(plain.schema);
    const shapes = this.readShapes(plain);
    this.opening.delete(plain.schema);
    if (shapes.length > MAX_ALTERNATIVES && shapes.some(({ type }) => type !== 'literal')) {
      throw refusal(plain.path, `has more than ${MAX_ALTERNATIVES} alternatives`);
    }
    this.shapes.set(plain.schema, shapes);
    return shapes;
  }

  private readShapes(node: Node): readonly Shape[] {
    const { anyOf, oneOf, ...rest } = node.schema;
    if ((anyOf ?? oneOf ?? undefined) !== undefined) return this.union(node, rest);
    const types = typesOf(node);
    const texts = valuesOf(node, types);
    if (texts !== undefined) return texts.map((text) => ({ type: 'literal', ...text }));
    if (types === undefined) return [{ type: 'anything' }];
    const shapes = types.map((type) => this.shape(type, node));
    return types.includes('number') ? shapes.filter((_, index) => types[index] !== 'integer') : shapes;
  }

  private union(node: Node, rest: Readonly<Record<string, unknown>>): readonly Shape[] {
    const keyword = (node.schema.anyOf ?? undefined) === undefined ? 'oneOf' : 'anyOf';
    const path = `${node.path}.${keyword}`;
    const branches = node.schema[keyword];
    if (!Array.isArray(branches) || branches.length === 0)
      throw refusal(path, 'must be a list of at least one schema');
    if (branches.length > MAX_ALTERNATIVES)
      throw refusal(path, `has more than ${MAX_ALTERNATIVES} alternatives`);
    if (keyword === 'anyOf' && (node.schema.oneOf ?? undefined) !== undefined) {
      throw refusal(`${node.path}.oneOf`, 'cannot be merged with anyOf beside it');
    }
    const { nullable, ...shared } = rest;
    const restricts = Object.keys(shared).some(isRestricting);
    const found = branches.flatMap((_, index) => {
      const branch = this.reader.plainOf(this.reader.child(node, [keyword, index]));
      if (!restricts) return this.shapesOf(branch);
      return this.shapesOf(this.reader.plainOf(this.reader.merged({ ...node, schema: shared }, branch)));
    });
    return nullable === true ? [...found, NULL] : found;
  }

  private shape(type: string, node: Node): Shape {
    switch (type) {
      case 'object':
        return { type: 'object', kind: 'object', shape: this.objects.read(node, this.reader) };
      case 'array':
        return { type: 'array', kind: 'array', node };
      case 'string':
        return { type: 'rule', kind: 'string', rule: this.string(node) };
      case 'integer':
      case 'number':
        return { type: 'rule', kind: 'number', rule: this.number(node, type === 'integer') };
      case 'boolean':
        return { type: 'rule', kind: 'boolean', rule: this.rules.oneOf(BOOLEANS, node.path) };
      default:
        return NULL;
    }
  }

  private string(node: Node): string {
    const { schema, path } = node;
    const [low = 0, high] = [countOf(node, 'minLength'), countOf(node, 'maxLength')];
    refuseUncountable(low, `${path}.minLength`);
    refuseUncountable(high, `${path}.maxLength`);
    if (high !== undefined && high < low) throw refusal(`${path}.maxLength`, 'is below minLength');
    const text = (keyword: 'format' | 'pattern'): string | undefined => {
      const value = schema[keyword] ?? undefined;
      if (value === undefined || typeof value === 'string') return value;
      throw refusal(`${path}.${keyword}`, 'must be a text');
    };
    return this.strings.rule({
      lengths: { low, high },
      format: text('format'),
      pattern: text('pattern'),
      path,
    });
  }

  private number(node: Node, isInteger: boolean): string {
    const { schema, path } = node;
    const step = schema.multipleOf ?? undefined;
    if (step !== undefined && !(isInteger && numberOf(step, `${path}.multipleOf`) === 1)) {
      throw refusal(`${path}.multipleOf`, 'is a keyword that the engine cannot honour');
    }
    const format = schema.format ?? undefined;
    if (format !== undefined && !['int32', 'int64', 'float', 'double'].includes(String(format))) {
      throw refusal(`${path}.format`, 'can be one of int32, int64, float, double');
    }
    const bound = (keyword: string, isExclusive: boolean): Bound | undefined => {
      const value = schema[keyword] ?? undefined;
      const place = withStep(path, keyword);
      return value === undefined ? undefined : { value: numberOf(value, place), isExclusive, path: place };
    };
    const int32 = format === 'int32' ? 2 ** 31 : undefined;
    const low = stricter(
      [bound('minimum', false), bound('exclusiveMinimum', true), within(int32 && -int32, path)],
      1,
    );
    const high = stricter(
      [bound('maximum', false), bound('exclusiveMaximum', true), within(int32 && int32 - 1, path)],
      -1,
    );
    return numberRule(this.rules, { isInteger, low, high, path });
  }

  private array(node: Node): string {
    const { schema, path } = node;
    const prefix = schema.prefixItems ?? [];
    if (!Array.isArray(prefix)) throw refusal(`${path}.prefixItems`, 'must be a list of schemas');
    const isClosed = schema.items === false;
    const [low = 0, most] = [countOf(node, 'minItems'), countOf(node, 'maxItems')];
    const high = isClosed ? Math.min(prefix.length, most ?? prefix.length) : most;
    refuseUncountable(low, `${path}.minItems`);
    refuseUncountable(most, `${path}.maxItems`);
    if (high !== undefined && high < low) throw refusal(`${path}.minItems`, 'is more than the list can have');
    if (schema.uniqueItems === true && (high === undefined || high > 1)) {
      throw refusal(`${path}.uniqueItems`, 'is a keyword that the engine cannot honour');
    }
    return this.arrayRule(node, prefix.length, low, high);
  }

  private arrayRule(node: Node, prefix: number, low: number, high: number | undefined): string {
    const { path } = node;
    const space = whiteSpace(this.rules, path);
    const end: Sequence = [space, literal(']')];
    const item = (index: number): string => {
      if (index < prefix) return this.value(this.reader.child(node, ['prefixItems', index]));
      return (node.schema.items ?? undefined) === undefined
        ? this.anything(path)
        : this.value(this.reader.child(node, ['items']));
    };
    // From the last place that has a schema of its own to the first.
    const single = Math.min(prefix, high ?? prefix);
    let rest: string | undefined;
    if (high === undefined || high > single) {
      // The first item of a list has no comma before it.
      const from = Math.max(single, 1);
      const more = this.rules.add([[literal(','), space, item(from)]], path);
      const count = this.rules.repeat(more, Math.max(0, low - from), high && high - from, path);
      rest = this.rules.add([[...count, ...end]], path);
    }
    for (let index = single; index > 1; index--) {
      const go: Sequence = [literal(','), space, item(index - 1), rest ?? this.rules.add([end], path)];
      rest = this.rules.add(index - 1 < low ? [go] : [go, end], path);
    }
    const tail: Sequence[] = low === 0 ? [[literal(']')]] : [];
    if (high !== 0) tail.push([item(0), rest ?? this.rules.add([end], path)]);
    return this.rules.add([[literal('['), space, this.rules.add(tail, path)]], path);
  }

  /** Any JSON value, of any depth. */
  private anything(path: string): string {
    const known = this.values.get(ANYTHING);
    if (known !== undefined) return known;
    const name = this.rules.reserve();
    this.values.set(ANYTHING, name);
    const node = this.reader.free(path);
    const shapes = KINDS.map((kind) => this.shape(kind, node));
    this.rules.define(name, this.alternatives(shapes, path), path);
    return name;
  }
}

const ANYTHING = {};
const NULL: Shape = { type: 'literal', text: 'null', kind: 'null' };
const BOOLEANS = ['true', 'false'].map((text) => ({ text, next: [] }));

function within(value: number | undefined, path: string): Bound | undefined {
  return value === undefined ? undefined : { value, isExclusive: false, path };
}

/** `direction`: 1 for the highest of lower bounds, -1 for the lowest of upper ones. Of equals the exclusive one. */
function stricter(bounds: readonly (Bound | undefined)[], direction: 1 | -1): Bound | undefined {
  return bounds
    .filter((bound) => bound !== undefined)
    .toSorted((a, b) => direction * (b.value - a.value) || Number(b.isExclusive) - Number(a.isExclusive))[0];
}
