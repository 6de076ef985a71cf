// Changes the keys of a configuration's text, and nothing else of it: comments and order stay. Text in, text out.
// It never sees a secret, only the hash.
import { type Document, isMap, isScalar, isSeq, parseDocument, stringify, type YAMLSeq } from 'yaml';
import { ConfigError } from './config-error.ts';
import { suggestion } from './hints.ts';

/** An entry of `keys`, as it stands in the file. */
export interface KeyEntry {
  readonly name: string;
  /** `sha256:` and 64 hex digits. */
  readonly key: string;
  /** Absent: all. */
  readonly models?: readonly string[] | undefined;
}

/** The entry as YAML, under `keys:`. */
export function keyEntryText(entry: KeyEntry): string {
  return stringify({ keys: [entry] }, WRITE_OPTIONS);
}

/** The text with the entry at the end of its keys. Throws ConfigError if the name is taken or the text is no configuration. */
export function withKey(text: string, entry: KeyEntry): string {
  return edited(text, (document) => {
    const keys = keysOf(document);
    if (!keys) {
      document.set('keys', document.createNode([entry]));
      return;
    }
    if (namesOf(keys).includes(entry.name)) {
      throw new ConfigError(`There is a key "${entry.name}" already: revoke it, or choose another name.`);
    }
    // What was written as `[]` would put the new entry on its one line.
    if (keys.items.length === 0) keys.flow = false;
    keys.add(document.createNode(entry));
  });
}

/** The text without the keys of that name, and how many keys are left. Throws ConfigError if there is no such key. */
export function withoutKey(text: string, name: string): { readonly text: string; readonly left: number } {
  let left = 0;
  const changed = edited(text, (document) => {
    const keys = keysOf(document);
    const names = keys ? namesOf(keys) : [];
    if (!keys || !names.includes(name)) {
      const known = names.filter((one) => one !== undefined);
      const hint = known.length === 0 ? 'No key has a name.' : suggestion(name, known);
      throw new ConfigError(`There is no key "${name}". ${hint}`);
    }
    keys.items = keys.items.filter((_, index) => names[index] !== name);
    left = keys.items.length;
  });
  return { text: changed, left };
}

/** Long lines stay as they are. */
const WRITE_OPTIONS = { lineWidth: 0 } as const;

function edited(text: string, edit: (document: Document) => void): string {
  const document: Document = parseDocument(text);
  const [error] = document.errors;
  if (error) throw new ConfigError(`This is not YAML: ${error.message.split('\n')[0]}`);
  if (document.contents !== null && !isMap(document.contents)) {
    throw new ConfigError('This must be a mapping of names to values.');
  }
  edit(document);
  // What was JSON stays JSON: the library would leave the quotes of new words away.
  return isJson(text)
    ? `${JSON.stringify(document.toJS(), undefined, 2)}\n`
    : document.toString(WRITE_OPTIONS);
}

/** The list of keys; undefined if there is none. */
function keysOf(document: Document): YAMLSeq | undefined {
  const keys = document.get('keys', true);
  if (keys === undefined || (isScalar(keys) && keys.value === null)) return undefined;
  if (isSeq(keys)) return keys;
  throw new ConfigError('"keys" is no plain list here: change it by hand.');
}

function namesOf(keys: YAMLSeq): (string | undefined)[] {
  return keys.items.map((item) => {
    const name = isMap(item) ? item.get('name') : undefined;
    return typeof name === 'string' ? name : undefined;
  });
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
