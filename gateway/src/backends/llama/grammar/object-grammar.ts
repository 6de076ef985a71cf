// The grammar of a JSON object, or of one of several that a schema lets choose from: its properties in the schema's order,
// and which may be left out. Alternatives that begin alike are followed together, and part at the first property that
// tells them apart.
// It must never follow two values at once that could go on for long: it refuses what would need that.
// Pure.
import { isObject } from '../../../wire/request-fields.ts';
import {
  type GrammarRules,
  type LiteralBranch,
  literal,
  refusal,
  type Sequence,
  whiteSpace,
} from './grammar-rules.ts';
import { countOf, type Node, type SchemaReader } from './schema-reader.ts';
import { isRestricting } from './schema-types.ts';
import type { StringGrammar } from './string-grammar.ts';

interface Property {
  readonly name: string;
  readonly node: Node;
  readonly isRequired: boolean;
}

export interface ObjectShape {
  readonly properties: readonly Property[];
  /** What other properties may be; undefined: there are none. */
  readonly others: Node | undefined;
  /** What their names may be; undefined: anything but the names above. */
  readonly otherNames: Node | undefined;
  readonly most: number | undefined;
  readonly path: string;
}

interface Parts {
  readonly rules: GrammarRules;
  readonly strings: StringGrammar;
  readonly value: (node: Node) => string;
  readonly areApart: (a: Node, b: Node) => boolean;
}

/** How far each alternative that is still possible has come: the next of its properties. */
type Places = readonly { readonly shape: ObjectShape; readonly next: number }[];

/** Of one object. */
const MAX_PROPERTIES = 500;
/** Sets of places of all objects of a schema. */
const MAX_PLACES = 5_000;

export class ObjectGrammar {
  private readonly parts: Parts;
  private readonly numbers = new Map<ObjectShape, number>();
  private readonly rests = new Map<string, string>();

  constructor(parts: Parts) {
    this.parts = parts;
  }

  read(node: Node, reader: SchemaReader): ObjectShape {
    const { schema, path } = node;
    if (schema.patternProperties !== undefined && Object.keys(Object(schema.patternProperties)).length > 0) {
      throw refusal(`${path}.patternProperties`, 'is a keyword that the engine cannot honour');
    }
    const others = this.readOthers(node, reader);
    const properties = this.readProperties(node, reader, others);
    const otherNames = namesNode(node, reader);
    if (otherNames !== undefined && properties.length > 0) {
      throw refusal(`${path}.propertyNames`, 'cannot be honoured beside properties or required');
    }
    const most = this.readCounts(node, properties, others);
    return { properties, others, otherNames, most, path };
  }

  /** What properties without a name of their own may be. */
  private readOthers(node: Node, reader: SchemaReader): Node | undefined {
    const { schema, path } = node;
    const open = schema.additionalProperties ?? undefined;
    const unevaluated = schema.unevaluatedProperties ?? true;
    if (typeof unevaluated !== 'boolean') {
      throw refusal(`${path}.unevaluatedProperties`, 'can only be true or false');
    }
    if (open !== undefined) return open === false ? undefined : reader.child(node, ['additionalProperties']);
    // A schema that lists no properties at all means any object, one that lists none by name the empty one.
    const lists = [schema.properties, schema.required].some((list) => (list ?? undefined) !== undefined);
    return lists || !unevaluated ? undefined : reader.free(path);
  }

  private readProperties(node: Node, reader: SchemaReader, others: Node | undefined): readonly Property[] {
    const { schema, path } = node;
    const [named, required] = [schema.properties ?? {}, schema.required ?? []];
    if (!isObject(named)) throw refusal(`${path}.properties`, 'must be an object of schemas');
    if (!Array.isArray(required) || required.some((name) => typeof name !== 'string')) {
      throw refusal(`${path}.required`, 'must be a list of names');
    }
    const mustBe = new Set<string>(required);
    const names = new Set([...Object.keys(named), ...mustBe]);
    if (names.size > MAX_PROPERTIES) throw refusal(path, `has more than ${MAX_PROPERTIES} properties`);
    const isClosed = schema.additionalProperties === false || schema.unevaluatedProperties === false;
    return [...names].map((name) => {
      const isNamed = Object.hasOwn(named, name);
      if (!isNamed && isClosed && others === undefined) {
        throw refusal(`${path}.required`, 'names a property that no other keyword allows');
      }
      const value = isNamed ? reader.child(node, ['properties', name]) : (others ?? reader.free(path));
      return { name, node: value, isRequired: mustBe.has(name) };
    });
  }

  /** How many properties there may be, where that is not said by their names already. */
  private readCounts(
    node: Node,
    properties: readonly Property[],
    others: Node | undefined,
  ): number | undefined {
    const least = countOf(node, 'minProperties') ?? 0;
    if (least > properties.filter(({ isRequired }) => isRequired).length) {
      throw refusal(`${node.path}.minProperties`, 'can be at most the number of required properties');
    }
    const most = countOf(node, 'maxProperties');
    if (most === undefined || (others === undefined && most >= properties.length)) return undefined;
    if (properties.length === 0 && most <= 1_000) return most;
    throw refusal(`${node.path}.maxProperties`, 'is a keyword that the engine cannot honour here');
  }

