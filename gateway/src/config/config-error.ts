// What is wrong with a configuration, as one sentence that says where: the only error that this room throws.
// It never holds a secret, nor a part of an address that may be one.

/** What the user got wrong, in one sentence that says where. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** Makes the error of one setting: its name and its place in the file, then the rest of the sentence. */
export type Fault = (path: readonly PropertyKey[], rest: string) => ConfigError;

/** `["keys", 0, "key"]` as people write it: `keys[0].key`. */
export function pathText(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, step) => {
    if (typeof step === 'number') return `${text}[${step}]`;
    return text === '' ? String(step) : `${text}.${String(step)}`;
  }, '');
}
