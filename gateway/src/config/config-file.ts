// One configuration file: its values, and the line and column of each of them, so that whoever finds a fault can point at it.
// It knows YAML (JSON is YAML too) and nothing of what the names mean.
import { readFileSync } from 'node:fs';
import { isAlias, isMap, isNode, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import { ConfigError } from './config-error.ts';

/** Throws ConfigError. */
export function readConfigText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (thrown) {
    throw new ConfigError(
      `The configuration ${path} cannot be read: ${(thrown as NodeJS.ErrnoException).code}.`,
    );
  }
}

export class ConfigFile {
  readonly path: string;
  readonly values: Readonly<Record<string, unknown>>;
  readonly #document: ReturnType<typeof parseDocument>;
  readonly #lines = new LineCounter();

  /** `path` is only for messages. Throws ConfigError if the text is no YAML or no mapping. */
  constructor(path: string, text: string) {
    this.path = path;
    this.#document = parseDocument(text, { lineCounter: this.#lines });
    this.values = this.#valuesOf();
  }

  /** `FILE:LINE:COLUMN` of a value, or of the nearest around it where it is absent itself. */
  placeOf(path: readonly PropertyKey[]): string {
    for (let length = path.length; length > 0; length -= 1) {
      const place = this.#position(this.#nodeAt(path.slice(0, length)));
      if (place !== undefined) return place;
    }
    return this.path;
  }

  /** `FILE:LINE:COLUMN` of the last name of the path itself, not of its value. */
  placeOfName(path: readonly PropertyKey[]): string {
    const around = this.#nodeAt(path.slice(0, -1));
    const parent = isAlias(around) ? around.resolve(this.#document) : around;
    const name = path.at(-1);
    const pair = isMap(parent)
      ? parent.items.find(({ key }) => isScalar(key) && key.value === name)
      : undefined;
    const place = isNode(pair?.key) ? this.#position(pair.key) : undefined;
    return place ?? this.placeOf(path.slice(0, -1));
  }

  #valuesOf(): Record<string, unknown> {
    let value: unknown;
    try {
      const [error] = this.#document.errors;
      if (error) throw error;
      // Aliases are bounded by the library, so a "billion laughs" file is refused.
      value = this.#document.toJS() ?? {};
    } catch (thrown) {
      throw new ConfigError(
        `The configuration ${this.path} is not YAML: ${(thrown as Error).message.split('\n')[0]}`,
      );
    }
    if (typeof value !== 'object' || Array.isArray(value)) {
      throw new ConfigError(`The configuration ${this.path} must be a mapping of names to values.`);
    }
    return value as Record<string, unknown>;
  }

  #nodeAt(path: readonly PropertyKey[]): Node | undefined {
    let node: unknown = this.#document.contents;
    for (const step of path) {
      const parent = isAlias(node) ? node.resolve(this.#document) : node;
      if (isMap(parent)) node = parent.get(step, true);
      else if (isSeq(parent)) node = parent.get(step, true);
      else return undefined;
    }
    return isNode(node) ? node : undefined;
  }

  #position(node: Node | undefined): string | undefined {
    if (!node?.range) return undefined;
    const { line, col } = this.#lines.linePos(node.range[0]);
    return `${this.path}:${line}:${col}`;
  }
}