  /** The rule of an object that is one of these. */
  rule(shapes: readonly ObjectShape[], path: string): string {
    const { rules, value } = this.parts;
    // Values first: so that how deep this goes does not depend on how many properties there are.
    for (const { properties, others } of shapes) {
      for (const { node } of properties) value(node);
      if (others !== undefined) value(others);
    }
    const places = shapes.map((shape) => ({ shape, next: 0 }));
    const members = this.members(places, path);
    if (canEnd(places)) members.push([literal('}')]);
    return rules.add([[literal('{'), whiteSpace(rules, path), rules.add(members, path)]], path);
  }

  /** What follows a property: a comma and another one, or the end. */
  private rest(places: Places, path: string): string {
    const key = places.map(({ shape, next }) => `${this.numberOf(shape)}:${next}`).join();
    const known = this.rests.get(key);
    if (known !== undefined) return known;
    if (this.rests.size >= MAX_PLACES)
      throw refusal(path, 'has more alternatives than the engine can follow');
    const { rules } = this.parts;
    const space = whiteSpace(rules, path);
    const end: Sequence = [space, literal('}')];
    const members = this.members(places, path);
    const bodies: Sequence[] = members.length === 0 ? [] : [[literal(','), space, rules.add(members, path)]];
    if (canEnd(places)) bodies.push(end);
    const rule = rules.add(bodies, path);
    this.rests.set(key, rule);
    return rule;
  }

  /** The ways that the next property may be, each with all that follows it. */
  private members(places: Places, path: string): Sequence[] {
    const { rules } = this.parts;
    const branches = this.followed(places).map(([name, values]): LiteralBranch => {
      const ways = [...values].map(([rule, places]): Sequence => [rule, this.rest(places, path)]);
      const value = ways.length === 1 ? ways[0]! : [rules.add(ways, path)];
      return { text: `${JSON.stringify(name)}:`, next: [this.gap(path), ...value] };
    });
    const found: Sequence[] = branches.length === 0 ? [] : [[rules.oneOf(branches, path)]];
    const open = places.filter(({ shape, next }) => shape.others !== undefined && isDone(shape, next));
    if (open.length > 0 && places.length > 1) {
      throw refusal(path, 'has alternatives with any further properties, which cannot be told apart');
    }
    for (const { shape } of open) if (shape.most !== 0) found.push(this.further(shape));
    return found;
  }

  /** By name and by the rule of the value: what is possible behind it. */
  private followed(
    places: Places,
  ): readonly (readonly [name: string, values: ReadonlyMap<string, Places>])[] {
    const byName = new Map<string, Map<string, { readonly node: Node; readonly places: Places[number][] }>>();
    for (const { shape, next } of places) {
      for (const [index, { name, node, isRequired }] of shape.properties.entries()) {
        if (index < next) continue;
        const values = byName.get(name) ?? new Map();
        byName.set(name, values);
        const rule = this.parts.value(node);
        const found = values.get(rule) ?? { node, places: [] };
        found.places.push({ shape, next: index + 1 });
        values.set(rule, found);
        if (isRequired) break;
      }
    }
    return [...byName].map(([name, values]) => {
      this.refuseAlike([...values.values()].map(({ node }) => node));
      return [name, new Map([...values].map(([rule, { places }]) => [rule, places]))] as const;
    });
  }

  private refuseAlike(nodes: readonly Node[]): void {
    for (const [index, node] of nodes.entries()) {
      if (nodes.slice(0, index).every((other) => this.parts.areApart(node, other))) continue;
      throw refusal(node.path, 'cannot be told apart from the same property of another alternative');
    }
  }

  /** Properties without a name of their own, up to the end. */
  private further(shape: ObjectShape): Sequence {
    const { rules, value } = this.parts;
    const { path, others, otherNames, properties, most } = shape;
    const names = properties.map(({ name }) => name);
    const name = otherNames === undefined ? this.otherName(names, path) : value(otherNames);
    const space = whiteSpace(rules, path);
    const member = rules.add([[name, literal(':'), this.gap(path), value(others!)]], path);
    const more = rules.add([[literal(','), space, member]], path);
    return [member, ...rules.repeat(more, 0, most && most - 1, path), space, literal('}')];
  }

  private otherName(names: readonly string[], path: string): string {
    if (names.length > 0) return this.parts.strings.otherThan(names, path);
    return this.parts.strings.rule({
      lengths: { low: 0, high: undefined },
      format: undefined,
      pattern: undefined,
      path,
    });
  }

  private gap(path: string): string {
    return this.parts.rules.add([[], ['" "']], path);
  }

  private numberOf(shape: ObjectShape): number {
    const known = this.numbers.get(shape) ?? this.numbers.size;
    this.numbers.set(shape, known);
    return known;
  }
}

/** Whether all that must be there is. */
function isDone({ properties }: ObjectShape, next: number): boolean {
  return properties.slice(next).every(({ isRequired }) => !isRequired);
}

function canEnd(places: Places): boolean {
  return places.some(({ shape, next }) => isDone(shape, next));
}

/** What the names may be; undefined: anything. */
function namesNode(node: Node, reader: SchemaReader): Node | undefined {
  if ((node.schema.propertyNames ?? undefined) === undefined) return undefined;
  const plain = reader.plainOf(reader.child(node, ['propertyNames']));
  const restrictions = Object.keys(plain.schema).filter(isRestricting);
  const type = plain.schema.type ?? 'string';
  if (type !== 'string' || plain.schema.anyOf !== undefined || plain.schema.oneOf !== undefined) {
    throw refusal(plain.path, 'can only restrict texts');
  }
  if (restrictions.every((keyword) => keyword === 'type')) return undefined;
  return { ...plain, schema: { ...plain.schema, type } };
}
