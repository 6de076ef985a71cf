// A reader of grammars in GBNF for tests: whether a text fits, and random texts that do. It reads the notation anew, so
// that what it finds does not rest on the code that wrote it.
// It must never be imported by anything but tests.
import assert from 'node:assert/strict';

type Element =
  | { readonly kind: 'characters'; readonly ranges: readonly (readonly [number, number])[] }
  | { readonly kind: 'rule'; readonly name: string }
  | { readonly kind: 'repeat'; readonly of: Element; readonly low: number; readonly high: number };

/** A place in a sequence, and what follows behind it. */
interface Place {
  readonly sequence: readonly Element[];
  readonly at: number;
  readonly behind: Place | undefined;
  /** Places that are the same are one object: children by sequence and position. */
  readonly children: Map<readonly Element[], Place[]>;
}

const END: Place = { sequence: [], at: 0, behind: undefined, children: new Map() };

export class GbnfReader {
  private readonly rules = new Map<string, readonly (readonly Element[])[]>();
  private readonly tails = new Map<Element, Map<string, readonly Element[]>>();
  /** The most places that were alive at once. */
  widest = 0;

  constructor(grammar: string) {
    for (const line of grammar.split('\n').filter((one) => one !== '')) {
      const [, name, body] = /^([a-z0-9-]+) ::= (.*)$/.exec(line) ?? assert.fail(`no rule: ${line}`);
      this.rules.set(name!, readBody(body!));
    }
    for (const rule of this.rules.values()) for (const sequence of rule) this.checkNames(sequence);
  }

  accepts(text: string, root = 'root'): boolean {
    let places = this.start(root);
    for (const character of text) {
      places = this.step(places, character.codePointAt(0)!);
      if (places.size === 0) return false;
    }
    return places.has(END);
  }

  /** A text that fits, or undefined where none was found within `most` characters. `random` gives numbers below 1. */
  example(random: () => number, most: number, root = 'root'): string | undefined {
    let places = this.start(root);
    let text = '';
    for (let count = 0; count < most; count++) {
      const open = [...places].filter((place) => place !== END);
      if (places.has(END) && (open.length === 0 || random() < 0.5)) return text;
      const place = open[Math.floor(random() * open.length)]!;
      const { ranges } = place.sequence[place.at] as Extract<Element, { kind: 'characters' }>;
      const [low, high] = ranges[Math.floor(random() * ranges.length)]!;
      const code = low + Math.floor(random() * (high - low + 1));
      text += String.fromCodePoint(code);
      places = this.step(places, code);
    }
    return undefined;
  }

  private checkNames(sequence: readonly Element[]): void {
    for (const element of sequence) {
      const inner = element.kind === 'repeat' ? element.of : element;
      if (inner.kind === 'rule') assert.ok(this.rules.has(inner.name), `no rule ${inner.name}`);
    }
  }

  private start(root: string): Set<Place> {
    const places = new Set<Place>();
    for (const sequence of this.rules.get(root)!) this.open(placeOf(sequence, 0, END), places, new Set());
    return places;
  }

  private step(places: ReadonlySet<Place>, code: number): Set<Place> {
    const next = new Set<Place>();
    const seen = new Set<Place>();
    for (const place of places) {
      const element = place.sequence[place.at];
      if (element?.kind !== 'characters') continue;
      if (!element.ranges.some(([low, high]) => low <= code && code <= high)) continue;
      this.open(placeOf(place.sequence, place.at + 1, place.behind!), next, seen);
    }
    this.widest = Math.max(this.widest, next.size);
    return next;
  }

  /** Adds the places before characters, and the end, that can be reached from here without one. */
  private open(place: Place, found: Set<Place>, seen: Set<Place>): void {
    if (seen.has(place)) return;
    seen.add(place);
    const element = place.sequence[place.at];
    if (element === undefined) {
      if (place === END) found.add(END);
      else this.open(place.behind!, found, seen);
    } else if (element.kind === 'characters') found.add(place);
    else if (element.kind === 'rule') {
      const behind = placeOf(place.sequence, place.at + 1, place.behind!);
      for (const sequence of this.rules.get(element.name)!)
        this.open(placeOf(sequence, 0, behind), found, seen);
    } else {
      const behind = placeOf(place.sequence, place.at + 1, place.behind!);
      if (element.low === 0) this.open(behind, found, seen);
      if (element.high > 0) this.open(placeOf(this.once(element), 0, behind), found, seen);
    }
  }

  private once({ of, low, high }: Extract<Element, { kind: 'repeat' }>): readonly Element[] {
    const known = this.tails.get(of) ?? new Map<string, readonly Element[]>();
    this.tails.set(of, known);
    const key = `${low},${high}`;
    const tail = known.get(key) ?? [
      of,
      { kind: 'repeat', of, low: Math.max(0, low - 1), high: high - 1 } as const,
    ];
    known.set(key, tail);
    return tail;
  }
}

function placeOf(sequence: readonly Element[], at: number, behind: Place): Place {
  // A place with nothing left is the one behind it: so that recursion at an end does not pile up.
  if (at === sequence.length) return behind;
  const known = behind.children.get(sequence) ?? [];
  behind.children.set(sequence, known);
  known[at] ??= { sequence, at, behind, children: new Map() };
  return known[at];
}

function readBody(body: string): readonly (readonly Element[])[] {
  const alternatives: Element[][] = [[]];
  let rest = body;
  const eat = (pattern: RegExp): RegExpExecArray | undefined => {
    const match = pattern.exec(rest) ?? undefined;
    if (match) rest = rest.slice(match[0].length);
    return match;
  };
  while (rest !== '') {
    const sequence = alternatives.at(-1)!;
    if (eat(/^ +/)) continue;
    if (eat(/^\|/)) {
      alternatives.push([]);
      continue;
    }
    const text = eat(/^"((?:[^"\\]|\\.)*)"/);
    if (text) {
      for (const code of codes(text[1]!)) sequence.push({ kind: 'characters', ranges: [[code, code]] });
      continue;
    }
    const set = eat(/^\[((?:[^\]\\]|\\.)*)\]/);
    const name = set ? undefined : eat(/^[a-z0-9-]+/);
    const element: Element = set
      ? { kind: 'characters', ranges: readRanges(set[1]!) }
      : { kind: 'rule', name: (name ?? assert.fail(`cannot read: ${rest}`))[0] };
    const count = eat(/^\{(\d+)(,?)(\d*)\}/);
    const star = count ? undefined : eat(/^\*/);
    if (star) sequence.push({ kind: 'repeat', of: element, low: 0, high: Number.POSITIVE_INFINITY });
    else if (count) {
      const low = Number(count[1]);
      const high = count[2] === '' ? low : count[3] === '' ? Number.POSITIVE_INFINITY : Number(count[3]);
      sequence.push({ kind: 'repeat', of: element, low, high });
    } else sequence.push(element);
  }
  return alternatives;
}

function readRanges(text: string): readonly (readonly [number, number])[] {
  const ranges: [number, number][] = [];
  const parts =
    text.match(/(\\(?:x..|u....|U........)|[^\\-])(?:-(\\(?:x..|u....|U........)|[^\\-]))?/gu) ?? [];
  assert.equal(parts.join(''), text);
  for (const part of parts) {
    const found = codes(part.replace(/(?<=.)-(?=.)/u, ''));
    ranges.push([found[0]!, found.at(-1)!]);
  }
  return ranges;
}

function codes(text: string): number[] {
  const parts = text.match(/\\(?:x[0-9A-F]{2}|u[0-9A-F]{4}|U[0-9A-F]{8})|[^\\]/gu) ?? [];
  assert.equal(parts.join(''), text);
  return parts.map((part) => (part.length > 2 ? Number.parseInt(part.slice(2), 16) : part.codePointAt(0)!));
}
